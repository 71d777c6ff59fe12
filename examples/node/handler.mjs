// A Lambda function that sends SMS messages from an SQS queue. It reads the credentials for each message
// with AWS's SDK, which calls Sidekey at the URL in AWS_ENDPOINT_URL_SECRETS_MANAGER.

import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

const secretsManager = new SecretsManagerClient();

/** Means that the message provider rejected the credential. */
class Refused extends Error {}

/** Returns the fields of a secret. */
async function credentials(reference) {
  const answer = await secretsManager.send(new GetSecretValueCommand({ SecretId: reference }));
  try {
    return JSON.parse(answer.SecretString);
  } catch {
    throw new Error(`${reference}: the secret is not JSON`); // The error of the JSON parser would contain the secret.
  }
}

/** Makes Sidekey fetch the current value of a secret from AWS. The AWS API has no such operation. */
async function refresh(reference) {
  const { AWS_ENDPOINT_URL_SECRETS_MANAGER: agent, ...env } = process.env;
  const query = new URLSearchParams({ secretId: reference, refreshNow: "true" });
  const token = env.AWS_SESSION_TOKEN ?? env.AWS_CONTAINER_AUTHORIZATION_TOKEN;
  const answer = await fetch(new URL(`/secretsmanager/get?${query}`, agent), {
    headers: { "X-Aws-Parameters-Secrets-Token": token },
    signal: AbortSignal.timeout(10_000),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${reference}: ${answer.status} ${text}`);
}

/** Imitates the API of a message provider in this example. Returns a description of the message. */
function send(context, { twilio_account_sid: account, twilio_auth_token: token }, aiKey) {
  const { revoked_suffix: revoked } = context;
  if (revoked && token.endsWith(revoked)) throw new Refused("the provider answers 401");
  return { account, token_ends: token.slice(-4), ai_key_ends: aiKey.slice(-4) };
}

/** Sends one message. If the provider rejects the credential, fetches it again and tries again. */
async function processMessage(context) {
  const reference = context.channel_config.sms.credentials_id;
  const { ai_api_key: aiKey } = await credentials(context.ai_config.ai_api_key_reference);
  try {
    return send(context, await credentials(reference), aiKey);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    await refresh(reference);
    return send(context, await credentials(reference), aiKey);
  }
}

/** Sends the messages of an SQS event. Returns the failed messages, so that SQS delivers them again. */
export async function handle(event) {
  const sent = [];
  const batchItemFailures = [];
  for (const { messageId, body } of event.Records) {
    try {
      sent.push({ messageId, ...(await processMessage(JSON.parse(body))) });
    } catch (error) {
      console.log(JSON.stringify({ failed: messageId, error: `${error.name}: ${error.message}` }));
      batchItemFailures.push({ itemIdentifier: messageId });
    }
  }
  return { batchItemFailures, sent };
}
