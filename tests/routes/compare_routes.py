#!/usr/bin/env python3
"""Compares the route manifest with the routes that the installed MLflow serves.

    tracegate routes --json > manifest.json
    python tests/routes/compare_routes.py manifest.json

Run it with the interpreter that MLflow is installed in. Prints what is new upstream (`+`, to be added to
`src/classify/operations.txt`) and what is gone (`-`, to be removed); exit status 1 if there is either.
"""

import json
import re
import subprocess
import sys
from pathlib import Path


def blank(path):
    """Every parameter as `{}`, or `{...}` where it takes several segments."""
    several = r"<path:[^>]*>|\{[^}]*(?::path|\.\.\.)\}"
    return re.sub(r"<[^>]*>|\{(?!\.\.\.)[^}]*\}", "{}", re.sub(several, "{...}", path))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    manifest = {
        f"{route['method']} {blank(route['path'])}"
        for route in json.loads(Path(sys.argv[1]).read_text())
        # MLflow's own users, roles and permissions are answered here, under MLflow's paths.
        if (route["handling"] != "own" or route["operation"].startswith("mlflow_auth.")) and not route["path"].startswith("/api/tracegate/")
    }
    lister = Path(__file__).with_name("installed_routes.py")
    listing = subprocess.run([sys.executable, lister], check=True, capture_output=True, text=True).stdout
    installed = {blank(line) for line in listing.splitlines()}
    new, gone = sorted(installed - manifest), sorted(manifest - installed)
    for route in new:
        print("+", route)
    for route in gone:
        print("-", route)
    print(f"{len(installed)} routes installed, {len(new)} unknown to the manifest, {len(gone)} no longer served")
    sys.exit(bool(new or gone))


main()
