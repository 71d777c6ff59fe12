import { Duration, Stack, Token, aws_iam as iam, aws_kms as kms, aws_lambda as lambda } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { SidekeyLayer } from './layer';
import { covers, nameOf, problem, resources } from './references';

/** The settings of `Sidekey`. */
export interface SidekeyProps {
  /** The Sidekey layer. */
  readonly layer: SidekeyLayer;

  /**
   * The secrets and parameters that Sidekey prefetches: names or ARNs. `ssm:NAME` is a parameter, and
   * `ssm:/app/*` means all parameters directly under `/app`.
   *
   * @default - Sidekey prefetches nothing
   */
  readonly secrets?: string[];

  /**
   * The patterns of the secrets and parameters that the function may read. In Sidekey, `*` matches any
   * characters except `/`. In the IAM policy, `*` also matches `/`.
   *
   * @default - the secrets and parameters in `secrets`
   */
  readonly allow?: string[];

  /**
   * How long Sidekey serves a cached value before it refreshes the value.
   *
   * @default - Sidekey's default, 5 minutes
   */
  readonly ttl?: Duration;

  /**
   * Whether Sidekey refuses a value that breaks the convention for its name.
   *
   * @default false
   */
  readonly strict?: boolean;

  /**
   * Whether AWS SDKs in the function read secrets and parameters from Sidekey, without a change of code.
   *
   * @default true
   */
  readonly redirectSdk?: boolean;

  /**
   * The customer managed keys that encrypt the secrets and parameters. The function gets `kms:Decrypt` on
   * these keys, limited to calls through Secrets Manager and Parameter Store.
   *
   * @default - AWS's own keys encrypt the secrets, and need no permission
   */
  readonly encryptionKeys?: kms.IKey[];

  /**
   * Other variables of Sidekey, such as `SIDEKEY_STALE_IF_ERROR`.
   *
   * @default - no other variables
   */
  readonly environment?: { [name: string]: string };
}

const PORT = '2773';
// The id of a construct that marks a function as attached.
const MARK = 'SidekeyAttached';
// The variables that have a property of their own.
const OWN_PROPERTIES: { [name: string]: string } = {
  SIDEKEY_SECRETS: 'secrets',
  SIDEKEY_ALLOW: 'allow',
  SIDEKEY_TTL: 'ttl',
  SIDEKEY_STRICT: 'strict',
};

/** Gives Lambda functions the Sidekey layer, its variables, and the permission to read some secrets. */
export class Sidekey extends Construct {
  private readonly secrets: string[];
  private readonly allow: string[];

  constructor(scope: Construct, id: string, private readonly props: SidekeyProps) {
    super(scope, id);
    this.secrets = props.secrets ?? [];
    this.allow = props.allow ?? [...new Set(this.secrets.map(nameOf))];
    this.checkSettings();
  }

  /**
   * Adds the layer for the function's architecture, Sidekey's variables, and the permission to read the secrets.
   *
   * Fails if the function cannot have the layer, or already has it.
   */
  public attachTo(fn: lambda.Function): void {
    const fail = (message: string) => {
      throw new Error(`Sidekey cannot be attached to ${fn.node.path}: ${message}`);
    };
    if (fn.runtime === lambda.Runtime.FROM_IMAGE) {
      fail('Lambda adds no layers to a function from an image; copy the layer into the image with COPY --from');
    }
    if (!fn.role) fail('the function has an imported role, which this construct cannot change');
    if (fn.node.tryFindChild(MARK)) {
      fail('the function already has Sidekey; list all its secrets in one construct, and attach it once');
    }
    let version: lambda.ILayerVersion;
    try {
      version = this.props.layer._version(this, fn.architecture);
    } catch (error) {
      return fail((error as Error).message);
    }
    fn.addLayers(version);
    for (const [name, value] of Object.entries(this.variables())) {
      fn.addEnvironment(name, value);
    }
    for (const statement of this.statements()) {
      fn.addToRolePolicy(statement);
    }
    new Construct(fn, MARK);
  }

