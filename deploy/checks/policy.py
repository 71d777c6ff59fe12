"""Checks a policy: policy.py FILE PATTERN…  The policy must allow exactly what the patterns match."""

import json
import sys
from pathlib import Path

from common import assert_exact, filled

file, *patterns = sys.argv[1:]
document = json.loads(Path(file).read_text())
if "Resources" in document:  # a CloudFormation template
    (found,) = [
        one["Properties"]["PolicyDocument"]
        for one in document["Resources"].values()
        if one["Type"] == "AWS::IAM::Policy"
    ]
    document = filled(found)
assert_exact(file, document, patterns)
print("the policy allows exactly:", " ".join(patterns))
