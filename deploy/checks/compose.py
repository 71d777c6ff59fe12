"""Runs the services of compose.yaml without containers, and changes a secret while they run.

The argument is Compose's JSON schema. The paths of containers are replaced by those of the mounted files, and
the ports by a free port.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jsonschema
import yaml

from common import REPOSITORY, SIDEKEY, fail, free_port

FOLDER = REPOSITORY / "deploy"
text = (FOLDER / "compose.yaml").read_text()
compose = yaml.safe_load(text)
jsonschema.validate(compose, json.loads(Path(sys.argv[1]).read_text()))


def local(service, mounts):
    """Returns the command of a service, with the paths of this machine."""
    return [mounts.get(part, part) for part in service["command"]]


with tempfile.TemporaryDirectory() as temporary:
    services = compose["services"]
    secrets = Path(temporary) / "secrets.toml"
    shutil.copy(FOLDER / "compose/secrets.toml", secrets)
    mounts = {}
    for service in services.values():
        for volume in service["volumes"]:
            source, target, _ = volume.split(":")
            mounts[target] = str(secrets if target.endswith("secrets.toml") else FOLDER / source)
    own = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": temporary, "SIDEKEY_PORT": free_port(), "SIDEKEY_TTL": "1s"}
    sidekey = services.pop("sidekey")
    agent = subprocess.Popen(
        [SIDEKEY, *local(sidekey, mounts)], env=own | sidekey["environment"], stdout=subprocess.DEVNULL
    )
    try:
        probe = [SIDEKEY, *sidekey["healthcheck"]["test"][2:]]
        deadline = time.monotonic() + 30
        while subprocess.run(probe, env=own, capture_output=True).returncode != 0:
            if agent.poll() is not None or time.monotonic() > deadline:
                fail("the service sidekey does not become healthy")

        def run(name):
            service = services[name]
            command = [*local(service, mounts), "--once"]
            done = subprocess.run(command, env=own | service["environment"], capture_output=True, text=True, timeout=30)
            if done.returncode != 0:
                fail(f"the service {name} failed: {done.stderr}")
            return done.stdout.strip()

        expected = {"python": "python: app/db#password ends in only", "node": "node: /app/url is https://example.com"}
        if sorted(expected) != sorted(services):
            fail(f"compose.yaml has other programs: {sorted(services)}")
        for name, line in expected.items():
            printed = run(name)
            if printed != line:
                fail(f"the service {name} printed {printed!r}, and not {line!r}")
            print(printed)
        secrets.write_text(re.sub('"development-only"', '"rotated"', secrets.read_text()))
        deadline = time.monotonic() + 30
        while not run("python").endswith("ated"):
            if time.monotonic() > deadline:
                fail("the service python still reads the old value")
        print("the program in Python reads the changed value")
    finally:
        agent.terminate()
        agent.wait()
