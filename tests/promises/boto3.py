"""Calls Secrets Manager with boto3, as a function does, and prints the results as JSON.

The first argument is a JSON list of calls: [[METHOD, {PARAMETERS}], ...]. METHOD is a method of boto3's
client, or "cached" for AWS's caching library, which returns a string. As in a function, environment
variables set the endpoint and the credentials.

Output: [{"answer": {...}} or {"error": EXCEPTION CLASS, "code": ..., "message": ...}, ...], each with
"attempts". Bytes are printed as a list of numbers, dates as milliseconds.
"""

import json
import sys

import boto3
from aws_secretsmanager_caching import SecretCache
from botocore.exceptions import ClientError


def plain(value):
    """Converts bytes and dates to types that JSON has."""
    if isinstance(value, bytes):
        return list(value)
    if hasattr(value, "timestamp"):
        return round(value.timestamp() * 1000)
    raise TypeError(type(value).__name__)


def ask(client, method, parameters):
    if method == "cached":
        cache = SecretCache(client=client)
        return cache.get_secret_string(parameters["SecretId"], parameters.get("VersionStage"))
    try:
        answer = getattr(client, method)(**parameters)
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        result = {"error": type(error).__name__, "code": error.response["Error"]["Code"]}
        result["message"] = error.response["Error"]["Message"]
    else:
        metadata = answer.pop("ResponseMetadata")
        result = {"answer": answer}
    return {**result, "attempts": metadata["RetryAttempts"] + 1}


def main():
    client = boto3.client("secretsmanager")
    answers = [ask(client, method, parameters) for method, parameters in json.loads(sys.argv[1])]
    print(json.dumps(answers, default=plain))


if __name__ == "__main__":
    main()
