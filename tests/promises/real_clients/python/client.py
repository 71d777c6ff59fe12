"""Calls Sidekey with the clients of Python functions: boto3, Powertools, AWS's caching library, and plain
HTTP with urllib. As in a function, environment variables set the address and the token.

The program reads steps from its standard input and prints one line of JSON for each step. See
tests/promises/real_clients.rs.
"""

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import boto3
from aws_lambda_powertools.utilities import parameters
from aws_secretsmanager_caching import SecretCache
from botocore.exceptions import ClientError

SDK = boto3.client("secretsmanager")
SSM = boto3.client("ssm")
CACHE = SecretCache(client=SDK)
EXTENSION = "http://127.0.0.1:" + os.environ["PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"]
HEADERS = {"X-Aws-Parameters-Secrets-Token": os.environ["AWS_SESSION_TOKEN"]}
NAMES = {"versionId": "VersionId", "versionStage": "VersionStage"}


def value(answer):
    if "SecretString" in answer:
        return {"text": answer["SecretString"]}
    return {"base64": base64.b64encode(answer["SecretBinary"]).decode()}


def get(secret_id, **options):
    options = {NAMES[name]: option for name, option in options.items()}
    return value(SDK.get_secret_value(SecretId=secret_id, **options))


def batch(ids):
    answer = SDK.batch_get_secret_value(SecretIdList=ids.split(","))
    errors = [[error["SecretId"], error["ErrorCode"]] for error in answer["Errors"]]
    return {"values": [value(entry) for entry in answer["SecretValues"]], "errors": errors}


def put(secret_id):
    return SDK.put_secret_value(SecretId=secret_id, SecretString="new")


def parameter(answer):
    return {
        "arn": answer["ARN"],
        "name": answer["Name"],
        "type": answer["Type"],
        "value": answer["Value"],
        "version": answer["Version"],
        "selector": answer.get("Selector", ""),
        "date": round(answer["LastModifiedDate"].timestamp() * 1000),
    }


def get_parameter(name, decrypt="true"):
    answer = SSM.get_parameter(Name=name, WithDecryption=decrypt == "true")
    return parameter(answer["Parameter"])


def get_parameters(names):
    answer = SSM.get_parameters(Names=names.split(","), WithDecryption=True)
    values = [parameter(entry) for entry in answer["Parameters"]]
    return {"values": values, "invalid": answer["InvalidParameters"]}


def list_path(path, recursive):
    pages = SSM.get_paginator("get_parameters_by_path").paginate(
        Path=path, Recursive=recursive == "true", WithDecryption=True
    )
    return {"values": [parameter(entry) for page in pages for entry in page["Parameters"]]}


def put_parameter(name):
    return SSM.put_parameter(Name=name, Value="new", Overwrite=True)


def by_name(names):
    """Reads parameters with Powertools. The names of SecureString parameters end in `password`."""
    options = {
        name: {"decrypt": name.endswith("password"), "transform": "auto"} for name in names.split(",")
    }
    return {"values": parameters.get_parameters_by_name(options, raise_on_error=False)}


def fetched(path):
    request = urllib.request.Request(EXTENSION + path, headers=HEADERS)
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as refused:
        answer = refused
    with answer:
        kind = answer.headers["Content-Type"]
        return {"status": answer.status, "type": kind, "body": answer.read().decode()}


def repeated(ask, target, times, at_once):
    with ThreadPoolExecutor(at_once) as threads:
        answers = list(threads.map(ask, [target] * int(times)))
    values = {answer.get("text") or answer.get("value") or answer["body"] for answer in answers}
    return {"distinct": sorted(values)}


ACTS = {
    "sdk get": get,
    "sdk batch": batch,
    "sdk put": put,
    "sdk many": lambda target, times: repeated(get, target, times, 32),
    "ssm get": get_parameter,
    "ssm all": get_parameters,
    "ssm path": list_path,
    "ssm put": put_parameter,
    "ssm many": lambda target, times: repeated(get_parameter, target, times, 32),
    "http get": fetched,
    "http kept": lambda target, times: repeated(fetched, target, times, 1),
    "http many": lambda target, times: repeated(fetched, target, times, 32),
    "powertools get": lambda target: {"text": parameters.get_secret(target)},
    "powertools parameter": lambda name, **options: {
        "value": parameters.get_parameter(name, decrypt=True, **options)
    },
    "powertools path": lambda path: {"values": parameters.get_parameters(path, decrypt=True)},
    "powertools named": by_name,
    "caching get": lambda target: {"text": CACHE.get_secret_string(target)},
}


def step(line):
    client, act, target, *options = line.split(" ")
    try:
        return ACTS[f"{client} {act}"](target, **dict(option.split("=") for option in options))
    except ClientError as error:
        details = error.response["Error"]
        return {"error": type(error).__name__, "code": details["Code"], "message": details["Message"]}
    except parameters.exceptions.GetParameterError as error:
        return {"error": type(error).__name__, "message": str(error)}


def main():
    for line in sys.stdin:
        print(json.dumps(step(line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    main()
