#!/usr/bin/env python3
"""A minimal version of Lambda's Python runtime, which calls `handler.handle`."""

import http.client
import json
import os

import handler

INVOCATION = "/2018-06-01/runtime/invocation"


def main():
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", INVOCATION + "/next")
        answer = api.getresponse()
        event, request_id = json.load(answer), answer.headers["Lambda-Runtime-Aws-Request-Id"]
        response = json.dumps(handler.handle(event, None))
        api.request("POST", f"{INVOCATION}/{request_id}/response", response)
        api.getresponse().read()


main()
