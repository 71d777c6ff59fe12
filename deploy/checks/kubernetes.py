"""Checks that the Kustomize component and the Helm chart create the same sidecar.

Arguments: the file that `kustomize build` wrote, and the file that `helm template` wrote.
"""

import sys
from pathlib import Path

import yaml

from common import fail


def deployment(file):
    objects = [one for one in yaml.safe_load_all(Path(file).read_text()) if one]
    (found,) = [one for one in objects if one["kind"] == "Deployment"]
    config = {
        one["metadata"]["name"]: one.get("data", {}) for one in objects if one["kind"] == "ConfigMap"
    }
    return found["spec"]["template"]["spec"], config


def sidecar(file):
    """Returns what matters of the pod, with all variables of the sidecar in one dictionary."""
    pod, config = deployment(file)
    (container,) = pod["initContainers"]
    variables = {one["name"]: one["value"] for one in container.pop("env")}
    for source in container.pop("envFrom", []):
        variables |= config[source["configMapRef"]["name"]]
    (app,) = pod["containers"]
    shared = {name: app.get(name) for name in ("env", "volumeMounts", "securityContext")}
    rest = {name: pod.get(name) for name in ("enableServiceLinks", "securityContext", "volumes")}
    return {"container": container, "variables": variables, "app": shared, "pod": rest}


kustomize, helm = (sidecar(file) for file in sys.argv[1:])
for part in kustomize:
    if kustomize[part] != helm[part]:
        fail(f"{part} differs:\n  Kustomize: {kustomize[part]}\n  Helm:      {helm[part]}")
if helm["container"]["restartPolicy"] != "Always" or helm["pod"]["enableServiceLinks"] is not False:
    fail("Sidekey must be a sidecar with restartPolicy Always, in a pod without service links")
print("Kustomize and Helm create the same sidecar")
