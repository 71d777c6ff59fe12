"""Checks that the Helm chart refuses wrong values. The argument is the path of `helm`."""

import subprocess
import sys

from common import REPOSITORY, fail

CHART = REPOSITORY / "deploy/kubernetes/chart"
WRONG = {
    "no image": ["sidekey.image="],
    "no secret and no pattern": ["sidekey.secrets=null", "sidekey.allow=null"],
    "a pattern with two stars": ["sidekey.allow={app/**}"],
    "two names in one item": ["sidekey.secrets={app/a app/b}"],
    "a setting that is not of Sidekey": ["sidekey.settings.PATH=x"],
    "a token in the values": ["sidekey.settings.SIDEKEY_TOKEN=x"],
    "an unknown value": ["sidekey.secret={app/a}"],
    "a negative number of pods": ["app.replicas=-1"],
}


def render(settings):
    command = [sys.argv[1], "template", "app", CHART, "--kube-version", "1.34"]
    command += ["--values", CHART / "example.yaml"]
    for setting in settings:
        command += ["--set", setting]
    return subprocess.run(command, capture_output=True, text=True)


for what, settings in WRONG.items():
    done = render(settings)
    if done.returncode == 0 or "schema" not in done.stderr:
        fail(f"the chart accepts {what}: {' '.join(settings)}\n{done.stderr}")
if render(["sidekey.settings.SIDEKEY_TTL=10m", "podMonitor.enabled=false"]).returncode != 0:
    fail("the chart refuses valid values")
print(f"the chart refuses {len(WRONG)} kinds of wrong values")
