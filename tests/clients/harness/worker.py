"""A client process: runs scenarios as one caller, with the SDK as it comes from PyPI.

Started with the caller's settings in its environment (`MLFLOW_TRACKING_URI` and so on) and the
name of a scenario module; then one JSON request a line in, one JSON answer a line out. What the
SDK logs goes to standard error, which the parent keeps in a file.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path


def describe(error):
    return {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "error_code": getattr(error, "error_code", None),
        "message": str(error),
        "traceback": traceback.format_exc(),
    }


def main():
    # Nothing that a library prints may get between our answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    scenarios = importlib.import_module(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            value = getattr(scenarios, request["scenario"])(**request["arguments"])
            answer = {"value": value}
        except Exception as error:  # noqa: BLE001 - the parent judges it
            answer = {"error": describe(error)}
        sys.stderr.flush()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
