// A Lambda function that sends SMS through Sidekey's routes, and never has a credential.

const port = process.env.SIDEKEY_PORT || "2773";
const token = process.env.AWS_SESSION_TOKEN || process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN;

/** Sends a POST request to the server of a route, with the credential of the secret. */
async function call(route, reference, path, body, headers = {}) {
  const answer = await fetch(`http://127.0.0.1:${port}/to/${route}${path}`, {
    method: "POST",
    body,
    headers: {
      ...headers,
      "X-Aws-Parameters-Secrets-Token": token,
      "X-Sidekey-Reference": reference,
    },
    signal: AbortSignal.timeout(60_000),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${route}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

/** Lets OpenAI write a text, and sends it with Twilio. Sidekey retries a call after a rotation. */
async function deliver(context) {
  const question = { model: "gpt-4o", messages: [{ role: "user", content: context.question }] };
  const completion = await call(
    "openai", context.ai_config.ai_api_key_reference, "/v1/chat/completions",
    JSON.stringify(question), { "Content-Type": "application/json" });
  const text = completion.choices[0].message.content;
  return call(
    "twilio", context.channel_config.sms.credentials_id,
    "/2010-04-01/Accounts/%7Btwilio_account_sid%7D/Messages.json",
    new URLSearchParams({ To: context.to, Body: text }));
}

/** Sends the messages of an SQS event. Returns the failed messages, so that SQS delivers them again. */
export async function handle(event) {
  const sent = [];
  const batchItemFailures = [];
  for (const record of event.Records) {
    try {
      sent.push((await deliver(JSON.parse(record.body))).sid);
    } catch (error) {
      console.log(JSON.stringify({ failed: record.messageId, error: error.message }));
      batchItemFailures.push({ itemIdentifier: record.messageId });
    }
  }
  return { batchItemFailures, sent };
}
