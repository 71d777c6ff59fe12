import { Arn, ArnFormat, Stack, Token } from 'aws-cdk-lib';

/** What IAM must allow for a list of names, patterns and ARNs. */
export interface Resources {
  readonly secrets: string[];
  readonly parameters: string[];
  /** The paths of patterns such as `ssm:/app/*`, for `ssm:GetParametersByPath`. */
  readonly paths: string[];
}

const NAME = /^[A-Za-z0-9/_+=.@!-]{1,512}$/;
const PATTERN = /^[A-Za-z0-9/_+=.@!*?[\]-]{1,2048}$/;
const SUFFIX = /-[A-Za-z0-9]{6}$/;

/** Returns the name, path or ARN of a reference, without the field, stage or version that it selects. */
export function nameOf(reference: string): string {
  if (Token.isUnresolved(reference)) return reference;
  const text = reference.split('#')[0];
  if (text.startsWith('ssm:')) return text.split(':').slice(0, 2).join(':');
  if (isParameter(text)) return text.split(':').slice(0, 6).join(':');
  return text.startsWith('arn:') ? text.split(':').slice(0, 7).join(':') : text;
}

/** Returns whether a text is the name or ARN of a parameter. Other texts are names or ARNs of secrets. */
function isParameter(text: string): boolean {
  return text.startsWith('ssm:') || /^arn:[^:]*:ssm:/.test(text);
}

/** Returns what is wrong with a name, pattern or ARN of `setting`, or undefined if it is valid. */
export function problem(setting: 'secrets' | 'allow', text: string): string | undefined {
  if (Token.isUnresolved(text)) return undefined;
  const name = text.startsWith('ssm:') ? text.slice('ssm:'.length) : text;
  if (name === '') return 'the name is empty';
  if (/[\s,]/.test(text)) return 'a name contains no space and no comma; each name is an item of the list';
  if (name.startsWith('arn:')) return undefined;
  if (name.includes('**')) return '`**` is not supported; write one `*` for each segment of the path';
  if (setting === 'allow') return PATTERN.test(name) ? undefined : 'the pattern has a character that no name contains';
  const plain = text.startsWith('ssm:') ? name.replace(/\/\*$/, '') : name;
  if (plain.includes('*')) return 'a pattern is allowed only in `allow`, except a path of parameters such as `ssm:/app/*`';
  return NAME.test(plain) ? undefined : 'the name has a character that no name contains';
}

/** Returns whether a pattern of `allow` matches a name. `*` matches within one segment of the path. */
export function covers(pattern: string, reference: string): boolean {
  if (Token.isUnresolved(pattern) || Token.isUnresolved(reference) || pattern === reference) return true;
  const source = pattern
    .replace(/[.+^$(){}|\\]/g, '\\$&')
    .replace(/\[!/g, '[^/')
    .replace(/\?/g, '[^/]')
    .replace(/\*/g, '[^/]*');
  return new RegExp(`^${source}$`).test(reference);
}

/** Returns the ARNs that IAM must allow, as `sidekey policy` does. */
export function resources(stack: Stack, references: string[]): Resources {
  const secrets = new Set<string>();
  const parameters = new Set<string>();
  const paths = new Set<string>();
  const arn = (service: string, resource: string, name: string, arnFormat: ArnFormat) =>
    stack.formatArn({ service, resource, resourceName: name, arnFormat });
  for (const reference of references) {
    if (!isParameter(reference)) {
      secrets.add(Token.isUnresolved(reference) || reference.startsWith('arn:')
        ? withSuffix(reference)
        : arn('secretsmanager', 'secret', `${reference}-??????`, ArnFormat.COLON_RESOURCE_NAME));
      continue;
    }
    if (reference.startsWith('arn:')) {
      parameters.add(reference);
      continue;
    }
    const name = reference.slice('ssm:'.length).replace(/^\//, '');
    parameters.add(arn('ssm', 'parameter', name, ArnFormat.SLASH_RESOURCE_NAME));
    if (name.endsWith('/*')) {
      paths.add(arn('ssm', 'parameter', name.slice(0, -2), ArnFormat.SLASH_RESOURCE_NAME));
      paths.add(arn('ssm', 'parameter', name, ArnFormat.SLASH_RESOURCE_NAME));
    }
  }
  return { secrets: [...secrets].sort(), parameters: [...parameters].sort(), paths: [...paths].sort() };
}

/** Returns the ARN of a secret with `-??????`, unless the ARN ends in a hyphen and six characters. */
function withSuffix(arn: string): string {
  if (Token.isUnresolved(arn)) return arn;
  const name = Arn.split(arn, ArnFormat.COLON_RESOURCE_NAME).resourceName ?? '';
  return SUFFIX.test(name) || /[*?]/.test(name) ? arn : `${arn}-??????`;
}
