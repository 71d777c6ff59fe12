"""A Lambda function that reads the credentials for all messages of an SQS event in one request."""

import json
import os
import urllib.request

PORT = os.environ.get("SIDEKEY_PORT") or "2773"
TOKEN = os.environ.get("AWS_SESSION_TOKEN") or os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
# Call the agent directly, even if the environment configures a proxy.
AGENT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def resolve(event):
    """Returns one result for each record of an SQS event, in the order of the records."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/resolve",
        data=json.dumps(event).encode(),
        headers={"X-Aws-Parameters-Secrets-Token": TOKEN, "Content-Type": "application/json"},
    )
    with AGENT.open(request, timeout=10) as answer:
        return json.load(answer)


def send(provider, ai):
    """Imitates the API of a message provider in this example. Returns a description of the message."""
    ends = {name: value[-4:] for name, value in sorted({**provider, **ai}.items())}
    return {"ends": ends}


def handle(event, _lambda_context):
    """Sends the messages of an SQS event. Returns the failed messages, so that SQS delivers them again."""
    resolved = resolve(event)
    sent, failures = [], list(resolved["batchItemFailures"])
    for record, result in zip(event["Records"], resolved["results"]):
        credentials = result.get("credentials", {})
        if not result["ok"]:
            errors = [one["error"]["__type"] for one in credentials.values() if "error" in one]
            print(json.dumps({"failed": record["messageId"], "errors": errors}))
            continue
        context = json.loads(record["body"])
        (channel,) = context["channel_config"]
        provider = credentials[f"channel_config.{channel}.credentials_id"]["value"]
        ai = credentials["ai_config.ai_api_key_reference"]["value"]
        try:
            sent.append({"messageId": record["messageId"], **send(provider, ai)})
        except Exception as error:
            print(json.dumps({"failed": record["messageId"], "error": type(error).__name__}))
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures, "sent": sent}
