"""Calls Sidekey with the clients of shell scripts: the AWS CLI, and plain HTTP with curl. Environment
variables set the address and the token. This program starts both clients and reads their output.

The program reads steps from its standard input and prints one line of JSON for each step. See
tests/promises/real_clients.rs.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

AWS = str(pathlib.Path(sys.executable).with_name("aws"))
EXTENSION = "http://127.0.0.1:" + os.environ["PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"]
HEADER = "X-Aws-Parameters-Secrets-Token: " + os.environ["AWS_SESSION_TOKEN"]
NAMES = {"versionId": "--version-id", "versionStage": "--version-stage"}
ERROR = re.compile(r"An error occurred \((\w+)\) when calling the \w+ operation(?: \([^)]*\))?: (.*)")


class Refused(Exception):
    """The AWS CLI failed, with this exit code and error text."""


def aws(service, *arguments):
    ran = subprocess.run([AWS, service, *arguments], capture_output=True, text=True)
    if ran.returncode != 0:
        raise Refused(ran.returncode, ran.stderr)
    return json.loads(ran.stdout)


def curl(path, times=1, *arguments):
    """Requests a path `times` times. Returns all bodies, and the last response's status and type."""
    with tempfile.TemporaryDirectory() as folder:
        files = [pathlib.Path(folder, str(number)) for number in range(times)]
        urls = [word for file in files for word in ("-o", str(file), EXTENSION + path)]
        format_options = ["-w", "%{http_code} %{content_type}\n", *arguments]
        command = ["curl", "--silent", "--show-error", "-H", HEADER, *format_options, *urls]
        ran = subprocess.run(command, capture_output=True, check=True, text=True)
        return [file.read_text() for file in files], ran.stdout.splitlines()[-1].split(" ", 1)


def value(answer):
    if "SecretString" in answer:
        return {"text": answer["SecretString"]}
    return {"base64": answer["SecretBinary"]}


def get(secret_id, **options):
    options = [word for name, option in options.items() for word in (NAMES[name], option)]
    return value(aws("secretsmanager", "get-secret-value", "--secret-id", secret_id, *options))


def batch(ids):
    answer = aws("secretsmanager", "batch-get-secret-value", "--secret-id-list", *ids.split(","))
    errors = [[error["SecretId"], error["ErrorCode"]] for error in answer["Errors"]]
    return {"values": [value(entry) for entry in answer["SecretValues"]], "errors": errors}


def put(secret_id):
    return aws("secretsmanager", "put-secret-value", "--secret-id", secret_id, "--secret-string", "new")


def parameter(answer):
    return {
        "arn": answer["ARN"],
        "name": answer["Name"],
        "type": answer["Type"],
        "value": answer["Value"],
        "version": answer["Version"],
        "selector": answer.get("Selector", ""),
        "date": round(answer["LastModifiedDate"] * 1000),
    }


def get_parameter(name, decrypt="true"):
    option = "--with-decryption" if decrypt == "true" else "--no-with-decryption"
    return parameter(aws("ssm", "get-parameter", "--name", name, option)["Parameter"])


def get_parameters(names):
    answer = aws("ssm", "get-parameters", "--with-decryption", "--names", *names.split(","))
    values = [parameter(entry) for entry in answer["Parameters"]]
    return {"values": values, "invalid": answer["InvalidParameters"]}


def list_path(path, recursive):
    option = "--recursive" if recursive == "true" else "--no-recursive"
    answer = aws("ssm", "get-parameters-by-path", "--with-decryption", "--path", path, option)
    return {"values": [parameter(entry) for entry in answer["Parameters"]]}


def put_parameter(name):
    return aws("ssm", "put-parameter", "--overwrite", "--name", name, "--value", "new")


def fetched(path):
    (body,), (status, kind) = curl(path)
    return {"status": int(status), "type": kind, "body": body}


def repeated(path, times, *arguments):
    bodies, _ = curl(path, int(times), *arguments)
    return {"distinct": sorted(set(bodies))}


def commands(ask, target, times):
    answers = [ask(target) for _ in range(int(times))]
    return {"distinct": sorted({answer.get("text") or answer["value"] for answer in answers})}


ACTS = {
    "sdk get": get,
    "sdk batch": batch,
    "sdk put": put,
    "sdk many": lambda target, times: commands(get, target, times),
    "ssm get": get_parameter,
    "ssm all": get_parameters,
    "ssm path": list_path,
    "ssm put": put_parameter,
    "ssm many": lambda target, times: commands(get_parameter, target, times),
    "http get": fetched,
    "http kept": repeated,
    "http many": lambda path, times: repeated(path, times, "--parallel"),
}


def step(line):
    client, act, target, *options = line.split(" ")
    try:
        return ACTS[f"{client} {act}"](target, **dict(option.split("=") for option in options))
    except Refused as refused:
        status, complaint = refused.args
        code, message = ERROR.search(complaint).groups()
        return {"error": f"exit code {status}", "code": code, "message": message}


def main():
    for line in sys.stdin:
        print(json.dumps(step(line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    main()
