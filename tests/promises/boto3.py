"""Asks Secrets Manager through boto3, as a function does, and prints what came back as JSON.

The calls are a JSON list in the first argument: [[METHOD, {PARAMETERS}], ...]. METHOD is one of the
client's, or "cached" for AWS's caching library, which answers a text. Where the call goes and who signs
it is for the environment to say, which is all that a function changes to use Sidekey.

Answers: [{"answer": {...}} or {"error": NAME OF THE EXCEPTION, "code": ..., "message": ...}, each with
"attempts", ...]. Bytes come as a list of numbers, dates as milliseconds.
"""

import json
import sys

import boto3
from aws_secretsmanager_caching import SecretCache
from botocore.exceptions import ClientError


def plain(value):
    """Returns a value as JSON can have it."""
    if isinstance(value, bytes):
        return list(value)
    if hasattr(value, "timestamp"):
        return round(value.timestamp() * 1000)
    raise TypeError(type(value).__name__)


def ask(client, method, parameters):
    if method == "cached":
        return SecretCache(client=client).get_secret_string(parameters["SecretId"])
    try:
        answer = getattr(client, method)(**parameters)
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        told = {"error": type(error).__name__, "code": error.response["Error"]["Code"]}
        told["message"] = error.response["Error"]["Message"]
    else:
        metadata = answer.pop("ResponseMetadata")
        told = {"answer": answer}
    return {**told, "attempts": metadata["RetryAttempts"] + 1}


def main():
    client = boto3.client("secretsmanager")
    answers = [ask(client, method, parameters) for method, parameters in json.loads(sys.argv[1])]
    print(json.dumps(answers, default=plain))


if __name__ == "__main__":
    main()
