// Tests of the construct. deploy/check also compares its policies with those of `sidekey policy`.
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { test } = require('node:test');
const { App, Duration, Stack, aws_ecr: ecr, aws_iam: iam, aws_kms: kms, aws_lambda: lambda } = require('aws-cdk-lib');
const { Match, Template } = require('aws-cdk-lib/assertions');
const { Sidekey, SidekeyLayer } = require('../lib');

const ACCOUNT = '123456789012';
const REGION = 'eu-north-1';
const ARN = `arn:aws:lambda:${REGION}:${ACCOUNT}:layer:sidekey-arm64:7`;
const layer = SidekeyLayer.fromArns({ arm64: ARN });

function newStack() {
  return new Stack(new App(), 'Stack', { env: { account: ACCOUNT, region: REGION } });
}

function newFunction(stack, settings = {}) {
  return new lambda.Function(stack, 'Function', {
    runtime: lambda.Runtime.NODEJS_22_X,
    architecture: lambda.Architecture.ARM_64,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => {};'),
    ...settings,
  });
}

/** Attaches Sidekey with these settings to a function, and returns the template. */
function template(settings) {
  const stack = newStack();
  new Sidekey(stack, 'Sidekey', { layer, ...settings }).attachTo(newFunction(stack));
  return Template.fromStack(stack);
}

function policy(settings) {
  const [found] = Object.values(template(settings).findResources('AWS::IAM::Policy'));
  return JSON.parse(JSON.stringify(found.Properties.PolicyDocument)
    .replaceAll('{"Ref":"AWS::Partition"}', '"aws"')
    .replaceAll('{"Ref":"AWS::URLSuffix"}', '"amazonaws.com"')
    .replace(/\{"Fn::Join":\["",\[([^\]]*)\]\]\}/g, (_, parts) => JSON.stringify(JSON.parse(`[${parts}]`).join(''))));
}

/** Expects that the settings, or attaching them to a function, fail with this message. */
function assertFails(settings, message, attach = (sidekey, stack) => sidekey.attachTo(newFunction(stack))) {
  const stack = newStack();
  assert.throws(() => attach(new Sidekey(stack, 'Sidekey', { layer, ...settings }), stack), message);
}

test('a function gets the layer and the variables', () => {
  template({ secrets: ['app/db#password', 'app/key'], ttl: Duration.minutes(10), strict: true })
    .hasResourceProperties('AWS::Lambda::Function', {
      Layers: [ARN],
      Environment: {
        Variables: {
          SIDEKEY_SECRETS: 'app/db app/key',
          SIDEKEY_ALLOW: 'app/db app/key',
          SIDEKEY_TTL: '600s',
          SIDEKEY_STRICT: 'true',
          AWS_ENDPOINT_URL_SECRETS_MANAGER: 'http://127.0.0.1:2773',
          AWS_ENDPOINT_URL_SSM: 'http://127.0.0.1:2773',
        },
      },
    });
});

test('the SDK is not redirected if the caller says so', () => {
  template({ secrets: ['app/db'], redirectSdk: false }).hasResourceProperties('AWS::Lambda::Function', {
    Environment: { Variables: { AWS_ENDPOINT_URL_SECRETS_MANAGER: Match.absent() } },
  });
});

test('the SDK calls the configured port', () => {
  template({ secrets: ['app/db'], environment: { SIDEKEY_PORT: '2774' } })
    .hasResourceProperties('AWS::Lambda::Function', {
      Environment: { Variables: { SIDEKEY_PORT: '2774', AWS_ENDPOINT_URL_SSM: 'http://127.0.0.1:2774' } },
    });
});

test('a function for x86-64 does not get the layer for arm64', () => {
  assertFails({ secrets: ['app/db'] }, /has the architecture x86_64.*add `x86`/, (sidekey, stack) =>
    sidekey.attachTo(newFunction(stack, { architecture: lambda.Architecture.X86_64 })));
});

test('functions in one stack share the layer', () => {
  const stack = newStack();
  const sidekey = new Sidekey(stack, 'Sidekey', { layer, secrets: ['app/db'] });
  sidekey.attachTo(newFunction(stack));
  sidekey.attachTo(new lambda.Function(stack, 'Other', {
    runtime: lambda.Runtime.NODEJS_22_X,
    architecture: lambda.Architecture.ARM_64,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => {};'),
  }));
  Template.fromStack(stack).resourceCountIs('AWS::IAM::Policy', 2);
});

