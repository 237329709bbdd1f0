"""Tables as others see them: other readers see the rows that Tracegate wrote and acknowledged, each once, and
Tracegate reads what other writers wrote; whatever is killed, however many write, and whatever fails below."""

import json
import os
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest
import requests

from harness import processes
from test_tables import one_span

TOOLS = Path(__file__).with_name("lake_tools.py")
ROUNDS = int(os.environ.get("TRACEGATE_KILL_ROUNDS", "3"))
TABLE = "main.agents.bot_otel_spans"
BATCH = "/api/4.0/mlflow/traces/main.agents.bot/batchGet"


def lake_python():
    path = os.environ.get("LAKE_PYTHON", "")
    if not path or not os.access(path, os.X_OK):
        raise RuntimeError("LAKE_PYTHON must name the Python of `make clients-lake` (make test sets it)")
    return path


def tool(*arguments, **environment):
    done = subprocess.run(
        [lake_python(), str(TOOLS), *arguments], capture_output=True, text=True, timeout=120,
        env={**processes.clean_environment(), **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout) if done.stdout else None


class Client:
    """The administrator, with a connection of its own."""

    def __init__(self, url, token):
        self.url, self.session = url, requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method, path, **more):
        return self.session.request(method, self.url + path, timeout=60, **more)

    def make_place(self):
        base = "/api/2.1/unity-catalog"
        assert self.call("POST", f"{base}/catalogs", json={"name": "main"}).status_code == 200
        assert self.call("POST", f"{base}/schemas", json={"name": "agents", "catalog_name": "main"}).status_code == 200
        body = {"uc_table_prefix": {"catalog_name": "main", "schema_name": "agents", "table_prefix": "bot"}}
        made = self.call("POST", "/api/5.0/mlflow/tracing/locations", json=body)
        assert made.status_code == 200, made.text
        return self.call("GET", f"{base}/tables/{TABLE}").json()["storage_location"]

    def export(self, trace, name="f"):
        headers = {"Content-Type": "application/x-protobuf", "X-Databricks-UC-Table-Name": TABLE}
        return self.call("POST", "/api/2.0/otel/v1/traces", data=one_span(trace, name), headers=headers)

    def traces(self, ids):
        answer = self.call("GET", BATCH, params={"trace_ids": ids})
        assert answer.status_code == 200, answer.text
        return answer.json()["traces"]


def client(server, who="admin"):
    return Client(server.url, server.details["tokens"][who])


def new_trace():
    return uuid.uuid4().hex


class Writers:
    """Several that export traces until they are told to stop or the gateway is gone, and what was acknowledged."""

    def __init__(self, clients):
        self.acknowledged, self.refused, self._stop = [], [], threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(one,)) for one in clients]
        for thread in self._threads:
            thread.start()

    def _write(self, one):
        while not self._stop.is_set():
            trace = new_trace()
            try:
                answer = one.export(trace)
            except requests.RequestException:
                return
            (self.acknowledged if answer.status_code == 200 else self.refused).append(trace)

    def wait_for(self, count, seconds=120):
        end = time.monotonic() + seconds
        while len(self.acknowledged) < count:
            assert time.monotonic() < end, f"{len(self.acknowledged)} acknowledged in {seconds} s, {len(self.refused)} refused"
            time.sleep(0.02)

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.acknowledged


def assert_each_once(place, acknowledged, **environment):
    """Every acknowledged trace is in the table, once."""
    rows = [row["trace_id"] for row in tool("read", place, **environment)["delta"]]
    assert acknowledged and not set(acknowledged) - set(rows), "an acknowledged trace is lost"
    assert len(rows) == len(set(rows)), "a trace was written twice"


@pytest.fixture
def gate(tmp_path):
    server = processes.start_demo(tmp_path / "gate", None)
    yield server
    server.stop()


