"""Two gateways over one PostgreSQL while their keys change: what was good stays good, what lost its key is refused."""

import base64
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from harness import postgres, processes, wire
from test_bypasses import new_trace_id, start_trace

pytestmark = pytest.mark.gate
WHOAMI = "/api/tracegate/v1/whoami"
SEARCH = "/api/3.0/mlflow/traces/search"
KEYS = "/api/tracegate/v1/keys"


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    database = postgres.start(tmp_path_factory.mktemp("postgres") / "server")
    environment = {
        "TRACEGATE__DATABASE__URL": database.details["url"],
        "TRACEGATE__MLFLOW__ARTIFACTS": str(tmp_path_factory.mktemp("artifacts")),
        "TRACEGATE__SERVER__KEY_OVERLAP_SECONDS": "0",
    }
    first = processes.start_demo(tmp_path_factory.mktemp("first"), None, **environment)
    second_place = tmp_path_factory.mktemp("second")
    second = processes.start_serve(second_place, None, **environment)
    tokens = first.details["tokens"]

    def call(replica, token, method, target, body=b"", headers=()):
        url = (first if replica == 1 else second).url
        return wire.request(url, method, target, [("Authorization", f"Bearer {token}"), *headers], body)

    def command(replica, *arguments):
        return subprocess.run(
            [processes.tracegate_binary(), "keys", *arguments],
            env=processes.clean_environment(
                TRACEGATE_URL=(first if replica == 1 else second).url, TRACEGATE_TOKEN=tokens["admin"]
            ),
            capture_output=True, text=True, timeout=60,
        )

    yield SimpleNamespace(
        call=call, command=command, tokens=tokens, mine=first.details["experiments"]["support-bot"], first=first, second=second,
    )
    first.stop()
    second.stop()
    postgres.stop(database)


def listed(replicas, purpose, replica=1):
    done = replicas.command(replica, "list", "--json")
    assert done.returncode == 0, done.stderr
    return {key["id"]: key for key in json.loads(done.stdout)["keys"] if key["purpose"] == purpose}


def made(replicas, replica, name):
    answer = replicas.call(replica, replicas.tokens["alice"], "POST", "/api/tracegate/v1/tokens", {"name": name})
    assert answer.status == 200, answer.text
    return answer.json()["token"]


