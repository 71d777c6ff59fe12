"""Reads one field of a secret from Sidekey every few seconds, and prints its last four characters."""

import os
import sys
import time
import urllib.parse
import urllib.request

PORT = os.environ.get("SIDEKEY_PORT") or "2773"
HEADERS = {"X-Aws-Parameters-Secrets-Token": os.environ["SIDEKEY_TOKEN"]}
# Call the agent directly, even if the environment configures a proxy.
AGENT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def field(reference, name):
    query = urllib.parse.urlencode({"secretId": reference, "field": name})
    url = f"http://127.0.0.1:{PORT}/secretsmanager/get?{query}"
    with AGENT.open(urllib.request.Request(url, headers=HEADERS), timeout=10) as answer:
        return answer.read().decode()


while True:
    print("python: app/db#password ends in", field("app/db", "password")[-4:])
    if "--once" in sys.argv:
        break
    time.sleep(5)
