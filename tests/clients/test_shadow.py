"""Shadow mode with real clients: what would be denied works, is reported, and is denied afterwards."""

import json
import subprocess

import pytest

from harness import processes

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, mlflow_server):
    gate = processes.start_demo(tmp_path_factory.mktemp("shadow"), mlflow_server.url, TRACEGATE__POLICY__SHADOW_ANONYMOUS="true")
    yield gate
    gate.stop()


def tracegate(gateway, *arguments, who="admin", code=0):
    environment = processes.clean_environment(TRACEGATE_URL=gateway.url, TRACEGATE_TOKEN=gateway.details["tokens"][who])
    done = subprocess.run(
        [processes.tracegate_binary(), *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done


SCRIPT = """
import mlflow
mlflow.set_experiment("secret-lab")
with mlflow.start_span("asked") as span:
    span.set_inputs({"question": "what"})
mlflow.flush_trace_async_logging()
found = mlflow.search_traces(max_results=5, return_type="list")
assert found, "nothing was found"
with mlflow.start_run():
    mlflow.log_metric("m", 1)
print("worked")
"""


def client(gateway, who):
    import sys

    settings = {"MLFLOW_TRACKING_URI": gateway.url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    if who:
        settings |= {"MLFLOW_TRACKING_USERNAME": who, "MLFLOW_TRACKING_PASSWORD": gateway.details["tokens"][who]}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=processes.clean_environment(**settings), capture_output=True, text=True, timeout=120
    )
    return done


def test_the_sdk_works_in_shadow_with_and_without_credentials_and_not_after(gateway):
    lab = str(gateway.details["experiments"]["secret-lab"])
    assert "worked" not in client(gateway, "carol").stdout
    assert "worked" not in client(gateway, None).stdout
    refused = tracegate(gateway, "shadow", "start", "--experiment", lab, "--reason", "adopting the old server", who="dave", code=1)
    assert "403" in refused.stderr
    started = tracegate(gateway, "shadow", "start", "--experiment", lab, "--days", "3", "--reason", "adopting the old server", "--json")
    assert json.loads(started.stdout)["shadows"][0]["experiment"] == f"experiment:{lab}"
    for who in ("carol", None):
        done = client(gateway, who)
        assert "worked" in done.stdout, done.stderr
    assert lab in tracegate(gateway, "shadow", "list").stdout
    report = json.loads(tracegate(gateway, "shadow", "report", "--experiment", lab, "--json").stdout)
    rows = report["shadowed"]
    assert report["complete"] and {row["principal"] for row in rows} == {"user:carol", "user:anonymous"}
    missing = {(row["principal"], row["privilege"]) for row in rows if row["securable"] == f"experiment:{lab}"}
    assert {("user:carol", "trace.write"), ("user:carol", "run.write"), ("user:anonymous", "trace.write")} <= missing, missing
    assert all(row["address"] == "127.0.0.1" for row in rows if row["principal"] == "user:anonymous")
    assert "user:carol" in tracegate(gateway, "shadow", "report").stdout
    # What shadow mode let see is on record like any sight.
    seen = json.loads(tracegate(gateway, "audit", "query", "--principal", "user:carol", "--json").stdout)
    assert any(entry.get("shadowed") for entry in seen["events"])

    tracegate(gateway, "shadow", "end", "--experiment", lab)
    assert "worked" not in client(gateway, "carol").stdout
    assert "worked" not in client(gateway, None).stdout
    assert json.loads(tracegate(gateway, "shadow", "list", "--json").stdout)["shadows"] == []