  /** Returns the statements of the IAM policy, for the role of a function or of an ECS task. */
  public statements(): iam.PolicyStatement[] {
    const stack = Stack.of(this);
    const { secrets, parameters, paths } = resources(stack, this.allow);
    const statements = [
      { sid: 'SidekeyGetSecretValue', action: 'secretsmanager:GetSecretValue', on: secrets },
      { sid: 'SidekeyGetParameter', action: 'ssm:GetParameter', on: parameters },
      { sid: 'SidekeyGetParameters', action: 'ssm:GetParameters', on: parameters },
      { sid: 'SidekeyGetParametersByPath', action: 'ssm:GetParametersByPath', on: paths },
    ].filter(({ on }) => on.length > 0).map(({ sid, action, on }) =>
      new iam.PolicyStatement({ sid, actions: [action], resources: on }));
    if (this.readsInBatches()) {
      statements.push(new iam.PolicyStatement({
        sid: 'SidekeyBatchGetSecretValue',
        actions: ['secretsmanager:BatchGetSecretValue'],
        resources: ['*'],
      }));
    }
    const keys = (this.props.encryptionKeys ?? []).map((key) => key.keyArn);
    const decrypt = (sid: string, service: string, conditions: { [test: string]: unknown }) =>
      statements.push(new iam.PolicyStatement({
        sid,
        actions: ['kms:Decrypt'],
        resources: keys,
        conditions: {
          StringEquals: { 'kms:ViaService': `${service}.${stack.region}.${stack.urlSuffix}` },
          ...conditions,
        },
      }));
    if (keys.length > 0 && secrets.length > 0) decrypt('SidekeyDecrypt', 'secretsmanager', {});
    if (keys.length > 0 && parameters.length > 0) {
      decrypt('SidekeyDecryptParameters', 'ssm', {
        StringLike: { 'kms:EncryptionContext:PARAMETER_ARN': parameters },
      });
    }
    return statements;
  }

  /** Returns the variables of a function, or of Sidekey's container in an ECS task. */
  public variables(): { [name: string]: string } {
    const variables: { [name: string]: string } = {};
    if (this.secrets.length > 0) variables.SIDEKEY_SECRETS = this.secrets.map((secret) => secret.split('#')[0]).join(' ');
    variables.SIDEKEY_ALLOW = this.allow.join(' ');
    if (this.props.ttl) variables.SIDEKEY_TTL = `${this.props.ttl.toSeconds()}s`;
    if (this.props.strict) variables.SIDEKEY_STRICT = 'true';
    if (this.props.redirectSdk ?? true) {
      const port = this.props.environment?.SIDEKEY_PORT ?? PORT;
      variables.AWS_ENDPOINT_URL_SECRETS_MANAGER = `http://127.0.0.1:${port}`;
      variables.AWS_ENDPOINT_URL_SSM = `http://127.0.0.1:${port}`;
    }
    return { ...variables, ...this.props.environment };
  }

  private readsInBatches(): boolean {
    return ['batch', 'auto'].includes(this.props.environment?.SIDEKEY_PREFETCH ?? 'get');
  }

  private checkSettings(): void {
    const errors: string[] = [];
    for (const [setting, items] of [['secrets', this.secrets], ['allow', this.props.allow ?? []]] as const) {
      for (const item of items) {
        const found = problem(setting, setting === 'secrets' ? nameOf(item) : item);
        if (found) errors.push(`${setting}: "${item}": ${found}`);
      }
    }
    if (this.allow.length === 0) {
      errors.push('give `secrets`, `allow` or both: without them, the function could read nothing');
    }
    for (const secret of this.secrets.map(nameOf)) {
      if (!secret.startsWith('arn:') && !this.allow.some((pattern) => pattern.startsWith('arn:') || covers(pattern, secret))) {
        errors.push(`secrets: "${secret}": no pattern of \`allow\` matches it; add a pattern`);
      }
    }
    const ttl = this.props.ttl;
    if (ttl && !Token.isUnresolved(ttl) && ttl.toDays({ integral: false }) > 30) {
      errors.push(`ttl: ${ttl.toHumanString()} is longer than 30 days`);
    }
    for (const name of Object.keys(this.props.environment ?? {})) {
      if (!/^SIDEKEY_[A-Z_]+$/.test(name)) {
        errors.push(`environment: ${name} is not a variable of Sidekey; set it on the function`);
      } else if (OWN_PROPERTIES[name]) {
        errors.push(`environment: ${name} has its own property, \`${OWN_PROPERTIES[name]}\``);
      }
    }
    if (errors.length > 0) {
      throw new Error(`The settings of Sidekey (${this.node.path}) are invalid:\n  ${errors.join('\n  ')}`);
    }
  }
}
