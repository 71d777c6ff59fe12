"""Checks objects against a CustomResourceDefinition: crd.py DEFINITION FILE…

Like the API server with strict validation, the check refuses fields that the definition does not have.
"""

import sys
from pathlib import Path

import jsonschema
import yaml

from common import fail


def strict(schema):
    """Returns the schema, in which objects with known properties have no other properties."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    result = {name: strict(one) for name, one in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        result.setdefault("additionalProperties", False)
    return result


definition = yaml.safe_load(Path(sys.argv[1]).read_text())["spec"]
checked = 0
for file in sys.argv[2:]:
    for one in yaml.safe_load_all(Path(file).read_text()):
        if not one or one["kind"] != definition["names"]["kind"]:
            continue
        version = one["apiVersion"].rsplit("/")[-1]
        (schema,) = [v["schema"]["openAPIV3Schema"] for v in definition["versions"] if v["name"] == version]
        schema = strict(schema)
        schema["properties"]["metadata"] = {"type": "object"}
        jsonschema.validate(one, schema)
        checked += 1
if not checked:
    fail("found no object to check")
print(f"{checked} objects of kind {definition['names']['kind']} are valid")
