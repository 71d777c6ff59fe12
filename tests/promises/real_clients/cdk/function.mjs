// Prints the environment variables of a Lambda function that AWS's CDK configures for AWS's Parameters
// and Secrets extension. The output is JSON: the variables of a function with default options, and
// those of a function with all options. The argument is the port of the second function.

import { App, Duration, Stack } from "aws-cdk-lib";
import {
  Code,
  Function as LambdaFunction,
  ParamsAndSecretsLayerVersion,
  ParamsAndSecretsLogLevel,
  ParamsAndSecretsVersions,
  Runtime,
} from "aws-cdk-lib/aws-lambda";

const app = new App({ analyticsReporting: false });
const stack = new Stack(app, "Stack", { env: { account: "123456789012", region: "eu-north-1" } });

function add(id, options) {
  const version = ParamsAndSecretsVersions.V1_0_103;
  new LambdaFunction(stack, id, {
    runtime: Runtime.NODEJS_22_X,
    handler: "index.handler",
    code: Code.fromInline("exports.handler = async () => {};"),
    paramsAndSecrets: ParamsAndSecretsLayerVersion.fromVersion(version, options),
  });
}

add("Defaults", {});
add("Options", {
  cacheEnabled: true,
  cacheSize: 50,
  httpPort: Number(process.argv[2]),
  logLevel: ParamsAndSecretsLogLevel.WARN,
  maxConnections: 5,
  parameterStoreTimeout: Duration.seconds(3),
  parameterStoreTtl: Duration.seconds(20),
  secretsManagerTimeout: Duration.seconds(4),
  secretsManagerTtl: Duration.seconds(40),
});
const { template } = app.synth().getStackArtifact(stack.artifactId);
const functions = Object.entries(template.Resources)
  .filter(([, resource]) => resource.Type === "AWS::Lambda::Function")
  .sort(([one], [other]) => one.localeCompare(other));
const variables = functions.map(([, { Properties }]) => Properties.Environment.Variables);
console.log(JSON.stringify(variables));
