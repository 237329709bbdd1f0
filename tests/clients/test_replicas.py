"""Two gateways over one PostgreSQL: one policy, one set of claims, tokens and page tokens that both know."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from harness import postgres, processes, wire
from harness.replicas import Pair, until
from test_bypasses import OTLP, into, new_trace_id, start_trace

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module", params=["upstream", "embedded"])
def replicas(request, tmp_path_factory):
    upstream = request.getfixturevalue("mlflow_server").url if request.param == "upstream" else None
    database = postgres.start(tmp_path_factory.mktemp("postgres") / "server")
    environment = {
        "TRACEGATE__DATABASE__URL": database.details["url"],
        "TRACEGATE__MLFLOW__ARTIFACTS": str(tmp_path_factory.mktemp("artifacts")),
    }
    first = processes.start_demo(tmp_path_factory.mktemp("first"), upstream, **environment)
    second = processes.start_serve(tmp_path_factory.mktemp("second"), upstream, **environment)
    tokens = first.details["tokens"]

    def call(replica, who, method, target, body=b"", headers=()):
        url = (first if replica == 1 else second).url
        return wire.request(url, method, target, [("Authorization", wire.basic(who, tokens[who])), *headers], body)

    yield SimpleNamespace(
        call=call, mine=first.details["experiments"]["support-bot"], theirs=first.details["experiments"]["secret-lab"],
        first=first, second=second, database=database, tokens=tokens,
    )
    first.stop()
    second.stop()
    postgres.stop(database)


def test_a_grant_made_at_one_is_in_force_at_the_other_at_the_version_it_was_made(replicas):
    target = f"/api/2.0/mlflow/experiments/get?experiment_id={replicas.theirs}"
    assert replicas.call(2, "carol", "GET", target).status == 403
    body = {"principal": "user:carol", "securable": f"experiment:{replicas.theirs}", "privilege": "CAN_READ"}
    made = replicas.call(1, "dave", "POST", "/api/tracegate/v1/grants", body)
    assert made.status == 200, made.text
    version = made.json()["policy_version"]
    # Never older than asked for: the other replica reads on before it decides.
    at_least = [("X-Tracegate-Minimum-Policy-Version", str(version))]
    answer = replicas.call(2, "carol", "GET", target, headers=at_least)
    assert answer.status == 200 and int(answer.headers["x-tracegate-policy-version"]) >= version
    gone = replicas.call(2, "dave", "DELETE", f"/api/tracegate/v1/grants/{made.json()['grant']['id']}")
    at_least = [("X-Tracegate-Minimum-Policy-Version", str(gone.json()["policy_version"]))]
    assert replicas.call(1, "carol", "GET", target, headers=at_least).status == 403
    ahead = [("X-Tracegate-Minimum-Policy-Version", str(gone.json()["policy_version"] + 1000))]
    refused = replicas.call(1, "carol", "GET", target, headers=ahead)
    assert refused.status == 503 and "retry-after" in refused.headers


def test_one_experiment_wins_a_trace_id_across_replicas(replicas):
    barrier = threading.Barrier(4)

    def write(replica, who, experiment, trace_id, otlp):
        barrier.wait(30)
        if otlp:
            return replicas.call(replica, who, "POST", "/v1/traces", wire.otlp(trace_id), [OTLP, into(experiment)]).status
        return replicas.call(replica, who, "POST", "/api/3.0/mlflow/traces", start_trace(trace_id, experiment)).status

    with ThreadPoolExecutor(4) as pool:
        for _ in range(15):
            trace_id = new_trace_id()
            writers = [(1, "alice", replicas.mine), (2, "dave", replicas.theirs), (2, "alice", replicas.mine), (1, "dave", replicas.theirs)]
            futures = [pool.submit(write, *writer, trace_id, index % 2 == 0) for index, writer in enumerate(writers)]
            statuses = [future.result(60) for future in futures]
            mine, theirs = {statuses[0], statuses[2]}, {statuses[1], statuses[3]}
            assert (200 in mine) != (200 in theirs), statuses
            assert 403 in (mine if 200 in theirs else theirs), statuses


def test_a_page_token_of_one_is_good_at_the_other(replicas):
    for _ in range(3):
        assert replicas.call(1, "alice", "POST", "/api/3.0/mlflow/traces", start_trace(new_trace_id(), replicas.mine)).status == 200
    search = {"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": replicas.mine}}], "max_results": 1}
    first = replicas.call(1, "alice", "POST", "/api/3.0/mlflow/traces/search", search).json()
    second = replicas.call(2, "alice", "POST", "/api/3.0/mlflow/traces/search", {**search, "page_token": first["next_page_token"]})
    assert second.status == 200
    assert second.json()["traces"][0]["trace_id"] != first["traces"][0]["trace_id"]


def test_the_record_of_both_is_asked_at_either(replicas):
    trace_id = new_trace_id()
    assert replicas.call(1, "alice", "POST", "/api/3.0/mlflow/traces", start_trace(trace_id, replicas.mine)).status == 200
    assert replicas.call(2, "bob", "GET", f"/api/3.0/mlflow/traces/{trace_id}").status == 200

    def seen():
        events = processes.audit_query(replicas.first.url, replicas.tokens["admin"], "--trace-id", trace_id)
        return {"user:alice", "user:bob"} <= {event.get("principal") for event in events}

    processes.wait_until(seen, 30, "both records")


def test_without_its_database_a_gateway_refuses(replicas):
    """Last: it stops the database."""
    target = f"/api/2.0/mlflow/experiments/get?experiment_id={replicas.mine}"
    assert replicas.call(1, "bob", "GET", target).status == 200
    postgres.stop(replicas.database)

    def refused():
        answer = replicas.call(1, "bob", "GET", target)
        assert answer.status in (200, 503), answer.text
        return answer.status == 503

    # Up to the allowed staleness the last confirmed policy counts; then nothing does.
    processes.wait_until(refused, 60, "a refusal")
    answer = replicas.call(1, "bob", "GET", target)
    assert answer.status == 503 and "retry-after" in answer.headers and answer.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
    ready = wire.request(replicas.first.url, "GET", "/readyz")
    assert ready.status == 503
    assert wire.request(replicas.first.url, "GET", "/healthz").status == 200


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two gateways of which one can be cut off from the database; `make bench-replicas` measures the same."""
    pair = Pair(tmp_path_factory.mktemp("pair"), TRACEGATE__POLICY__MAX_STALENESS_MS="2000")
    yield pair
    pair.stop()


