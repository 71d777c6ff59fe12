// A function that reads two secrets and a parameter from Sidekey.
const path = require('node:path');
const { App, Duration, Stack, aws_lambda: lambda } = require('aws-cdk-lib');
const { Sidekey, SidekeyLayer } = require('sidekey-cdk');

const app = new App();
const stack = new Stack(app, 'SidekeyExample');

const fn = new lambda.Function(stack, 'Processor', {
  runtime: lambda.Runtime.PYTHON_3_13,
  architecture: lambda.Architecture.ARM_64,
  handler: 'handler.handle',
  code: lambda.Code.fromAsset(path.join(__dirname, '../../../examples/python')),
  timeout: Duration.seconds(30),
});

// snippet: construct
const sidekey = new Sidekey(stack, 'Sidekey', {
  layer: SidekeyLayer.fromFolder(path.join(__dirname, '../../../target/lambda')),
  secrets: ['openai-api-key/whatsapp', 'ssm:/app/url'],
  allow: ['whatsapp-credentials/*/*/twilio', 'openai-api-key/whatsapp', 'ssm:/app/*'],
  ttl: Duration.minutes(10),
});
sidekey.attachTo(fn);
// snippet: end

app.synth();
