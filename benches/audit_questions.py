"""Runs the benchmark of audit questions on SQLite, then on a PostgreSQL server of its own.

`make bench-audit` runs it; `--events N` makes it smaller. What it fills it removes again.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "clients"))

from harness import postgres  # noqa: E402


def bench(*arguments):
    command = ["cargo", "bench", "--bench", "audit_questions", "--", *map(str, arguments)]
    subprocess.run(command, cwd=ROOT, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--directory", default=os.environ.get("TMPDIR"), help="where the databases are put; 30 GB for 10,000,000 records")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="audit-questions-", dir=arguments.directory))
    directory.chmod(0o755)
    try:
        if arguments.only != "postgres":
            bench("--events", arguments.events, "--directory", directory)
        if arguments.only != "sqlite":
            server = postgres.start(directory / "postgres")
            try:
                bench("--events", arguments.events, "--postgres", server.details["url"])
                size = subprocess.run(
                    ["du", "-sb", directory / "postgres" / "data" / "base"], check=True, capture_output=True, text=True
                )
                print(f"{int(size.stdout.split()[0]) // arguments.events} bytes on disk a record")
            finally:
                server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
