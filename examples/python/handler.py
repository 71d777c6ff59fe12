"""A Lambda function that sends WhatsApp messages, and reads their credentials from Sidekey."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request

PORT = os.environ.get("SIDEKEY_PORT") or "2773"
TOKEN = os.environ.get("AWS_SESSION_TOKEN") or os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
# Call the agent directly, even if the environment configures a proxy.
AGENT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refused(Exception):
    """The message provider rejected the credential."""


def credential(reference, field, refresh=False):
    """Returns the text of one field of a secret. If refresh is set, Sidekey first fetches it from AWS."""
    query = {"secretId": reference, "field": field, "refreshNow": str(refresh).lower()}
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/secretsmanager/get?{urllib.parse.urlencode(query)}",
        headers={"X-Aws-Parameters-Secrets-Token": TOKEN},
    )
    try:
        with AGENT.open(request, timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise LookupError(f"{reference}: {error.read().decode()}") from None


def send(context, account, token, ai_key):
    """Imitates the API of a message provider in this example. Returns a description of the message."""
    revoked = context.get("revoked_suffix")
    if revoked and token.endswith(revoked):
        raise Refused("the provider answers 401")
    return {"account": account, "token_ends": token[-4:], "ai_key_ends": ai_key[-4:]}


def process(context):
    """Sends one message. If the provider rejects the credential, fetches it again and tries again."""
    reference = context["channel_config"]["whatsapp"]["credentials_id"]
    ai_key = credential(context["ai_config"]["ai_api_key_reference"], "ai_api_key")
    account = credential(reference, "twilio_account_sid")
    try:
        return send(context, account, credential(reference, "twilio_auth_token"), ai_key)
    except Refused:
        token = credential(reference, "twilio_auth_token", refresh=True)
        return send(context, account, token, ai_key)


def handle(event, _lambda_context):
    """Sends the messages of an SQS event. Returns the failed messages, so that SQS delivers them again."""
    sent, failures = [], []
    for record in event["Records"]:
        try:
            message = process(json.loads(record["body"]))
            sent.append({"messageId": record["messageId"], **message})
        except Exception as error:
            print(json.dumps({"failed": record["messageId"], "error": str(error)}))
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures, "sent": sent}
