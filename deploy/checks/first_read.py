"""Calls the function of the examples for the CDK and Terraform with event.json, as `aws lambda invoke` does.

The function runs in this process, and reads from `sidekey dev`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import REPOSITORY, SIDEKEY, fail, free_port

SECRETS = """\
"openai-api-key/whatsapp" = { ai_api_key = "development-only" }
"whatsapp-credentials/acme/support/twilio" = { twilio_account_sid = "AC1", twilio_auth_token = "development-only" }
"""

with tempfile.TemporaryDirectory() as temporary:
    secrets = Path(temporary) / "secrets.toml"
    secrets.write_text(SECRETS)
    own = {"SIDEKEY_PORT": free_port(), "SIDEKEY_TOKEN": "development-only-token", "XDG_RUNTIME_DIR": temporary}
    dev = [SIDEKEY, "dev", "--secrets", secrets, "--no-page"]
    agent = subprocess.Popen(dev, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while subprocess.run([SIDEKEY, "ping", "--ready"], env=own, capture_output=True).returncode != 0:
            if agent.poll() is not None or time.monotonic() > deadline:
                fail("`sidekey dev` does not become ready")
        os.environ |= {"SIDEKEY_PORT": own["SIDEKEY_PORT"], "AWS_SESSION_TOKEN": own["SIDEKEY_TOKEN"]}
        sys.path.insert(0, str(REPOSITORY / "examples/python"))
        import handler

        answer = handler.handle(json.loads((REPOSITORY / "deploy/event.json").read_text()), None)
    finally:
        agent.terminate()
        agent.wait()
expected = {"messageId": "1", "account": "AC1", "token_ends": "only", "ai_key_ends": "only"}
if answer != {"batchItemFailures": [], "sent": [expected]}:
    fail(f"the function answers {answer}")
print("the function reads the secrets that deploy/event.json names")
