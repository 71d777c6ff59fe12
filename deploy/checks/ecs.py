"""Checks that the task role can read exactly the allowed secrets, and that the token is in both containers."""

import json

from cfnlint.decode import cfn_yaml

from common import REPOSITORY, assert_exact, fail, filled, patterns_of

template = json.loads(json.dumps(cfn_yaml.load(str(REPOSITORY / "deploy/ecs/template.yaml"))))
resources = template["Resources"]
containers = resources["Task"]["Properties"]["ContainerDefinitions"]
sidekey, app = containers
variables = {one["Name"]: one["Value"] for one in sidekey["Environment"]}
(policy,) = resources["TaskRole"]["Properties"]["Policies"]
assert_exact("the task role", filled(policy["PolicyDocument"]), patterns_of(variables))
if sidekey["Secrets"] != app["Secrets"]:
    fail("Sidekey and the program have different tokens")
print("TaskRole can read exactly:", variables["SIDEKEY_ALLOW"])
