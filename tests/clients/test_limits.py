"""Limits as clients meet them: MLflow's SDK waits and loses nothing, an exporter is told, both by the same limits.

In every mode: what an experiment holds is counted by a real MLflow's own query, or by Tracegate's store on SQLite or PostgreSQL.
"""

import concurrent.futures
import json
import subprocess
import time
from uuid import uuid4

import pytest

from harness import processes, wire

pytestmark = [pytest.mark.gate, pytest.mark.every_store]

LIMITS = "/api/tracegate/v1/limits"


def call(gate, who, method, target, body=b"", headers=()):
    authorization = ("Authorization", wire.basic(who, gate.tokens[who]))
    return wire.request(gate.url, method, target, [authorization, *headers], body)


@pytest.fixture
def experiment(gate):
    """An experiment of alice's own, so that no other test's calls are counted."""
    made = call(gate, "alice", "POST", "/api/2.0/mlflow/experiments/create", {"name": f"limited-{uuid4()}"})
    assert made.status == 200, made.text
    return made.json()["experiment_id"]


@pytest.fixture
def limit(gate, experiment):
    def set_to(name, value, on=None, principal=None, who="alice"):
        body = {"securable": on or f"experiment:{experiment}", "principal": principal, "name": name, "value": value}
        answer = call(gate, who, "PUT", LIMITS, body)
        assert answer.status == 200, answer.text
        return answer.json()["limit"]

    return set_to


def start(gate, experiment, trace=None, who="alice"):
    trace = trace or "tr-" + uuid4().hex
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": trace, "trace_location": location, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
    return trace, call(gate, who, "POST", "/api/3.0/mlflow/traces", {"trace": {"trace_info": info}})


def held(gate, experiment):
    answer = call(gate, "alice", "GET", f"{LIMITS}?securable=experiment:{experiment}")
    assert answer.status == 200, answer.text
    return {limit["name"]: limit["used"] for limit in answer.json()["limits"]}["traces"]


def test_what_is_held_is_what_the_store_says_and_a_delete_makes_room(gate, experiment, limit):
    limit("traces", 3)
    assert held(gate, experiment) == 0
    traces = []
    for _ in range(3):
        trace, answer = start(gate, experiment)
        assert answer.status == 200, answer.text
        traces.append(trace)
    trace, full = start(gate, experiment)
    assert full.status == 429 and full.json()["error_code"] == "RESOURCE_EXHAUSTED", full.text
    assert "3 traces held" in full.json()["message"] and "retry-after" in full.headers
    assert held(gate, experiment) == 3
    again, known = start(gate, experiment, traces[0])
    assert known.status == 200, known.text
    gone = {"experiment_id": experiment, "request_ids": [traces[0]]}
    assert call(gate, "alice", "POST", "/api/3.0/mlflow/traces/delete-traces", gone).status == 200
    assert start(gate, experiment, trace)[1].status == 200
    assert start(gate, experiment, traces[0])[1].status == 429, "a deleted id is as new as any other"
    assert held(gate, experiment) == 3


def test_starts_at_once_never_pass_the_limit(gate, experiment, limit):
    limit("traces", 5)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: start(gate, experiment)[1], range(24)))
    assert {answer.status for answer in answers} <= {200, 429}, [answer.text for answer in answers]
    assert sum(answer.status == 200 for answer in answers) <= 5
    deadline = time.monotonic() + 30
    while held(gate, experiment) < 5:
        assert time.monotonic() < deadline, "what was counted too often found no room"
        start(gate, experiment)
    assert start(gate, experiment)[1].status == 429
    assert held(gate, experiment) == 5


def test_a_loader_beyond_the_limit_loses_no_trace(gate, experiment, limit, start_caller):
    limit("requests_per_second", 2)
    alice = start_caller("alice", MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="1")
    written = alice.run("write_many_traces", experiment_id=experiment, count=8).value
    call(gate, "alice", "DELETE", f"{LIMITS}?securable=experiment:{experiment}&name=requests_per_second")
    limit("traces", 1000)
    assert held(gate, experiment) == len(set(written)) == 8
    metrics = wire.request(gate.url, "GET", "/metrics").text
    refused = [line for line in metrics.splitlines() if line.startswith('tracegate_limited_total{limit="requests_per_second"}')]
    assert refused and int(refused[0].split()[-1]) > 0, "the loader never met the limit"


def test_an_exporter_is_told_of_what_is_refused(gate, experiment, limit, as_caller):
    limit("traces", 1)
    alice = as_caller("alice")
    first = alice.run("export_otlp", experiment_id=experiment)
    assert "Failed to export" not in first.log
    second = alice.run("export_otlp", experiment_id=experiment)
    assert "429" in second.log or "limit on traces" in second.log, second.log
    assert held(gate, experiment) == 1


def test_requests_reviews_and_limits_by_the_command_line(gate, experiment):
    def tracegate(who, *arguments, code=0):
        environment = processes.clean_environment(TRACEGATE_URL=gate.url, TRACEGATE_TOKEN=gate.tokens[who])
        done = subprocess.run(
            [processes.tracegate_binary(), *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout) if code == 0 else done.stderr

    on = f"experiment:{experiment}"
    asked = tracegate(
        "carol", "access", "request", "--on", on, "--reason", "triage of incident 4711", "--minutes", 30, "--json"
    )["request"]
    assert tracegate("alice", "access", "list", "--state", "pending", "--on", on, "--json")["requests"] == [asked]
    assert "403" in tracegate("carol", "access", "approve", asked["id"], code=1)
    done = tracegate("alice", "access", "approve", asked["id"], "--minutes", 5, "--reason", "go on", "--json")
    read = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    assert call(gate, "carol", "GET", read).status == 200
    rows = tracegate("alice", "access", "review", "--on", on, "--json")["access"]
    row = next(row for row in rows if row["grant_id"] == done["grant"]["id"])
    assert row["principal"] == "user:carol" and row["last_used_ms"] and "4711" in row["reason"]
    tracegate("alice", "access", "review", "--revoke", row["grant_id"], "--reason", "incident closed", "--json")
    assert call(gate, "carol", "GET", read).status == 403
    refused = tracegate("carol", "access", "request", "--on", on, "--reason", "once more, please", "--json")["request"]
    tracegate("alice", "access", "refuse", refused["id"], "--reason", "ask dave", "--json")
    assert "409" in tracegate("carol", "access", "withdraw", refused["id"], code=1)

    set_to = tracegate("alice", "limits", "set", "--on", on, "--traces", 7, "--requests-per-second", 500, "--json")
    assert {limit["name"]: limit["value"] for limit in set_to["limits"]} == {"traces": 7, "requests_per_second": 500}
    assert "403" in tracegate("carol", "limits", "set", "--on", on, "--traces", 9, code=1)
    shown = tracegate("alice", "limits", "show", "--on", on, "--json")["limits"]
    assert [limit["set_by"] for limit in shown] == ["user:alice"] * 2
    assert tracegate("alice", "limits", "clear", "--on", on, "--traces", "--requests-per-second", "--json")["limits"] == []