def test_tokens_and_pages_of_one_are_good_at_the_other_through_rotations(replicas):
    alice = replicas.tokens["alice"]
    for _ in range(3):
        started = replicas.call(1, alice, "POST", "/api/3.0/mlflow/traces", start_trace(new_trace_id(), replicas.mine))
        assert started.status == 200, started.text
    search = {"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": replicas.mine}}], "max_results": 1}
    pages, tokens = [], [made(replicas, 1, "before")]
    for number in (2, 3):
        # At each replica in turn; the other has not been told.
        replica = number - 1
        for purpose in ("sealing", "token"):
            done = replicas.command(replica, "rotate", purpose, "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["keys"][0]["id"] == f"k{number}"
        page = replicas.call(replica, alice, "POST", SEARCH, search).json()["next_page_token"]
        assert page.startswith(f"k{number}.")
        other = 3 - replica
        answer = replicas.call(other, alice, "POST", SEARCH, {**search, "page_token": page})
        assert answer.status == 200, answer.text
        pages.append(page)
        tokens.append(made(replicas, replica, f"k{number}"))
        assert replicas.call(other, tokens[-1], "GET", WHOAMI).status == 200
    for replica in (1, 2):
        for token in tokens:
            assert replicas.call(replica, token, "GET", WHOAMI).status == 200
        for page in pages:
            assert replicas.call(replica, alice, "POST", SEARCH, {**search, "page_token": page}).status == 200
            forged = "k9" + page[2:]
            assert replicas.call(replica, alice, "POST", SEARCH, {**search, "page_token": forged}).status == 400
    assert {id: key["state"] for id, key in listed(replicas, "token", 2).items()} == {"k1": "accepted", "k2": "accepted", "k3": "active"}


def test_a_retired_key_ends_at_both_what_was_not_used_since(replicas):
    forgotten = made(replicas, 1, "never used again")
    assert replicas.command(1, "rotate", "token").returncode == 0
    # In use: hashed anew by the replica that sees it. The other administrator's token, which runs the command, too.
    for name in ("alice", "admin"):
        for replica in (1, 2):
            assert replicas.call(replica, replicas.tokens[name], "GET", WHOAMI).status == 200
    before = listed(replicas, "token")["k3"]["in_use"]
    assert before >= 1
    refused = replicas.command(2, "retire", "token", "k3")
    assert refused.returncode != 0 and "in force were made with key `k3`" in refused.stderr, refused.stderr
    ended = replicas.command(2, "retire", "token", "k3", "--force", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["ended"] >= 1

    def gone():
        return all(replicas.call(replica, forgotten, "GET", WHOAMI).status == 401 for replica in (1, 2))

    processes.wait_until(gone, 30, "the end of the key at both")
    assert replicas.call(1, replicas.tokens["alice"], "GET", WHOAMI).status == 200
    assert listed(replicas, "token", 2)["k3"]["state"] == "retired"


def test_rotations_at_both_at_once_are_one_after_another_and_nobody_is_refused_meanwhile(replicas):
    stop = []

    def work(replica):
        statuses = set()
        while not stop:
            statuses.add(replicas.call(replica, replicas.tokens["alice"], "GET", WHOAMI).status)
        return statuses

    def rotate(replica):
        # Who asked before the other's key was made is told to wait for it, and asks again.
        for _ in range(20):
            done = replicas.command(replica, "rotate", "session", "--json")
            if "takes over in" not in done.stderr:
                break
        return done

    with ThreadPoolExecutor(6) as pool:
        working = [pool.submit(work, replica) for replica in (1, 2)]
        done = list(pool.map(rotate, [1, 2, 1, 2]))
        stop.append(True)
        assert [future.result(30) for future in working] == [{200}, {200}]
    ids = sorted(json.loads(one.stdout)["keys"][0]["id"] for one in done if one.returncode == 0)
    assert ids == ["k2", "k3", "k4"]
    [refused] = [one for one in done if one.returncode != 0]
    assert "retire one" in refused.stderr


def test_a_replica_that_is_killed_after_a_rotation_has_the_key_when_it_is_back(replicas, tmp_path):
    answer = replicas.call(2, replicas.tokens["admin"], "POST", f"{KEYS}/client-secret/rotate", {"overlap_seconds": 2})
    assert answer.status == 200 and answer.json()["key"]["state"] == "announced"
    os.kill(replicas.second.process.pid, 9)
    replicas.second.process.wait(30)
    processes.wait_until(lambda: listed(replicas, "client-secret")["k2"]["state"] == "active", 30, "the new key to take over")
    assert listed(replicas, "client-secret")["k1"]["state"] == "accepted"


def test_keys_in_a_file_are_taken_from_there_and_again_when_it_changes(tmp_path):
    path = tmp_path / "keys.toml"

    def write(active, **keys):
        lines = "".join(f'{id} = "{base64.b64encode(key).decode()}"\n' for id, key in keys.items())
        new = tmp_path / "new.toml"
        new.write_text(f'[sealing]\nactive = "{active}"\n[sealing.keys]\n{lines}')
        new.chmod(0o400)
        new.replace(path)

    one, two = os.urandom(32), os.urandom(32)
    write("one", one=one)
    demo = processes.start_demo(tmp_path / "demo", None, TRACEGATE__SERVER__KEYS_FILE=str(path))
    try:
        token = demo.details["tokens"]["admin"]

        def states():
            answer = wire.request(demo.url, "GET", KEYS, [("Authorization", f"Bearer {token}")])
            assert one.hex() not in answer.text and base64.b64encode(one).decode() not in answer.text
            return {key["id"]: key["state"] for key in answer.json()["keys"] if key["purpose"] == "sealing"}

        assert states() == {"one": "active"}
        write("two", one=one, two=two)
        assert states() == {"one": "accepted", "two": "active"}
        path.unlink()
        assert states() == {"one": "accepted", "two": "active"}
    finally:
        demo.stop()
