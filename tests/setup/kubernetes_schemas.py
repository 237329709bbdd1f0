"""Writes JSON schemas of the Kubernetes objects that the chart makes, as kubeconform reads them from a directory.

    kubernetes_schemas.py DOWNLOAD OUTPUT

DOWNLOAD has a wheel of kubernetes-validate and archives of @kubernetes-models. The schemas of the wheel refer to a file
of definitions by a URL that nobody serves: each schema gets the definitions that it needs. Those of custom
resources stand as a value in a JavaScript file.
"""

import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path

# The oldest version that the chart takes, and the newest that the wheel knows.
VERSIONS = ["1.30.0", "1.37.0"]
OBJECTS = [
    "statefulset-apps-v1", "service-v1", "serviceaccount-v1", "configmap-v1", "networkpolicy-networking-v1",
    "job-batch-v1", "poddisruptionbudget-policy-v1", "horizontalpodautoscaler-autoscaling-v2", "ingress-networking-v1",
]
CUSTOM = {
    "prometheus-operator": ["monitoring.coreos.com/v1/ServiceMonitor", "monitoring.coreos.com/v1/PrometheusRule"],
    "gateway-api": ["gateway.networking.k8s.io/v1/HTTPRoute"],
}


def references(schema):
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rsplit("/", 1)[-1]
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def local(schema):
    """The same with references to its own definitions."""
    if isinstance(schema, dict):
        return {
            key: f"#/$defs/{value.rsplit('/', 1)[-1]}" if key == "$ref" else local(value)
            for key, value in schema.items()
            if key != "$id"
        }
    return [local(value) for value in schema] if isinstance(schema, list) else schema


def bundle(schema, definitions):
    needed, queue = {}, list(references(schema))
    while queue:
        name = queue.pop()
        if name not in needed:
            needed[name] = definitions[name]
            queue += references(needed[name])
    return local(schema) | {"$defs": {name: local(definition) for name, definition in needed.items()}}


def core(wheel, version):
    """Strict ones: a key that the object has not is an error."""
    place = f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict/"
    definitions = json.loads(wheel.read(place + "_definitions.json"))["$defs"]
    for name in OBJECTS:
        yield name, bundle(json.loads(wheel.read(f"{place}{name}.json")), definitions)


def strict(schema):
    """A custom resource's schema, as strict: the API server drops what it does not name."""
    if isinstance(schema, list):
        return [strict(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    if str(schema.get("$ref", "")).endswith("ObjectMeta#"):
        return {"type": "object"}
    result = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        result["additionalProperties"] = False
    return result


def custom(archive, path):
    with tarfile.open(archive) as files:
        text = files.extractfile(f"package/{path}.js").read().decode()
    begin = re.search(r"^const schema = ", text, re.MULTILINE).end()
    schema, _ = json.JSONDecoder().raw_decode(text, begin)
    return strict(schema)


def main(download, output):
    (wheel,) = Path(download).glob("kubernetes_validate-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        for version in VERSIONS:
            directory = Path(output) / version
            directory.mkdir(parents=True)
            for name, schema in core(opened, version):
                (directory / f"{name}.json").write_text(json.dumps(schema))
    for package, paths in CUSTOM.items():
        (archive,) = Path(download).glob(f"kubernetes-models-{package}-*.tgz")
        for path in paths:
            group, version, kind = path.split("/")
            file = f"{kind.lower()}-{group.split('.')[0]}-{version}.json"
            for directory in VERSIONS:
                (Path(output) / directory / file).write_text(json.dumps(custom(archive, path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
