#!/usr/bin/env python3
"""Stands for Lambda's runtime for Python: hands each event to the function beside it."""

import http.client
import json
import os
import sys

sys.path.insert(0, "/var/task")
from handler import handle  # noqa: E402: found in the folder of the function

INVOCATION = "/2018-06-01/runtime/invocation"


def call(connection, method, path, body=None):
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.headers["Lambda-Runtime-Aws-Request-Id"], answer.read()


def main():
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        request_id, event = call(connection, "GET", INVOCATION + "/next")
        answer = json.dumps(handle(json.loads(event), None))
        call(connection, "POST", f"{INVOCATION}/{request_id}/response", answer)


if __name__ == "__main__":
    main()
