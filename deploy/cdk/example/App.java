import java.nio.file.Path;
import java.util.List;
import sidekey.cdk.Sidekey;
import sidekey.cdk.SidekeyLayer;
import software.amazon.awscdk.Duration;
import software.amazon.awscdk.Stack;
import software.amazon.awscdk.services.lambda.Architecture;
import software.amazon.awscdk.services.lambda.Code;
import software.amazon.awscdk.services.lambda.Function;
import software.amazon.awscdk.services.lambda.Runtime;

/** The same application as app.js, in Java. The argument is the root of the clone. */
public class App {
    public static void main(String[] args) {
        Path repository = Path.of(args[0]);

        var app = new software.amazon.awscdk.App();
        var stack = new Stack(app, "SidekeyExample");

        var fn = Function.Builder.create(stack, "Processor")
                .functionName("sidekey-example")
                .runtime(Runtime.PYTHON_3_13)
                .architecture(Architecture.ARM_64)
                .handler("handler.handle")
                .code(Code.fromAsset(repository.resolve("examples/python").toString()))
                .timeout(Duration.seconds(30))
                .build();

        var sidekey = Sidekey.Builder.create(stack, "Sidekey")
                .layer(SidekeyLayer.fromFolder(repository.resolve("target/lambda").toString()))
                .secrets(List.of("openai-api-key/whatsapp", "ssm:/app/url"))
                .allow(List.of("whatsapp-credentials/*/*/twilio", "openai-api-key/whatsapp", "ssm:/app/*"))
                .ttl(Duration.minutes(10))
                .build();
        sidekey.attachTo(fn);

        app.synth();
    }
}
