"""Runs the commands in the section "Laptop" of deploy/README.md, with a free port and a built binary."""

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from common import REPOSITORY, SIDEKEY, fail, free_port

page = (REPOSITORY / "deploy/README.md").read_text()
_, section = page.split("\n## Laptop\n")
dev, get = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)

with tempfile.TemporaryDirectory() as temporary:
    # Stands for `cargo run --`, which would build the binary first.
    cargo = Path(temporary) / "cargo"
    cargo.write_text(f'#!/bin/sh\nshift 2\nexec "{SIDEKEY}" "$@"\n')
    cargo.chmod(0o755)
    own = {"PATH": f"{temporary}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": temporary, "SIDEKEY_PORT": free_port()}
    agent = subprocess.Popen(["sh", "-c", f"exec {dev}"], env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while subprocess.run([SIDEKEY, "ping", "--ready"], env=own, capture_output=True).returncode != 0:
            if agent.poll() is not None or time.monotonic() > deadline:
                fail(f"`{dev.strip()}` does not become ready")
        read = subprocess.run(["sh", "-ec", get], env=own, capture_output=True, text=True, timeout=30)
    finally:
        agent.terminate()
        agent.wait()
if read.returncode != 0 or "ai_api_key" not in read.stdout:
    fail(f"`{get.strip()}` prints no secret: {read.stderr}")
print("the commands for a laptop read a secret")
