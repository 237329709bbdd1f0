"""An MLflow server that was in use before Tracegate: what it held is adopted, and nobody can take any of it.

`ADOPT_EXPERIMENTS` and `ADOPT_TRACES` (in all) make it larger; with 1,000 and 50,000 it says how long it took.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import time

import pytest

from harness import processes, wire

pytestmark = pytest.mark.gate

EXPERIMENTS = int(os.environ.get("ADOPT_EXPERIMENTS", "30"))
TRACES = int(os.environ.get("ADOPT_TRACES", "1800"))
# Who wrote: carol and dave are known to Tracegate, others are not.
WRITERS = ["carol", "carol", "dave", "ci-runner"]
API = "/api/tracegate/v1"


def fill(database):
    """Traces and runs as MLflow keeps them; its own API would take an hour for fifty thousand."""
    connection = sqlite3.connect(database, timeout=60)
    traces = {}
    with connection:
        for number in range(EXPERIMENTS):
            name = "/Users/bob/old" if number == 0 else f"old-{number}"
            stage = "deleted" if number == 1 else "active"
            row = connection.execute(
                "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time) "
                "VALUES (?, ?, ?, 1, 1) RETURNING experiment_id",
                (name, f"mlflow-artifacts:/old-{number}", stage),
            )
            traces[str(row.fetchone()[0])] = []
        ids = list(traces)
        for number in range(TRACES):
            experiment = ids[number % EXPERIMENTS]
            trace = f"tr-{random.getrandbits(128):032x}"
            traces[experiment].append(trace)
            connection.execute(
                "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, execution_time_ms, status, db_payload_generation) "
                "VALUES (?, ?, ?, 5, 'OK', 0)",
                (trace, int(experiment), 1_700_000_000_000 + number // 7),
            )
            writer = WRITERS[number // EXPERIMENTS % len(WRITERS)]
            connection.executemany(
                "INSERT INTO trace_request_metadata (key, value, request_id) VALUES (?, ?, ?)",
                [("mlflow.user", writer, trace), ("mlflow.trace.session", f"s-{number % 9}", trace)],
            )
    connection.close()
    return traces


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A server with everything in it, and a gateway before it that has just been put there."""
    directory = tmp_path_factory.mktemp("old")
    server = processes.start_mlflow(directory)
    traces = fill(directory / "mlflow.db")
    gateway = processes.start_demo(tmp_path_factory.mktemp("adopting"), server.url)
    server.traces = traces
    server.gateway = gateway
    yield server
    # Another than at the start, once that was killed.
    server.gateway.stop()
    server.stop()


