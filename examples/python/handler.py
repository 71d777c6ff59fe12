"""A channel processor for WhatsApp: sends the messages of a queue with the credentials that each refers to."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request

PORT = os.environ.get("SIDEKEY_PORT", "2773")
TOKEN = os.environ.get("AWS_SESSION_TOKEN") or os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]


def credential(reference: str) -> dict:
    """Reads what a reference means. Sidekey holds it, so there is nothing to keep here."""
    query = urllib.parse.urlencode({"secretId": reference})
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/secretsmanager/get?{query}",
        headers={"X-Aws-Parameters-Secrets-Token": TOKEN},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(json.load(answer)["SecretString"])
    except urllib.error.HTTPError as error:
        raise LookupError(f"{reference}: {error.status} {error.read().decode()}") from error


def send(message: dict, twilio: dict, openai: dict) -> None:
    """Stands for the calls to OpenAI and Twilio. A key is used, and never logged."""
    if not openai["ai_api_key"] or not twilio["twilio_auth_token"]:
        raise ValueError("a key is empty")
    print(f"sent to {message['to']} by account {twilio['twilio_account_sid']}", flush=True)


def process(message: dict) -> None:
    twilio = credential(message["channel_config"]["whatsapp"]["credentials_id"])
    openai = credential(message["ai_config"]["ai_api_key_reference"])
    send(message, twilio, openai)


def handle(event: dict, context: object) -> dict:
    """Takes a batch of SQS. What failed comes again, and nothing else does."""
    failures = []
    for record in event["Records"]:
        try:
            process(json.loads(record["body"]))
        except Exception as error:
            print(f"failed {record['messageId']}: {error}", flush=True)
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
