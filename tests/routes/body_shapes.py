#!/usr/bin/env python3
"""Prints src/classify/bodies.txt from the protobuf messages of an installed MLflow.

Run it with the interpreter that MLflow is installed in, after adding an operation with a JSON body:

    python tests/routes/body_shapes.py > src/classify/bodies.txt
"""

import importlib
import pkgutil
import re
import sys
from pathlib import Path

import mlflow.protos
from google.protobuf.descriptor import FieldDescriptor as Field
from mlflow.protos import databricks_pb2

MANIFEST = Path(__file__).parents[2] / "src" / "classify" / "operations.txt"

SCALARS = {
    Field.TYPE_STRING: "s",
    Field.TYPE_BOOL: "b",
    Field.TYPE_INT32: "i32",
    Field.TYPE_INT64: "i64",
    Field.TYPE_UINT32: "u32",
    Field.TYPE_UINT64: "u64",
    Field.TYPE_DOUBLE: "d",
    Field.TYPE_FLOAT: "d",
}
WELL_KNOWN = {
    "google.protobuf.Value": "value",
    "google.protobuf.Timestamp": "time",
    "google.protobuf.Duration": "duration",
    "google.protobuf.FieldMask": "mask",
}


def shape(message):
    return "{" + " ".join(field_shape(field) for field in message.fields) + "}"


def repeated(field):
    return getattr(field, "is_repeated", None) or getattr(field, "label", None) == Field.LABEL_REPEATED


def field_shape(field):
    many = "[]" if repeated(field) else ""
    if field.type == Field.TYPE_MESSAGE:
        message = field.message_type
        if message.GetOptions().map_entry:
            return f"{field.name}:map"
        if message.full_name in WELL_KNOWN:
            return f"{field.name}{many}:{WELL_KNOWN[message.full_name]}"
        if not message.full_name.startswith("mlflow."):
            # Read by no handler: must be absent, so that it cannot break the reading of the rest.
            return f"{field.name}{many}:absent"
        return f"{field.name}{many}{shape(message)}"
    if field.type == Field.TYPE_ENUM:
        numbers = sorted(value.number for value in field.enum_type.values)
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), field.full_name
        return f"{field.name}{many}:e{numbers[0]}-{numbers[-1]}"
    return f"{field.name}{many}:{SCALARS.get(field.type, 'absent')}"


def blank(path):
    """A path with every parameter as `{}`, whichever way it is spelled."""
    return re.sub(r"\{[^}]*\}|<[^>]*>", "{}", path)


def messages():
    """(method, path without prefix and version) → messages of that endpoint, by version."""
    found = {}
    for module in pkgutil.iter_modules(mlflow.protos.__path__):
        if not module.name.endswith("_pb2") or "databricks" in module.name or "unity" in module.name:
            continue
        try:
            descriptor = importlib.import_module(f"mlflow.protos.{module.name}").DESCRIPTOR
        except ImportError:
            continue
        for service in descriptor.services_by_name.values():
            for method in service.methods:
                for endpoint in method.GetOptions().Extensions[databricks_pb2.rpc].endpoints:
                    key = (endpoint.method, f"{endpoint.since.major}.0{blank(endpoint.path)}")
                    found[key] = method.input_type
    return found


def main():
    known = messages()
    print("# What MLflow's protobuf parser accepts in each JSON body, made by tests/routes/body_shapes.py.")
    print("# `-`: the handler reads plain JSON. Why this matters: docs/OPERATIONS.md, \"Half-read bodies\".")
    for line in MANIFEST.read_text().splitlines():
        columns = [column.strip() for column in line.split("|")]
        if line.startswith("#") or len(columns) < 6 or "json" not in columns[5].split():
            continue
        path = re.sub(r"^(~|/api|/ajax-api)/", "", blank(columns[1]))
        found = {known.get((method, path)) for method in columns[0].split(",")} - {None}
        if len(found) > 1:
            sys.exit(f"{columns[2]}: several messages")
        print(f"{columns[2]} = {shape(found.pop()) if found else '-'}")


main()
