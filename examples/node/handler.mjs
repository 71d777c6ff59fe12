// A channel processor for WhatsApp: sends the messages of a queue with the credentials that each refers to.

const port = process.env.SIDEKEY_PORT ?? "2773";
const token = process.env.AWS_SESSION_TOKEN ?? process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN;

/** Reads what a reference means. Sidekey holds it, so there is nothing to keep here. */
async function credential(reference) {
  const query = new URLSearchParams({ secretId: reference });
  const answer = await fetch(`http://127.0.0.1:${port}/secretsmanager/get?${query}`, {
    headers: { "X-Aws-Parameters-Secrets-Token": token },
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok) throw new Error(`${reference}: ${answer.status} ${await answer.text()}`);
  return JSON.parse((await answer.json()).SecretString);
}

/** Stands for the calls to OpenAI and Twilio. A key is used, and never logged. */
async function send(message, twilio, openai) {
  if (!openai.ai_api_key || !twilio.twilio_auth_token) throw new Error("a key is empty");
  console.log(`sent to ${message.to} by account ${twilio.twilio_account_sid}`);
}

async function handleMessage(message) {
  const [twilio, openai] = await Promise.all([
    credential(message.channel_config.whatsapp.credentials_id),
    credential(message.ai_config.ai_api_key_reference),
  ]);
  await send(message, twilio, openai);
}

/** Takes a batch of SQS. What failed comes again, and nothing else does. */
export async function handle(event) {
  const outcomes = await Promise.all(
    event.Records.map(async ({ messageId, body }) => {
      try {
        await handleMessage(JSON.parse(body));
        return [];
      } catch (error) {
        console.log(`failed ${messageId}: ${error.message}`);
        return [{ itemIdentifier: messageId }];
      }
    }),
  );
  return { batchItemFailures: outcomes.flat() };
}
