"""The settings, as docs/CONFIGURATION.md lists them, and the part of the chart's schema that follows from them.

The chart takes exactly the settings of its version, so nobody finds out at the start of a pod that a key was
misspelled. `UPDATE_GOLDEN=1` writes that part of the schema anew; everything else in the file is written by hand.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "helm/tracegate/values.schema.json"

# What must not stand in values: the key, and the value under `secrets` that takes its place.
SECRET_KEYS = {
    ("database", "url"): "database",
    ("mlflow", "password"): "mlflowPassword",
    ("mlflow", "token"): "mlflowToken",
    ("identity.issuers", "client_secret"): "issuers",
    ("identity.issuers", "hs256_secret"): "issuers",
}
TABLES_OF_TABLES = {("identity", "issuers"), ("identity", "federation"), ("identity", "certificates")}

# No control character: a line in TOML stays a line. No user and password in a URL.
TEXT = {"$ref": "#/$defs/text"}
TYPES = {
    "text": TEXT,
    "path": TEXT,
    "number": {"type": "integer", "minimum": 0},
    "`true` or `false`": {"type": "boolean"},
    "list of texts": {"type": "array", "items": TEXT},
    "table of texts": {"type": "object", "patternProperties": {"[\\x00-\\x1f\\x7f]": False}, "additionalProperties": TEXT},
    "`text` or `json`": {"enum": ["text", "json"]},
    "`off` or `reference-platform`": {"enum": ["off", "reference-platform"]},
}
# What a pod needs of a setting, beyond what the program does.
PODS_NEED = {
    # Kubelet asks from outside of the pod, and a Service has a fixed port.
    ("server", "listen"): {"type": "string", "pattern": "^(0\\.0\\.0\\.0|\\[::\\]):[1-9][0-9]{0,4}$"},
    ("server", "health_listen"): {"type": "string", "pattern": "^(0\\.0\\.0\\.0|\\[::\\]):[1-9][0-9]{0,4}$"},
    # A volume is mounted there.
    ("server", "data_dir"): {"type": "string", "pattern": "^(/[A-Za-z0-9._-]+)+$", "not": {"pattern": "(^/(tmp|etc)(/|$)|/\\.\\.?(/|$))"}},
}


@dataclass(frozen=True)
class Key:
    section: str
    name: str
    type: str
    meaning: str

    @property
    def is_secret(self):
        return (self.section, self.name) in SECRET_KEYS


def documented():
    """Every key of every section, in the order of the document."""
    keys, section = [], None
    for line in (ROOT / "docs/CONFIGURATION.md").read_text().splitlines():
        if heading := re.fullmatch(r"## `\[+([a-z._]+)\]+`", line):
            section = heading[1]
        elif section and (row := re.fullmatch(r"\| `([a-z0-9_]+)` \| (.+?) \| (.*?) \| (.*) \|", line)):
            keys.append(Key(section, row[1], row[2], row[4]))
    return keys


def sections():
    """The sections, also those without keys."""
    text = (ROOT / "docs/CONFIGURATION.md").read_text()
    return [name for name in re.findall(r"^## `\[([a-z]+)\]`$", text, re.MULTILINE)]


def section_schema(name):
    properties = {}
    for key in documented():
        if key.section != name or key.is_secret:
            continue
        if (key.section, key.name) in TABLES_OF_TABLES:
            schema = {"type": "array", "items": section_schema(f"{key.section}.{key.name}")}
        else:
            schema = PODS_NEED.get((key.section, key.name)) or TYPES[key.type]
        properties[key.name] = {"description": key.meaning, **schema}
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    if name == "identity.issuers":
        schema["required"] = ["issuer"]
    if name == "server":
        schema["required"] = ["listen", "data_dir", "shutdown_seconds"]
    return schema


def config_schema():
    names = sections()
    return {
        "description": "Settings by section and key; docs/CONFIGURATION.md. Written from there: see tests/helm/config_keys.py.",
        "type": "object",
        "additionalProperties": False,
        "required": names,
        "properties": {name: section_schema(name) for name in names},
    }
