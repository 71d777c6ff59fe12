"""A function without any knowledge of Sidekey: its handler only reads environment variables, and calls
a service at OPENAI_BASE_URL with OPENAI_API_KEY.

Event:  {"variables": ["NAME", ...], "call": "/PATH" or absent}
Answer: {"variables": {"NAME": "value" or null}, "arguments": ["..."], "answer": "text" or absent}
"""

import http.client
import json
import os
import sys
import urllib.request

INVOCATION = "/2018-06-01/runtime/invocation"


def handle(event):
    names = event.get("variables", [])
    answer = {"variables": {name: os.environ.get(name) for name in names}, "arguments": sys.argv[1:]}
    if "call" in event:
        answer["answer"] = call(os.environ["OPENAI_BASE_URL"] + event["call"])
    return answer


def call(url):
    request = urllib.request.Request(url)
    request.add_header("Authorization", "Bearer " + os.environ["OPENAI_API_KEY"])
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.read().decode()


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
