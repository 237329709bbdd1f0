"""Asks Tracegate's own API everything that its description allows, and much that it does not, with schemathesis.

    conformance.py [--examples N] [--seed N]

It starts a demo of its own and asks as an administrator, as a reader and as nobody. An answer of 500 or more, one
that the description does not have, and one that is open to nobody although it says otherwise, fail.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
]
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=int(os.environ.get("API_EXAMPLES", "20")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("API_SEED", "1")))
    options = parser.parse_args()
    binary = os.environ.get("TRACEGATE_BIN") or sys.exit("set TRACEGATE_BIN to the program under test")
    failed = []
    for who in ["admin", "bob", None]:
        # A gateway for each: what an administrator's calls change must not decide what the next may do.
        with tempfile.TemporaryDirectory() as directory, Demo(binary, Path(directory)) as demo:
            print(f"--- as {who or 'nobody'}", flush=True)
            if ask(demo, who, options) != 0:
                failed.append(who or "nobody")
            if problem := demo.fault():
                print(problem)
                failed.append(f"the log, after {who or 'nobody'}")
    if failed:
        sys.exit(f"error: not as described for: {', '.join(failed)}")


def ask(demo, who, options):
    command = [
        SCHEMATHESIS, "run", f"{demo.url}/api/tracegate/v1/openapi.json", "--url", demo.url,
        "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
        "--max-examples", str(options.examples), "--seed", str(options.seed),
        "--generation-database", "none", "--suppress-health-check", "all", "--warnings", "off",
        "--request-timeout", "60", "--max-failures", "20", "--continue-on-failure",
    ]
    if who:
        command += ["--header", f"Authorization: Bearer {demo.tokens[who]}"]
        # A token that revokes itself ends the run; tokens have tests of their own.
        command += ["--exclude-operation-id", "tracegate.token.revoke"]
    return subprocess.run([str(part) for part in command], cwd=demo.directory, timeout=1800).returncode


class Demo:
    """A running `tracegate demo` with a store of its own."""

    def __init__(self, binary, directory):
        self.directory = directory
        self.log = directory / "tracegate.log"
        ready = directory / "demo.json"
        command = [binary, "demo", "--port", "0", "--data-dir", str(directory / "data"), "--json", str(ready)]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TRACEGATE_")}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=kept)
        deadline = time.monotonic() + 60
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"error: the demo did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        details = json.loads(ready.read_text())
        self.url, self.tokens = details["url"], details["tokens"]

    def fault(self):
        """What the gateway itself calls its fault."""
        faults = ("panicked", "a call failed inside Tracegate")
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if any(f in line for f in faults)]
        return "\n".join(lines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


if __name__ == "__main__":
    main()
