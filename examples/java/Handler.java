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
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Sends WhatsApp messages from an SQS queue. Reads the credentials for each message from Sidekey. */
public class Handler {
    private static final String AGENT = "http://127.0.0.1:" + env("SIDEKEY_PORT").orElse("2773");
    private static final String TOKEN = env("AWS_SESSION_TOKEN")
        .or(() -> env("AWS_CONTAINER_AUTHORIZATION_TOKEN")).orElseThrow();
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    /** Means that the message provider rejected the credential. */
    static class Refused extends Exception {
        Refused() {
            super("the provider answers 401");
        }
    }

    private static Optional<String> env(String name) {
        return Optional.ofNullable(System.getenv(name)).filter(value -> !value.isEmpty());
    }

    /** Returns the text of one field of a secret. With refresh, Sidekey first fetches it from AWS. */
    static String credential(String reference, String field, boolean refresh) throws Exception {
        String query = "secretId=" + URLEncoder.encode(reference, StandardCharsets.UTF_8)
            + "&field=" + field + "&refreshNow=" + refresh;
        var request = HttpRequest.newBuilder(URI.create(AGENT + "/secretsmanager/get?" + query))
            .header("X-Aws-Parameters-Secrets-Token", TOKEN)
            .timeout(Duration.ofSeconds(10))
            .build();
        var answer = CLIENT.send(request, BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException(reference + ": " + answer.statusCode() + " " + answer.body());
        }
        return answer.body();
    }

    /** Imitates the API of a message provider. Returns a description of the message. */
    static Map<String, Object> send(JsonObject context, String id, String account, String token,
            String aiKey) throws Refused {
        if (context.has("revoked_suffix")
                && token.endsWith(context.get("revoked_suffix").getAsString())) {
            throw new Refused();
        }
        return Map.of("messageId", id, "account", account, "token_ends", end(token),
            "ai_key_ends", end(aiKey));
    }

    private static String end(String secret) {
        return secret.substring(Math.max(0, secret.length() - 4));
    }

    /** Sends one message. If the provider rejects the credential, reads it again and tries again. */
    static Map<String, Object> process(String id, JsonObject context) throws Exception {
        String reference = context.getAsJsonObject("channel_config").getAsJsonObject("whatsapp")
            .get("credentials_id").getAsString();
        String aiReference = context.getAsJsonObject("ai_config")
            .get("ai_api_key_reference").getAsString();
        String aiKey = credential(aiReference, "ai_api_key", false);
        String account = credential(reference, "twilio_account_sid", false);
        String token = credential(reference, "twilio_auth_token", false);
        try {
            return send(context, id, account, token, aiKey);
        } catch (Refused refused) {
            token = credential(reference, "twilio_auth_token", true);
            return send(context, id, account, token, aiKey);
        }
    }

    /** Sends the messages of an SQS event. Returns the failed messages, which SQS delivers again. */
    public Map<String, Object> handle(Map<String, List<Map<String, Object>>> event) {
        var sent = new ArrayList<Map<String, Object>>();
        var failures = new ArrayList<Map<String, String>>();
        for (var message : event.get("Records")) {
            String id = (String) message.get("messageId");
            try {
                String body = (String) message.get("body");
                sent.add(process(id, new Gson().fromJson(body, JsonObject.class)));
            } catch (Exception error) {
                System.out.println(id + " failed: " + error);
                failures.add(Map.of("itemIdentifier", id));
            }
        }
        return Map.of("batchItemFailures", failures, "sent", sent);
    }
}
