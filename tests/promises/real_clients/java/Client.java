// Calls Sidekey with the clients of Java functions: AWS's SDK, AWS's caching library, and plain HTTP with
// HttpClient. As in a function, environment variables set the address and the token.
//
// The program reads steps from its standard input and prints one line of JSON for each step. See
// tests/promises/real_clients.rs.

import com.amazonaws.secretsmanager.caching.SecretCache;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.secretsmanager.SecretsManagerClient;
import software.amazon.awssdk.services.ssm.SsmClient;
import software.amazon.awssdk.services.ssm.model.Parameter;

final class Client {
    private static final SecretsManagerClient SDK = SecretsManagerClient.create();
    private static final SsmClient SSM = SsmClient.create();
    private static final SecretCache CACHE = new SecretCache(SDK);
    private static final HttpClient HTTP = HttpClient.newHttpClient();
    private static final String EXTENSION =
        "http://127.0.0.1:" + System.getenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT");

    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            Map<String, String> options = new TreeMap<>();
            for (String option : Arrays.asList(words).subList(3, words.length)) {
                String[] parts = option.split("=", 2);
                options.put(parts[0], parts[1]);
            }
            Object result;
            try {
                result = step(words[0] + " " + words[1], words[2], options);
            } catch (Exception error) {
                result = failure(error);
            }
            answers.println(json(result));
        }
        System.exit(0);
    }

    private static Object step(String act, String target, Map<String, String> options) throws Exception {
        return switch (act) {
            case "sdk get" -> get(target, options);
            case "sdk batch" -> batch(target);
            case "sdk put" -> SDK.putSecretValue(put -> put.secretId(target).secretString("new"));
            case "sdk many" -> repeated(() -> get(target, Map.of()), options, 32);
            case "ssm get" -> getParameter(target, options);
            case "ssm all" -> getParameters(target);
            case "ssm path" -> listPath(target, options);
            case "ssm put" -> SSM.putParameter(put -> put.name(target).value("new"));
            case "ssm many" -> repeated(() -> getParameter(target, Map.of()), options, 32);
            case "http get" -> fetched(target);
            case "http kept" -> repeated(() -> fetched(target), options, 1);
            case "http many" -> repeated(() -> fetched(target), options, 32);
            case "caching get" -> Map.of("text", CACHE.getSecretString(target));
            default -> throw new IllegalArgumentException("no step: " + act);
        };
    }

    private static Map<String, Object> value(String text, SdkBytes bytes) {
        return text == null
            ? Map.of("base64", Base64.getEncoder().encodeToString(bytes.asByteArray()))
            : Map.of("text", text);
    }

    private static Map<String, Object> get(String id, Map<String, String> options) {
        var answer = SDK.getSecretValue(get -> get.secretId(id)
            .versionId(options.get("versionId"))
            .versionStage(options.get("versionStage")));
        return value(answer.secretString(), answer.secretBinary());
    }

    private static Object batch(String ids) {
        var answer = SDK.batchGetSecretValue(batch -> batch.secretIdList(ids.split(",")));
        return Map.of(
            "values", answer.secretValues().stream()
                .map(entry -> value(entry.secretString(), entry.secretBinary()))
                .toList(),
            "errors", answer.errors().stream()
                .map(error -> List.of(error.secretId(), error.errorCode()))
                .toList());
    }

    private static Map<String, Object> parameter(Parameter answer) {
        return Map.of(
            "arn", answer.arn(),
            "name", answer.name(),
            "type", answer.typeAsString(),
            "value", answer.value(),
            "version", answer.version(),
            "selector", answer.selector() == null ? "" : answer.selector(),
            "date", answer.lastModifiedDate().toEpochMilli());
    }

    private static Map<String, Object> getParameter(String name, Map<String, String> options) {
        boolean decrypt = !"false".equals(options.get("decrypt"));
        return parameter(SSM.getParameter(get -> get.name(name).withDecryption(decrypt)).parameter());
    }

    private static Object getParameters(String names) {
        var answer = SSM.getParameters(get -> get.names(names.split(",")).withDecryption(true));
        return Map.of(
            "values", answer.parameters().stream().map(Client::parameter).toList(),
            "invalid", answer.invalidParameters());
    }

    private static Object listPath(String path, Map<String, String> options) {
        boolean recursive = "true".equals(options.get("recursive"));
        var pages = SSM.getParametersByPathPaginator(
            list -> list.path(path).recursive(recursive).withDecryption(true));
        return Map.of("values", pages.stream()
            .flatMap(page -> page.parameters().stream())
            .map(Client::parameter)
            .toList());
    }

    private static Map<String, Object> fetched(String path) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(EXTENSION + path))
            .header("X-Aws-Parameters-Secrets-Token", System.getenv("AWS_SESSION_TOKEN"))
            .build();
        var answer = HTTP.send(request, BodyHandlers.ofString());
        String type = answer.headers().firstValue("Content-Type").orElse("");
        return Map.of("status", answer.statusCode(), "type", type, "body", answer.body());
    }

    /** Calls `ask` several times, at most `atOnce` in parallel, and returns the distinct answers. */
    private static Object repeated(
        Callable<Map<String, Object>> ask, Map<String, String> options, int atOnce) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(atOnce);
        var calls = new ArrayList<Callable<Map<String, Object>>>();
        for (int n = 0; n < Integer.parseInt(options.get("times")); n++) {
            calls.add(ask);
        }
        var distinct = new LinkedHashSet<Object>();
        for (var answer : threads.invokeAll(calls)) {
            var members = answer.get();
            var text = members.getOrDefault("text", members.get("value"));
            distinct.add(text == null ? members.get("body") : text);
        }
        threads.shutdown();
        return Map.of("distinct", new ArrayList<>(distinct));
    }

    private static Object failure(Exception error) {
        var result = new TreeMap<String, Object>();
        result.put("error", error.getClass().getSimpleName());
        result.put("message", String.valueOf(error.getMessage()));
        if (error instanceof AwsServiceException of && of.awsErrorDetails() != null) {
            result.put("code", of.awsErrorDetails().errorCode());
            result.put("message", of.awsErrorDetails().errorMessage());
        }
        return result;
    }

    private static String json(Object value) {
        var text = new StringBuilder();
        if (value instanceof Map<?, ?> members) {
            members.forEach((name, member) ->
                text.append(text.isEmpty() ? "" : ",").append(json(name)).append(":").append(json(member)));
            return "{" + text + "}";
        }
        if (value instanceof List<?> items) {
            items.forEach(item -> text.append(text.isEmpty() ? "" : ",").append(json(item)));
            return "[" + text + "]";
        }
        if (value instanceof Number) {
            return value.toString();
        }
        for (char unit : value.toString().toCharArray()) {
            if (unit == '"' || unit == '\\' || unit < ' ') {
                text.append(String.format("\\u%04x", (int) unit));
            } else {
                text.append(unit);
            }
        }
        return "\"" + text + "\"";
    }
}
