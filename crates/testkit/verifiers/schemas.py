"""Lays schemas of Kubernetes out as `kubeconform` looks for them.

Usage: schemas.py INTO VERSION [CUSTOM_RESOURCE_DEFINITIONS.yaml ...]

Those of Kubernetes itself are in the package `kubernetes-validate`, for the program of that name;
those of other kinds are in their definitions. A property that is in no schema is refused, as a
strict API server does.
"""

import json
import pathlib
import sys

import kubernetes_validate
import yaml


def kubernetes(into, version):
    package = pathlib.Path(kubernetes_validate.__file__).parent
    source = package / "kubernetes-json-schema" / f"v{version}-local-strict"
    target = into / f"v{version}-standalone-strict"
    target.mkdir(parents=True)
    for file in source.glob("*.json"):
        schema = json.loads(file.read_text().replace('"/api/_definitions.json', '"_definitions.json'))
        # A name that says where it is on the network would be looked for there.
        schema.pop("$id", None)
        (target / file.name).write_text(json.dumps(schema))


def strict(schema):
    """The same schema, as a program reads it that knows nothing of Kubernetes."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"oneOf": [{"type": "string"}, {"type": "integer"}]}
    closed = {
        key: named(value) if key == "properties" else strict(value)
        for key, value in schema.items()
        # A default may be of any form; a format is one of Go's.
        if key not in ("default", "example", "format")
    }
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and schema.get("type") == "object" and not is_open:
        closed["additionalProperties"] = False
    return closed


def named(properties):
    return {name: strict(one) for name, one in properties.items()}


def custom(into, file):
    with open(file) as text:
        definitions = [one for one in yaml.safe_load_all(text) if one]
    for definition in definitions:
        spec = definition["spec"]
        directory = into / spec["group"]
        directory.mkdir(exist_ok=True)
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            name = f"{spec['names']['kind'].lower()}_{version['name']}.json"
            (directory / name).write_text(json.dumps(schema))


def main():
    into = pathlib.Path(sys.argv[1])
    kubernetes(into, sys.argv[2])
    for file in sys.argv[3:]:
        custom(into, file)


main()