def test_other_readers_see_the_same_rows_and_we_see_theirs(gate):
    ours = client(gate)
    place = ours.make_place()
    traces = [new_trace() for _ in range(3)]
    for number, trace in enumerate(traces):
        assert ours.export(trace, f"call {number}").status_code == 200
    seen = tool("read", place)
    assert seen["delta"] and sorted(map(str, seen["delta"])) == sorted(map(str, seen["duckdb"]))
    by_trace = {row["trace_id"]: row for row in seen["delta"]}
    assert set(by_trace) == set(traces)
    row = by_trace[traces[1]]
    assert (row["name"], row["span_id"], row["kind"], row["start_time_unix_nano"]) == ("call 1", "01" * 8, "SPAN_KIND_UNSPECIFIED", 1_700_000_000_000_000_000)
    assert (row["time"], row["date"]) == (1_700_000_000.0, "2023-11-14") and json.loads(row["attributes"]) == {}
    # Another writer's rows, with columns left out.
    theirs = new_trace()
    wrote = {"trace_id": theirs, "span_id": "ab" * 8, "name": "theirs", "attributes": '{"mlflow.spanInputs": {"q": 1}}',
             "start_time_unix_nano": 5_000_000_000, "end_time_unix_nano": 6_000_000_000}
    tool("write", place, json.dumps([wrote]))
    (found,) = ours.traces([theirs])
    assert found["spans"][0]["name"] == "theirs" and found["trace_info"]["execution_duration"] == "1s"
    assert found["trace_info"]["request_preview"] == '{"q":1}'
    # And we go on after them.
    assert ours.export(new_trace()).status_code == 200
    assert len(tool("read", place)["delta"]) == 5


def test_kill_9_loses_and_doubles_nothing(tmp_path):
    server = processes.start_demo(tmp_path / "gate", None)
    tokens = server.details["tokens"]
    place = client(server).make_place()
    acknowledged = []
    for number in range(ROUNDS):
        writers = Writers([Client(server.url, tokens["admin"]) for _ in range(6)])
        writers.wait_for(20)
        server.signal_all(9)
        acknowledged += writers.stop()
        server.stop()
        server = processes.start_serve(tmp_path / "gate", None)
        server.url = server.url if hasattr(server, "url") else server.details["url"]
        again = Client(server.url, tokens["admin"])
        assert again.export(new_trace()).status_code == 200
        found = {one["trace_info"]["trace_id"] for one in again.traces(acknowledged[-100:])}
        assert found == set(acknowledged[-100:])
        assert_each_once(place, acknowledged)
        print(f"kill {number + 1} of {ROUNDS}: {len(acknowledged)} traces acknowledged and there", flush=True)
    server.stop()


def test_two_gateways_write_one_table(tmp_path, postgres_server):
    shared = tmp_path / "lake"
    environment = {"TRACEGATE__DATABASE__URL": postgres_server.details["url"], "TRACEGATE__LAKE__ROOT": str(shared)}
    one = processes.start_demo(tmp_path / "one", None, **environment)
    try:
        place = client(one).make_place()
        other = processes.start_serve(tmp_path / "other", None, **environment, TRACEGATE__AUDIT__REPLICA="other")
        try:
            token = one.details["tokens"]["admin"]
            writers = Writers([Client(url, token) for url in (one.url, other.url) for _ in range(3)])
            writers.wait_for(60)
            acknowledged = writers.stop()
            assert not writers.refused
            assert_each_once(place, acknowledged)
            # What one acknowledged the other shows at once.
            trace = new_trace()
            assert Client(one.url, token).export(trace).status_code == 200
            assert len(Client(other.url, token).traces([trace])) == 1
        finally:
            other.stop()
    finally:
        one.stop()


def test_an_object_store_that_fails_every_tenth_call(tmp_path):
    started = subprocess.Popen(
        [lake_python(), str(TOOLS), "s3", "0", "10"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=processes.clean_environment(),
    )
    try:
        url = f"http://127.0.0.1:{json.loads(started.stdout.readline())['port']}"
        assert any(requests.put(f"{url}/lake", timeout=30).status_code == 200 for _ in range(10))
        store = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
        server = processes.start_demo(tmp_path / "gate", None, TRACEGATE__LAKE__ROOT="s3://lake/tables", **store)
        try:
            place = client(server).make_place()
            assert place.startswith("s3://lake/tables/")
            writers = Writers([client(server) for _ in range(4)])
            writers.wait_for(40)
            acknowledged = writers.stop()
            assert_each_once(place, acknowledged, **store)
            assert len(client(server).traces(acknowledged[:20])) == 20
        finally:
            server.stop()
    finally:
        started.kill()
        started.wait(10)
