"""The state that a gateway of the version before left in PostgreSQL: its schema, and data in it.

`previous_state.sql` is a dump of what `tracegate demo` of that version wrote, `previous_state.json` the tokens
that go with it. `TRACEGATE_OLD_BIN` names a binary of that version, which then writes the state itself.
To take a later version as the one before:

    TRACEGATE_BIN=… python tests/soak/previous_state.py
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import requests

HERE = Path(__file__).resolve().parent
DUMP, TOKENS = HERE / "previous_state.sql", HERE / "previous_state.json"
EXPERIMENTS = {"support-bot": "1", "secret-lab": "2"}
# What must be there after the migration as it was before. Not `secrets` alone: without its keys no token is good.
KEPT = ("principals", "memberships", "tokens", "grants", "policy_changes", "trace_claims", "secrets")


def prepare(cluster):
    """Fills PostgreSQL and MLflow. The callers' tokens and the experiments' ids."""
    old = os.environ.get("TRACEGATE_OLD_BIN")
    if old:
        return by_binary(old, cluster.directory / "old", cluster.mlflow.url, cluster.database.details["url"])
    for name, number in EXPERIMENTS.items():
        answer = requests.post(f"{cluster.mlflow.url}/api/2.0/mlflow/experiments/create", json={"name": name}, timeout=30)
        assert answer.json()["experiment_id"] == number, answer.text
    done = subprocess.run(
        [cluster.psql("psql"), cluster.database.details["url"], "-X", "-q", "-v", "ON_ERROR_STOP=1"],
        stdin=DUMP.open(), capture_output=True, text=True, timeout=120, cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(TOKENS.read_text()), EXPERIMENTS


def contents(cluster):
    """The keys of the rows that a migration must leave in place."""
    first = "SELECT column_name FROM information_schema.columns WHERE table_name = '{}' ORDER BY ordinal_position LIMIT 1"
    kept = {}
    for table in KEPT:
        column = cluster.sql(first.format(table))[0][0]
        kept[table] = {row[0] for row in cluster.sql(f"SELECT {column} FROM {table}")}
        assert kept[table], f"the state before holds nothing in {table}"
    return kept


def by_binary(binary, directory, mlflow, database):
    from harness import processes

    current = os.environ.get("TRACEGATE_BIN", "")
    os.environ["TRACEGATE_BIN"] = binary
    try:
        demo = processes.start_demo(directory, mlflow, TRACEGATE__DATABASE__URL=database)
    finally:
        os.environ["TRACEGATE_BIN"] = current
    demo.stop()
    return demo.details["tokens"], {name: str(number) for name, number in demo.details["experiments"].items()}


def main():
    sys.path.insert(0, str(HERE.parent / "clients"))
    from harness import postgres, processes

    with tempfile.TemporaryDirectory(prefix="tracegate-previous-") as directory:
        directory = Path(directory)
        mlflow = processes.start_mlflow(directory / "mlflow")
        database = postgres.start(directory / "postgres")
        try:
            tokens, experiments = by_binary(processes.tracegate_binary(), directory / "demo", mlflow.url, database.details["url"])
            assert experiments == EXPERIMENTS, experiments
            program = postgres._programs() / "pg_dump"
            dump = [program, "--inserts", "--no-owner", "--no-privileges", database.details["url"]]
            written = subprocess.run(dump, check=True, capture_output=True, text=True, cwd="/").stdout.splitlines()
            # Commands of newer psql that an older one does not know.
            DUMP.write_text("".join(f"{line}\n" for line in written if not line.startswith(("\\restrict", "\\unrestrict"))))
            TOKENS.write_text(json.dumps(tokens, indent=1) + "\n")
        finally:
            postgres.stop(database)
            mlflow.stop()


if __name__ == "__main__":
    main()
