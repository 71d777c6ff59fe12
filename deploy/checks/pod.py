"""Runs the sidecar and a program as the pod of the Helm chart would, without containers.

The argument is the file that `helm template` wrote. The sidecar has the variables and the user of the pod, and
reads from a fake of AWS. The program then reads a secret with the token in the shared volume. Needs root, to
change the user.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from common import SIDEKEY, fail, free_port

(pod,) = [
    one["spec"]["template"]["spec"]
    for one in yaml.safe_load_all(Path(sys.argv[1]).read_text())
    if one and one["kind"] == "Deployment"
]
(sidecar,), (app,) = pod["initContainers"], pod["containers"]
user = pod["securityContext"]["runAsUser"]
(mount,) = [one["mountPath"] for one in sidecar["volumeMounts"]]
if os.geteuid() != 0:
    print("skipped: the pod is not run: only root can change the user")
    sys.exit(os.environ.get("CI") == "true")


def variables(container, folder, port):
    own = {one["name"]: one["value"] for one in container["env"]}
    own = {name: value.replace(mount, folder).replace("2773", port) for name, value in own.items()}
    return own | {"SIDEKEY_PORT": port}


def as_user(command, env, **options):
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *command]
    return subprocess.Popen(command, env={"PATH": os.environ["PATH"]} | env, text=True, **options)


running = []
with tempfile.TemporaryDirectory() as temporary:
    volume = Path(temporary) / "volume"
    volume.mkdir()
    # Like a volume of type emptyDir with `fsGroup`.
    os.chown(volume, 0, pod["securityContext"]["fsGroup"])
    volume.chmod(0o2777)
    Path(temporary).chmod(0o755)
    # Users other than root may have no access to the folder of the binary.
    binary = Path(temporary) / "sidekey"
    binary.write_bytes(Path(SIDEKEY).read_bytes())
    binary.chmod(0o755)
    secrets = Path(temporary) / "secrets.toml"
    secrets.write_text('"openai-api-key/whatsapp" = { ai_api_key = "development-only" }\n')
    try:
        fake = as_user(
            [binary, "dev", "--secrets", secrets, "--port", "0"], {"HOME": str(volume)}, stdout=subprocess.PIPE
        )
        running.append(fake)
        url = re.search(r"http://[0-9.:]+", fake.stdout.readline())[0]
        port = free_port()
        own = variables(sidecar, str(volume), port)
        own |= {"SIDEKEY_ENDPOINT": url, "AWS_REGION": "eu-north-1", "AWS_ACCESS_KEY_ID": "any"}
        own |= {"AWS_SECRET_ACCESS_KEY": "any", "SIDEKEY_METRICS_LISTEN": "127.0.0.1:0"}
        running.append(as_user([binary, "serve"], own, stderr=subprocess.DEVNULL))
        deadline = time.monotonic() + 30
        while as_user([binary, "ping", "--ready"], own, stderr=subprocess.DEVNULL).wait() != 0:
            if time.monotonic() > deadline:
                fail("the sidecar does not become ready")
        get = [binary, "get", "--agent", "openai-api-key/whatsapp#ai_api_key"]
        # The program, and `kubectl exec --container sidekey`.
        for name, env in (("the program", variables(app, str(volume), port)), ("the sidecar", own)):
            read = as_user(get, env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            value, error = read.communicate(timeout=30)
            if value != "development-only":
                fail(f"{name} cannot read the secret: {error}")
        print(f"the program reads a secret with the token of the sidecar, both as user {user}")
    finally:
        for process in running:
            process.terminate()
            process.wait()
