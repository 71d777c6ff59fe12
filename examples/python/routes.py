"""A Lambda function that sends WhatsApp messages through Sidekey's routes, and never has a credential."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request

PORT = os.environ.get("SIDEKEY_PORT") or "2773"
TOKEN = os.environ.get("AWS_SESSION_TOKEN") or os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
# Call the agent directly, even if the environment configures a proxy.
AGENT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(route, reference, path, body, content_type):
    """Sends a POST request to the server of a route, with the credential of the secret."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/to/{route}{path}",
        data=body,
        headers={
            "Content-Type": content_type,
            "X-Aws-Parameters-Secrets-Token": TOKEN,
            "X-Sidekey-Reference": reference,
        },
    )
    try:
        with AGENT.open(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{route}: {error.code} {error.read().decode()}") from None


def process(context):
    """Lets OpenAI write a text, and sends it with Twilio. Sidekey retries a call after a rotation."""
    question = {"model": "gpt-4o", "messages": [{"role": "user", "content": context["question"]}]}
    ai_reference = context["ai_config"]["ai_api_key_reference"]
    completion = call(
        "openai", ai_reference, "/v1/chat/completions", json.dumps(question).encode(), "application/json"
    )
    message = {"To": context["to"], "Body": completion["choices"][0]["message"]["content"]}
    return call(
        "twilio",
        context["channel_config"]["whatsapp"]["credentials_id"],
        "/2010-04-01/Accounts/%7Btwilio_account_sid%7D/Messages.json",
        urllib.parse.urlencode(message).encode(),
        "application/x-www-form-urlencoded",
    )


def handle(event, _lambda_context):
    """Sends the messages of an SQS event. Returns the failed messages, so that SQS delivers them again."""
    sent, failures = [], []
    for record in event["Records"]:
        try:
            sent.append(process(json.loads(record["body"]))["sid"])
        except Exception as error:
            print(json.dumps({"failed": record["messageId"], "error": str(error)}))
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures, "sent": sent}
