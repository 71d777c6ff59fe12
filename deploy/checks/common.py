"""Functions that several checks use."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SIDEKEY = os.environ["SIDEKEY"]
ACCOUNT, REGION = "123456789012", "eu-north-1"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}


def fail(message):
    """Ends the check with a message."""
    sys.exit(f"error: {message}")


def verify(policy, patterns):
    """Runs `sidekey policy --verify`. Returns its exit code and its output: 0 means an exact policy."""
    command = [SIDEKEY, "policy", "--verify", "-", *patterns, "--account", ACCOUNT, "--region", REGION]
    done = subprocess.run(command, input=json.dumps(policy), capture_output=True, text=True, env={})
    return done.returncode, done.stdout + done.stderr


def assert_exact(what, policy, patterns):
    """Fails unless the policy allows exactly the secrets that the patterns match."""
    code, output = verify(policy, patterns)
    if code != 0:
        fail(f"the policy of {what} does not allow exactly {' '.join(patterns)}:\n{output}")


def filled(value):
    """Replaces `Fn::Sub` and `Ref` of pseudo parameters in a CloudFormation template by their values."""
    if isinstance(value, list):
        return [filled(one) for one in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["Fn::Sub"]:
        text = value["Fn::Sub"]
        for name, parameter in PSEUDO_PARAMETERS.items():
            text = text.replace(f"${{{name}}}", parameter)
        return text
    if list(value) == ["Ref"] and value["Ref"] in PSEUDO_PARAMETERS:
        return PSEUDO_PARAMETERS[value["Ref"]]
    if list(value) == ["Fn::Join"]:
        separator, parts = value["Fn::Join"]
        parts = filled(parts)
        if all(isinstance(part, str) for part in parts):
            return separator.join(parts)
    return {name: filled(one) for name, one in value.items()}


def patterns_of(variables):
    """Returns the patterns of SIDEKEY_ALLOW."""
    return variables["SIDEKEY_ALLOW"].replace(",", " ").split()


def free_port():
    """Returns a free port of 127.0.0.1, as text."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])