def command(gateway, *arguments, who="admin"):
    environment = processes.clean_environment(TRACEGATE_URL=gateway.url, TRACEGATE_TOKEN=gateway.details["tokens"][who])
    return subprocess.Popen(
        [processes.tracegate_binary(), *map(str, arguments)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )


def run(gateway, *arguments, who="admin", code=0, seconds=1800):
    process = command(gateway, *arguments, who=who)
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == code, f"{process.returncode}: {out}{err}"
    return out, err


def call(gateway, who, method, target, body=b"", headers=()):
    credential = wire.basic(who, gateway.details["tokens"][who])
    return wire.request(gateway.url, method, target, [("Authorization", credential), *headers], body)


def test_only_an_administrator_adopts(old):
    _, err = run(old.gateway, "adopt", who="dave", code=1)
    assert "403" in err and "workspace.manage" in err
    for route in ("experiments", "traces", "runs", "held"):
        body = {"experiment_id": next(iter(old.traces))} if route != "experiments" else {}
        assert call(old.gateway, "carol", "POST", f"{API}/adoption/{route}", body).status == 403


def test_all_is_adopted_and_a_gateway_that_dies_meanwhile_is_waited_for(old, tmp_path):
    gateway = old.gateway
    directory, port = gateway.log.parent, int(gateway.url.rsplit(":", 1)[1])
    # A page is fifty experiments' worth of nothing: it is killed as soon as it claims.
    process = command(gateway, "adopt", "--plan", tmp_path / "plan.yaml", "--json")
    time.sleep(0.3)
    gateway.signal_all(signal.SIGKILL)
    gateway.process.wait(20)
    again = processes.start_serve(directory, old.url, port=port)
    again.details = gateway.details
    old.gateway = again
    began = time.monotonic()
    out, err = process.communicate(timeout=1800)
    assert process.returncode == 0, out + err
    took = time.monotonic() - began
    report = json.loads(out)
    total = sum(map(len, old.traces.values()))
    assert report["traces"] >= total and report["experiments"] >= EXPERIMENTS, report
    assert not report["elsewhere"] and not report["unknown_ids"] and not report["unstable"] and not report["shared_roots"], report
    assert f"{report['experiments']} of {report['experiments']} experiments" in err
    print(f"\n{report['experiments']} experiments with {report['traces']} traces adopted in {took:.1f} s", err)

    # Who wrote is proposed, by the names that are known, and nobody else.
    proposed = {(grant["on"], grant["to"], grant["privilege"]) for grant in report["proposed"] if not grant["stands"]}
    first, *_, last = old.traces
    assert (f"experiment:{first}", "user:bob", "CAN_MANAGE") in proposed, "his folder"
    assert (f"experiment:{first}", "user:carol", "CAN_EDIT") in proposed
    assert (f"experiment:{last}", "user:carol", "CAN_MANAGE") in proposed and (f"experiment:{last}", "user:dave", "CAN_EDIT") in proposed
    assert {name for name in report["unknown_names"]} == {"ci-runner"}
    assert not {to for _, to, _ in proposed} - {"user:bob", "user:carol", "user:dave"}

    # Again: nothing is left to claim.
    report = json.loads(run(old.gateway, "adopt", "--json")[0])
    assert report["claimed"] == 0 and report["traces"] >= total

    # Nothing was granted by that; applying the file grants exactly what it proposes.
    target = f"/api/2.0/mlflow/experiments/get?experiment_id={last}"
    assert call(old.gateway, "carol", "GET", target).status == 403
    named = run(old.gateway, "adopt", "--experiment", last, "--name", "ci-runner=service_principal:agent", "--plan", tmp_path / "one.yaml")[0]
    assert "CAN_EDIT to service_principal:agent" in named
    run(old.gateway, "policy", "apply", tmp_path / "one.yaml")
    assert call(old.gateway, "carol", "GET", target).status == 200
    assert call(old.gateway, "erin", "GET", target).status == 403
    described = run(old.gateway, "adopt", "--experiment", last)[0]
    assert "0 grants are proposed" in described


def test_nothing_adopted_can_be_taken_by_whoever_may_write_elsewhere(old):
    """Alice manages an experiment of her own, and would like to have others' traces in it."""
    gateway = old.gateway
    mine = gateway.details["experiments"]["support-bot"]
    into = ("X-Mlflow-Experiment-Id", str(mine))
    protobuf = ("Content-Type", "application/x-protobuf")
    experiments = random.sample(list(old.traces), min(EXPERIMENTS, 12))
    for experiment in experiments:
        trace = random.choice(old.traces[experiment])
        location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": str(mine)}}
        info = {"trace_id": trace, "trace_location": location, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
        attempts = [
            ("POST", "/v1/traces", wire.otlp(trace), [protobuf, into]),
            ("POST", "/api/3.0/mlflow/traces", {"trace": {"trace_info": info}}, []),
            ("PATCH", f"/api/3.0/mlflow/traces/{trace}/tags", {"key": "k", "value": "v"}, []),
            ("PATCH", f"/api/2.0/mlflow/traces/{trace}/tags", {"key": "k", "value": "v"}, []),
            ("POST", "/api/2.0/mlflow/traces/delete-traces", {"experiment_id": str(mine), "request_ids": [trace]}, []),
            ("POST", "/api/2.0/mlflow/traces/link-to-run", {"run_id": "0" * 32, "trace_ids": [trace]}, []),
            ("GET", f"/api/3.0/mlflow/traces/{trace}", b"", []),
            ("GET", f"/api/3.0/mlflow/traces/batchGet?trace_ids={trace}", b"", []),
            ("POST", f"/api/3.0/mlflow/traces/{trace}/assessments", {"assessment": {"assessment_name": "a", "feedback": {"value": 1}}}, []),
        ]
        for method, target, body, headers in attempts:
            answer = call(gateway, "alice", method, target, body, headers)
            assert answer.status in (403, 404), f"{method} {target}: {answer.status} {answer.text}"
    with sqlite3.connect(old.log.parent / "mlflow.db") as database:
        rows = dict(database.execute("SELECT request_id, experiment_id FROM trace_info").fetchall())
    moved = [trace for experiment, traces in old.traces.items() for trace in traces if rows.get(trace) != int(experiment)]
    assert not moved


def test_a_store_of_its_own_has_nothing_to_adopt(tmp_path):
    gateway = processes.start_demo(tmp_path, None)
    try:
        _, err = run(gateway, "adopt", code=1)
        assert "409" in err and "nothing to adopt" in err
    finally:
        gateway.stop()
