"""A function without any knowledge of Sidekey: its handler only reads environment variables.

Event:  {"variables": ["NAME", ...]}
Answer: {"variables": {"NAME": "value" or null}, "arguments": ["..."]}
"""

import http.client
import json
import os
import sys

INVOCATION = "/2018-06-01/runtime/invocation"


def handle(event):
    names = event.get("variables", [])
    return {"variables": {name: os.environ.get(name) for name in names}, "arguments": sys.argv[1:]}


def main():
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        connection.request("GET", INVOCATION + "/next")
        answer = connection.getresponse()
        event, request_id = answer.read(), answer.headers["Lambda-Runtime-Aws-Request-Id"]
        body = json.dumps(handle(json.loads(event or b"{}")))
        connection.request("POST", f"{INVOCATION}/{request_id}/response", body)
        connection.getresponse().read()


if __name__ == "__main__":
    main()
