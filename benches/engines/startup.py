"""How long a start takes with a large policy: the program's own steps, and a real gateway until it is ready.

Part of `make bench-policy`. SQLite and a PostgreSQL of its own are filled with the world of the other measurements.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "clients"))

from harness import postgres, processes  # noqa: E402
from harness.replicas import Upstream  # noqa: E402


def until_ready(directory, upstream, **environment):
    """From the start of the process to the first 200 of `/readyz`, in seconds."""
    begun = time.monotonic()
    server = processes.start_serve(directory, upstream, **environment)
    try:
        processes.wait_until(lambda: processes.answers(server.url + "/readyz"), 60, "ready", server.alive)
        return time.monotonic() - begun, server.memory_kib() / 1024
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("startup", help="the built program `startup`")
    parser.add_argument("--grants", type=int, default=1_000_000)
    arguments = parser.parse_args()
    # Being ended must not leave servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    upstream = Upstream()
    with tempfile.TemporaryDirectory(prefix="tracegate-startup-") as directory:
        database = postgres.start(Path(directory) / "postgres")
        try:
            for name, url in (("sqlite", None), ("postgres", database.details["url"])):
                place = Path(directory) / name
                state = place / "data"
                state.mkdir(parents=True)
                command = [arguments.startup, "--data-dir", state, "--grants", str(arguments.grants)]
                subprocess.run([*map(str, command), *(["--url", url] if url else [])], check=True)
                environment = {"TRACEGATE__DATABASE__URL": url} if url else {}
                turns = sorted(until_ready(place, upstream.url, **environment) for _ in range(3))
                seconds, mebibytes = turns[1]
                print(f"{name:10} gateway started and ready: {seconds:.2f} s, {mebibytes:.0f} MiB resident", flush=True)
                shutil.rmtree(place)
        finally:
            postgres.stop(database)
            upstream.stop()


if __name__ == "__main__":
    main()