def test_a_revoke_reaches_the_other_replica_and_a_demanded_version_is_never_older(pair):
    admin, carol = pair.connect(pair.first, "admin"), pair.connect(pair.second, "carol")
    for _ in range(5):
        grant, version, _ = admin.grant("user:carol", 7)
        said = carol.may_see(7, version)
        assert said.allowed and said.version >= version, said
        version, _ = admin.revoke(grant)
        said = carol.may_see(7, version)
        assert said.status == 403 and said.version >= version, said
    for _ in range(5):
        # Without a demand the other one hears of it by itself, and then stays with it.
        grant, _, _ = admin.grant("user:carol", 7)
        until(lambda: (said := carol.may_see(7), said.allowed), 30, "an allow")
        version, _ = admin.revoke(grant)
        said = until(lambda: (said := carol.may_see(7), not said.allowed), 30, "a refusal")[-1]
        assert said.status == 403 and said.version >= version, said
        assert not any(carol.may_see(7).allowed for _ in range(3))


def test_cut_off_it_refuses_and_reconnected_it_knows_every_change(pair):
    admin, bob = pair.connect(pair.first, "admin"), pair.connect(pair.second, "bob")
    here, there = pair.connect(pair.first, "carol"), pair.connect(pair.second, "carol")
    held = {number: admin.grant("user:carol", number)[0] for number in range(100, 105)}
    version = admin.grant("user:carol", 105)[1]
    assert there.may_see(105, version).allowed
    pair.link.set("closed")
    for number in (100, 101, 102):
        admin.revoke(held[number])
    for number in (110, 111):
        version = admin.grant("user:carol", number)[1]
    until(lambda: (said := bob.may_see(1), said.status == 503), 60, "a refusal")
    assert {bob.may_see(1).status for _ in range(10)} == {503}
    # Not even a demand makes it answer from what it has.
    assert there.may_see(103, version).status == 503
    pair.link.set("pass")
    # Within the staleness bound it may still answer by what it last confirmed; from the newer version on, by nothing older.
    until(lambda: (said := bob.may_see(1), said.allowed and said.version >= version), 60, "an answer at the new version")
    expected = {103, 104, 105, 110, 111}
    for name, gateway in (("first", here), ("second", there)):
        answers = {number: gateway.may_see(number) for number in range(100, 115)}
        assert {number for number, said in answers.items() if said.allowed} == expected, f"{name}: {answers}"
