import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.events.SQSBatchResponse;
import com.amazonaws.services.lambda.runtime.events.SQSBatchResponse.BatchItemFailure;
import com.amazonaws.services.lambda.runtime.events.SQSEvent;
import com.google.gson.Gson;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;

/** A channel processor for WhatsApp: sends the messages of a queue with the credentials that each refers to. */
public final class Processor implements RequestHandler<SQSEvent, SQSBatchResponse> {
    private static final Gson GSON = new Gson();
    private static final HttpClient HTTP = HttpClient.newHttpClient();
    private static final String PORT = firstOf("SIDEKEY_PORT", "2773");
    private static final String TOKEN =
        firstOf("AWS_SESSION_TOKEN", System.getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"));

    /** Takes a batch of SQS. What failed comes again, and nothing else does. */
    @Override
    public SQSBatchResponse handleRequest(SQSEvent event, Context context) {
        var failures = new ArrayList<BatchItemFailure>();
        for (var record : event.getRecords()) {
            try {
                process(GSON.fromJson(record.getBody(), JsonObject.class));
            } catch (Exception error) {
                System.out.println("failed " + record.getMessageId() + ": " + error.getMessage());
                failures.add(new BatchItemFailure(record.getMessageId()));
            }
        }
        return new SQSBatchResponse(failures);
    }

    private static void process(JsonObject message) throws IOException, InterruptedException {
        var channel = message.getAsJsonObject("channel_config").getAsJsonObject("whatsapp");
        var twilio = credential(channel.get("credentials_id").getAsString());
        var ai = message.getAsJsonObject("ai_config");
        var openAi = credential(ai.get("ai_api_key_reference").getAsString());
        send(message.get("to").getAsString(), twilio, openAi);
    }

    /** Stands for the calls to OpenAI and Twilio. A key is used, and never logged. */
    private static void send(String to, JsonObject twilio, JsonObject openAi) {
        if (openAi.get("ai_api_key").getAsString().isEmpty()
            || twilio.get("twilio_auth_token").getAsString().isEmpty()) {
            throw new IllegalStateException("a key is empty");
        }
        String account = twilio.get("twilio_account_sid").getAsString();
        System.out.println("sent to " + to + " by account " + account);
    }

    /** Reads what a reference means. Sidekey holds it, so there is nothing to keep here. */
    private static JsonObject credential(String reference) throws IOException, InterruptedException {
        String query = "secretId=" + URLEncoder.encode(reference, StandardCharsets.UTF_8);
        var request = HttpRequest.newBuilder()
            .uri(URI.create("http://127.0.0.1:" + PORT + "/secretsmanager/get?" + query))
            .header("X-Aws-Parameters-Secrets-Token", TOKEN)
            .timeout(Duration.ofSeconds(10))
            .build();
        var answer = HTTP.send(request, BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException(reference + ": " + answer.statusCode() + " " + answer.body());
        }
        var secret = GSON.fromJson(answer.body(), JsonObject.class);
        return GSON.fromJson(secret.get("SecretString").getAsString(), JsonObject.class);
    }

    private static String firstOf(String variable, String fallback) {
        String value = System.getenv(variable);
        return value == null || value.isEmpty() ? fallback : value;
    }
}
