"""Two gateways over one PostgreSQL hold everybody to one limit."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import postgres, processes, wire

pytestmark = pytest.mark.gate
PER_SECOND = 5


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    database = postgres.start(tmp_path_factory.mktemp("postgres") / "server")
    environment = {
        "TRACEGATE__DATABASE__URL": database.details["url"],
        "TRACEGATE__MLFLOW__ARTIFACTS": str(tmp_path_factory.mktemp("artifacts")),
    }
    first = processes.start_demo(tmp_path_factory.mktemp("first"), None, **environment)
    second = processes.start_serve(tmp_path_factory.mktemp("second"), None, **environment)
    yield first, second
    first.stop()
    second.stop()
    postgres.stop(database)


def test_a_limit_set_at_one_bounds_both_together(replicas):
    first, second = replicas
    experiment = first.details["experiments"]["support-bot"]

    def call(gate, method, target, body=b"", headers=()):
        authorization = ("Authorization", wire.basic("alice", first.details["tokens"]["alice"]))
        return wire.request(gate.url, method, target, [authorization, *headers], body)

    limit = {"securable": f"experiment:{experiment}", "name": "requests_per_second", "value": PER_SECOND}
    made = call(first, "PUT", "/api/tracegate/v1/limits", limit)
    assert made.status == 200, made.text
    at_least = [("X-Tracegate-Minimum-Policy-Version", str(made.json()["policy_version"]))]
    read = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: call((first, second)[n % 2], "GET", read, headers=at_least), range(200)))
    took = time.monotonic() - began
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 429}, statuses
    # So many seconds of the clock begin at most while the calls run.
    assert statuses.count(200) <= PER_SECOND * (int(took) + 2), (took, statuses.count(200))
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED" and refused.headers["retry-after"] == "1"
    # Lifted at the other, it is lifted at both.
    gone = call(second, "DELETE", f"/api/tracegate/v1/limits?securable=experiment:{experiment}&name=requests_per_second")
    assert gone.status == 200, gone.text
    at_least = [("X-Tracegate-Minimum-Policy-Version", str(gone.json()["policy_version"]))]
    assert {call(first, "GET", read, headers=at_least).status for _ in range(20)} == {200}
