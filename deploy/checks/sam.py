"""Checks that each role of the SAM application can read the secrets of its own channel and nothing else.

SAM's own library first translates the template to CloudFormation, so the check sees the roles that AWS would
create.
"""

import json
import os
import tomllib

from common import REPOSITORY, REGION, assert_exact, fail, filled, patterns_of, verify

os.environ.setdefault("AWS_DEFAULT_REGION", REGION)

from cfnlint.decode import cfn_yaml  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402

FOLDER = REPOSITORY / "deploy/sam"
# The managed policies that SAM adds to roles. None of them may allow actions of these services.
MANAGED = ["AWSLambdaBasicExecutionRole", "AWSLambdaSQSQueueExecutionRole"]


class ManagedPolicies:
    """The ARNs of the managed policies that SAM knows by name."""

    def load(self):
        return {name: f"arn:aws:iam::aws:policy/service-role/{name}" for name in MANAGED}


def translated():
    """Returns the CloudFormation template."""
    template = json.loads(json.dumps(cfn_yaml.load(str(FOLDER / "template.yaml"))))
    for resource in template["Resources"].values():
        for key in ("CodeUri", "ContentUri"):
            if key in resource.get("Properties", {}):
                path = FOLDER / resource["Properties"][key]
                if "target/" not in str(path) and not path.is_dir():
                    fail(f"the template names {path}, which is not a folder")
                resource["Properties"][key] = "s3://bucket/key"
    return transform(template, {"Stage": "dev"}, ManagedPolicies())


def policies(role):
    """Returns one policy with all inline statements of a role."""
    managed = [str(filled(arn)).rsplit("/")[-1] for arn in role["Properties"].get("ManagedPolicyArns", [])]
    unknown = [name for name in managed if name not in MANAGED]
    if unknown:
        fail(f"a role has the managed policies {unknown}, which this check does not know")
    inline = role["Properties"].get("Policies", [])
    statements = [statement for one in inline for statement in one["PolicyDocument"]["Statement"]]
    return {"Version": "2012-10-17", "Statement": filled(statements)}


def main():
    resources = translated()["Resources"]
    functions = {
        name: one for name, one in resources.items() if one["Type"] == "AWS::Lambda::Function"
    }
    if len(functions) != 3:
        fail(f"the template has {len(functions)} functions, and not 3")
    patterns = {
        name: patterns_of(one["Properties"]["Environment"]["Variables"]) for name, one in functions.items()
    }
    for name in functions:
        policy = policies(resources[f"{name}Role"])
        assert_exact(name, policy, patterns[name])
        for other in functions:
            if other != name and verify(policy, patterns[other])[0] != 1:
                fail(f"the role of {name} can read the secrets of {other}")
        print(f"{name} can read exactly: {' '.join(patterns[name])}")
    parameters = cfn_yaml.load(str(FOLDER / "template.yaml"))["Parameters"]
    for stage in parameters["Stage"]["AllowedValues"]:
        settings = tomllib.loads((FOLDER / f"stages/{stage}.toml").read_text())["default"]["deploy"]["parameters"]
        overrides = dict(one.split("=", 1) for one in settings["parameter_overrides"])
        unknown = sorted(set(overrides) - set(parameters))
        if unknown or overrides["Stage"] != stage:
            fail(f"stages/{stage}.toml: unknown parameters {unknown}, or another stage")


main()