const POLICIES = [
  [['app/db']],
  [['whatsapp-credentials/*/*/twilio', 'openai-api-key/whatsapp']],
  [['ssm:/app/url', 'ssm:name']],
  [['app/db', 'ssm:/app/*']],
  [[`arn:aws:secretsmanager:${REGION}:${ACCOUNT}:secret:app/db-AbCdEf`]],
  [[`arn:aws:secretsmanager:${REGION}:${ACCOUNT}:secret:app/db`]],
  [[`arn:aws:ssm:${REGION}:${ACCOUNT}:parameter/app/url`]],
  [['app/db'], { environment: { SIDEKEY_PREFETCH: 'batch' } }, ['--batch']],
  [['app/db', 'ssm:/app/url'], 'with a key', ['--kms-key', `arn:aws:kms:${REGION}:${ACCOUNT}:key/1`]],
];

for (const [allow, settings = {}, options = []] of POLICIES) {
  test(`the policy for ${allow.join(' ')} ${options.join(' ')} is exactly what \`sidekey policy\` asks for`, (t) => {
    if (!process.env.SIDEKEY) return t.skip('SIDEKEY is not the path of the command `sidekey`');
    const stack = newStack();
    const keys = settings === 'with a key'
      ? { encryptionKeys: [kms.Key.fromKeyArn(stack, 'Key', options[1])] }
      : settings;
    const document = policy({ allow, ...keys });
    const scope = ['--account', ACCOUNT, '--region', REGION];
    execFileSync(process.env.SIDEKEY, ['policy', '--verify', '-', ...allow, ...options, ...scope], {
      input: JSON.stringify(document),
      env: {},
    });
  });
}

test('a secret that `allow` does not cover is an error', () => {
  assertFails({ secrets: ['app/db'], allow: ['app/*/db', 'other'] }, /secrets: "app\/db": no pattern of `allow`/);
  template({ secrets: ['app/db'], allow: ['a[op]p/d?'] });
});

test('a wildcard does not match a slash', () => {
  assertFails({ secrets: ['app/a/b'], allow: ['app/*'] }, /no pattern of `allow` matches/);
  assertFails({ secrets: ['app/a/b'], allow: ['app/a[!x]b'] }, /no pattern of `allow` matches/);
});

test('settings without any secret are an error', () => {
  assertFails({}, /give `secrets`, `allow` or both/);
});

test('all errors of the settings are reported at once', () => {
  assertFails(
    { secrets: ['app/**', 'a b'], ttl: Duration.days(31), environment: { PATH: '/', SIDEKEY_TTL: '5m' } },
    (error) => ['`**` is not supported', '"a b"', 'longer than 30 days', 'PATH is not a variable', 'property, `ttl`']
      .every((part) => error.message.includes(part)),
  );
});

test('a pattern in `secrets` is an error, except a path of parameters', () => {
  assertFails({ secrets: ['app/*'] }, /a pattern is allowed only in `allow`/);
  template({ secrets: ['ssm:/app/*', 'ssm:/other/url:3'] }).hasResourceProperties('AWS::Lambda::Function', {
    Environment: {
      Variables: { SIDEKEY_SECRETS: 'ssm:/app/* ssm:/other/url:3', SIDEKEY_ALLOW: 'ssm:/app/* ssm:/other/url' },
    },
  });
});

test('a function from an image is an error', () => {
  assertFails({ secrets: ['app/db'] }, /copy the layer into the image with COPY --from/, (sidekey, stack) => {
    const repository = ecr.Repository.fromRepositoryName(stack, 'Repository', 'app');
    sidekey.attachTo(new lambda.DockerImageFunction(stack, 'Image', {
      code: lambda.DockerImageCode.fromEcr(repository),
      architecture: lambda.Architecture.ARM_64,
    }));
  });
});

test('a second construct on one function is an error', () => {
  assertFails({ secrets: ['app/db'] }, /already has Sidekey/, (sidekey, stack) => {
    const fn = newFunction(stack);
    new Sidekey(stack, 'Other', { layer, secrets: ['app/key'] }).attachTo(fn);
    sidekey.attachTo(fn);
  });
});

test('a layer without an ARN is an error', () => {
  assert.throws(() => SidekeyLayer.fromArns({}), /needs the ARN of a layer version/);
});

test('statements can be added to another role', () => {
  const stack = newStack();
  const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') });
  const sidekey = new Sidekey(stack, 'Sidekey', { layer, secrets: ['app/db'] });
  sidekey.statements().forEach((statement) => role.addToPolicy(statement));
  Template.fromStack(stack).resourceCountIs('AWS::IAM::Policy', 1);
});
