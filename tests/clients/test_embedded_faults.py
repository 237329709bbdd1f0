"""Tracegate's own store when things go wrong: kills, a full disk, hostile input, very large traces.

What must hold: whatever was acknowledged is there, whole; nothing is there by half; the database is sound;
and who sent something unreasonable is told what was wrong with it.
"""

import hashlib
import http.client
import json
import os
import random
import secrets
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from harness import processes, wire
from test_bypasses import OTLP, into, new_trace_id, start_trace

pytestmark = pytest.mark.gate

ROUNDS = int(os.environ.get("TRACEGATE_KILL_ROUNDS", "5"))
WRITERS = 6
V3 = "/api/3.0/mlflow/traces"


class Client:
    """A kept connection of the administrator."""

    def __init__(self, url, token):
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
        self._headers = {"Authorization": wire.basic("admin", token)}

    def call(self, method, target, body=None, headers=None):
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        more = dict(headers or {"Content-Type": "application/json"}) if body is not None else {}
        self._connection.request(method, target, body, {**self._headers, **more})
        answer = self._connection.getresponse()
        return wire.Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def export(self, experiment, body):
        return self.call("POST", "/v1/traces", body, dict([OTLP, into(experiment)]))

    def close(self):
        self._connection.close()


def filler(name, size):
    """Text that does not compress, the same for the same name."""
    return hashlib.shake_128(name.encode()).hexdigest(size // 2)


def spans_of(trace_id, names, size=0):
    """An export of one trace: the first name is the root's. With `size`, so much text in each span."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    export = ExportTraceServiceRequest()
    scope = export.resource_spans.add().scope_spans.add()
    begin = time.time_ns()
    for number, name in enumerate(names):
        span = scope.spans.add(
            trace_id=bytes.fromhex(trace_id.removeprefix("tr-")), span_id=span_id(name), name=name,
            start_time_unix_nano=begin, end_time_unix_nano=begin + 1000,
        )
        if number:
            span.parent_span_id = span_id(names[0])
        if size:
            span.attributes.add(key="payload").value.string_value = filler(name, size)
    return export.SerializeToString()


def span_id(name):
    return hashlib.md5(name.encode()).digest()[:8]


def read(client, trace_id):
    """The trace with its spans, or None; its spans' names as a set."""
    head = client.call("GET", f"{V3}/{trace_id}")
    if head.status == 404:
        return None
    assert head.status == 200, f"{head.status}: {head.text[:300]}"
    whole = client.call("GET", f"{V3}/get?trace_id={trace_id}&allow_partial=true")
    # So MLflow says that a trace has no spans yet.
    spans = [] if "not stored in tracking store" in whole.text[:300] else whole.json()["trace"]["spans"]
    return SimpleNamespace(info=head.json()["trace"]["trace_info"], spans={span["name"] for span in spans})


def sound(database):
    """What SQLite says of its own file."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


# --- kill -9 ------------------------------------------------------------------------------


class Written:
    """What one writer sent of one trace, and which of it was acknowledged."""

    def __init__(self, experiment):
        self.trace = new_trace_id()
        self.experiment = experiment
        self.started = False
        self.tags = {}
        self.exports = []
        self.assessments = {}


def write_until_gone(url, token, experiment, seed, stop, log):
    """Writes traces as clients do, until the gateway is gone."""
    chance = random.Random(seed)
    client = Client(url, token)
    try:
        while not stop.is_set():
            written = Written(experiment)
            log.append(written)
            steps = [lambda: start(client, written), lambda: export(client, written, chance), lambda: export(client, written, chance)]
            chance.shuffle(steps)
            for step in [*steps, lambda: tag(client, written), lambda: assess(client, written, chance)]:
                step()
    except (OSError, http.client.HTTPException):
        pass  # killed: what it answered before is in the log
    finally:
        client.close()


def start(client, written):
    answer = client.call("POST", V3, start_trace(written.trace, written.experiment, tags={"started": "yes"}, metadata={"by": "a writer"}))
    assert answer.status == 200, answer.text[:300]
    written.started = True


def export(client, written, chance):
    # A name says which export a span belongs to. Now and then large ones, which lie beside the database.
    names = [f"{len(written.exports)}-{number}" for number in range(chance.randint(1, 5))]
    entry = {"names": names, "acknowledged": False}
    written.exports.append(entry)
    answer = client.export(written.experiment, spans_of(written.trace, names, size=200_000 if chance.random() < 0.05 else 0))
    assert answer.status == 200, answer.text[:300]
    entry["acknowledged"] = True


def tag(client, written):
    answer = client.call("PATCH", f"{V3}/{written.trace}/tags", {"key": "late", "value": written.trace})
    assert answer.status == 200, answer.text[:300]
    written.tags["late"] = written.trace


def assess(client, written, chance):
    value = chance.random()
    now = "2026-01-01T00:00:00Z"
    answer = client.call("POST", f"{V3}/{written.trace}/assessments", {
        "assessment": {
            "assessment_name": "quality", "trace_id": written.trace, "feedback": {"value": value}, "create_time": now, "last_update_time": now,
            "source": {"source_type": "CODE", "source_id": "a writer"},
        }
    })
    assert answer.status == 200, answer.text[:300]
    written.assessments[answer.json()["assessment"]["assessment_id"]] = value


def verify(client, written):
    """Everything acknowledged is there; of what was not, an export is there whole or not at all."""
    found = read(client, written.trace)
    acknowledged = [entry for entry in written.exports if entry["acknowledged"]]
    if found is None:
        assert not (written.started or acknowledged or written.tags or written.assessments), f"{written.trace} was acknowledged and is gone"
        return
    for entry in written.exports:
        there = [name in found.spans for name in entry["names"]]
        assert all(there) or (not entry["acknowledged"] and not any(there)), f"{written.trace}: of {entry} there is {found.spans}"
    tags, metadata = found.info.get("tags", {}), found.info.get("trace_metadata", {})
    if written.started:
        assert (tags.get("started"), metadata.get("by")) == ("yes", "a writer"), found.info
    # A start that was not acknowledged came with all it had, or not.
    assert (tags.get("started") == "yes") == (metadata.get("by") == "a writer"), found.info
    for key, value in written.tags.items():
        assert tags.get(key) == value, found.info
    kept = {one["assessment_id"]: one["feedback"]["value"] for one in found.info.get("assessments", [])}
    assert written.assessments.items() <= kept.items(), found.info


def test_kill_under_write_load_loses_nothing_acknowledged(tmp_path):
    demo = processes.start_demo(tmp_path, None)
    token, experiment = demo.details["tokens"]["admin"], str(demo.details["experiments"]["support-bot"])
    demo.stop()
    chance = random.Random(7)
    everything, total = [], 0
    for number in range(ROUNDS):
        server = processes.start_serve(tmp_path, None)
        stop, log, errors = threading.Event(), [[] for _ in range(WRITERS)], []

        def work(writer):
            try:
                write_until_gone(server.url, token, experiment, f"{number}/{writer}", stop, log[writer])
            except BaseException as error:  # noqa: BLE001 - for the thread that judges
                errors.append(error)

        threads = [threading.Thread(target=work, args=(writer,)) for writer in range(WRITERS)]
        for thread in threads:
            thread.start()
        # On a busy machine the first write may take long; a kill before it would show nothing.
        processes.wait_until(lambda: errors or any(one.started for entries in log for one in list(entries)), 120, "the first write")
        time.sleep(chance.uniform(0.0, 1.5))
        server.signal_all(signal.SIGKILL)
        server.process.wait(20)
        stop.set()
        for thread in threads:
            thread.join(60)
        assert not errors, errors[0]
        written = [one for entries in log for one in entries]
        acknowledged = sum(one.started for one in written)
        assert acknowledged, "nothing was acknowledged before the kill: the round says nothing"
        total += acknowledged
        server = processes.start_serve(tmp_path, None)
        client = Client(server.url, token)
        try:
            sound(tmp_path / "data" / "traces.db")
            # Of earlier rounds some, for they may have been lost late.
            for one in [*written, *chance.sample(everything, min(50, len(everything)))]:
                verify(client, one)
            # And a search sees what reads see.
            found = client.call("POST", f"{V3}/search", {"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}], "max_results": 500, "filter": "tags.late LIKE 'tr-%'"})
            assert found.status == 200 and found.json()["traces"], found.text[:300]
        finally:
            client.close()
            server.stop()
        everything += written
        print(f"kill {number + 1} of {ROUNDS}: {acknowledged} traces acknowledged and there ({total} in all)", flush=True)


# --- a full disk --------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 48 MB, with 16 MB of it taken until `ballast` is removed."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tracegate-test", str(place)], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.strip()}")
    (place / "ballast").write_bytes(secrets.token_bytes(16 * 1024 * 1024))
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_said_and_survived(small_disk):
    server = processes.start_demo(small_disk, None)
    try:
        token, experiment = server.details["tokens"]["admin"], str(server.details["experiments"]["support-bot"])
        client = Client(server.url, token)
        kept, refusals = [], []
        for number in range(3000):
            trace = new_trace_id()
            # Small ones lie in the database, large ones beside it.
            body = spans_of(trace, ["root", "child"], size=300_000 if number % 2 else 20_000)
            answer = client.export(experiment, body)
            if answer.status == 200:
                kept.append(trace)
            else:
                refusals.append(answer)
            if len(refusals) >= 8:
                break
        assert refusals, "the disk never became full"
        for answer in refusals:
            assert answer.status in (429, 503, 507), f"{answer.status}: {answer.text[:300]}"
            said = answer.text.lower()
            assert any(word in said for word in ("disk", "space", "audit", "full")), f"does not say what is wrong: {answer.text[:300]}"
        (small_disk / "ballast").unlink()

        def takes_writes():
            trace = new_trace_id()
            accepted = client.export(experiment, spans_of(trace, ["root", "child"])).status == 200
            if accepted:
                kept.append(trace)
            return accepted

        processes.wait_until(takes_writes, 120, "writes after space came back", server.alive)
        for trace in kept:
            found = read(client, trace)
            assert found and found.spans == {"root", "child"}, f"{trace} was acknowledged: {found}"
        sound(small_disk / "data" / "traces.db")
        client.close()
    finally:
        server.stop()


# --- hostile input ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    server = processes.start_demo(tmp_path_factory.mktemp("embedded"), None)
    token = server.details["tokens"]["admin"]
    client = Client(server.url, token)
    yield SimpleNamespace(server=server, client=client, token=token, experiment=str(server.details["experiments"]["support-bot"]))
    client.close()
    server.stop()


def works_or_says_why(answer):
    """Whether it worked; if not, it is a 4xx in MLflow's shape with a message."""
    if answer.status == 200:
        return True
    assert 400 <= answer.status < 500, f"{answer.status}: {answer.text[:300]}"
    said = answer.json()
    message = said.get("message") or said.get("detail")
    assert message and len(json.dumps(message)) < 20_000, answer.text[:300]
    return False


@pytest.fixture
def trace(store):
    trace = new_trace_id()
    assert store.client.call("POST", V3, start_trace(trace, store.experiment)).status == 200
    return trace


def test_clients_that_stall_hold_up_nobody(store):
    address = urlsplit(store.server.url)
    traces = [new_trace_id() for _ in range(40)]
    stalled = []
    for trace in traces:
        body = wire.otlp(trace, attributes={"x": "y" * 100_000})
        head = (
            f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nAuthorization: {wire.basic('admin', store.token)}\r\nContent-Type: application/x-protobuf\r\n"
            f"X-Mlflow-Experiment-Id: {store.experiment}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection = socket.create_connection((address.hostname, address.port))
        connection.sendall(head.encode() + body[: len(body) // 2])
        stalled.append(connection)
    try:
        fresh = new_trace_id()
        assert store.client.export(store.experiment, wire.otlp(fresh)).status == 200
        assert read(store.client, fresh).spans
    finally:
        for connection in stalled:
            connection.close()
    assert all(read(store.client, trace) is None for trace in traces)


def test_a_tag_of_a_million_characters(store, trace):
    value = "v" * 1_000_000
    if works_or_says_why(store.client.call("PATCH", f"{V3}/{trace}/tags", {"key": "long", "value": value})):
        kept = read(store.client, trace).info["tags"]["long"]
        assert value.startswith(kept) and len(kept) >= 1000
    works_or_says_why(store.client.call("PATCH", f"{V3}/{trace}/tags", {"key": "k" * 1_000_000, "value": "v"}))
    assert read(store.client, trace)


def test_ten_thousand_tags(store):
    trace = new_trace_id()
    tags = {f"key {number}": str(number) for number in range(10_000)}
    if works_or_says_why(store.client.call("POST", V3, start_trace(trace, store.experiment, tags=tags, metadata=tags))):
        info = read(store.client, trace).info
        assert tags.items() <= info["tags"].items() and tags.items() <= info["trace_metadata"].items()


@pytest.mark.parametrize("body", [b'{"trace": {"trace_info": {"trace_id": "tr-\xff\xfe"}}}', b'\xff\xfe{}', b'{"key": "a", "value": "\xc3\x28"}', b'{"key": "\\ud800", "value": "x"}', b'{"key": "nul", "value": "a\\u0000b"}'])
def test_text_that_is_none(store, trace, body):
    works_or_says_why(store.client.call("PATCH", f"{V3}/{trace}/tags", body))
    assert read(store.client, trace)


def test_spans_whose_text_is_none(store):
    trace = new_trace_id()
    body = wire.otlp(trace, attributes={"some": "MARK"})
    for wrong in (body.replace(b"sent-by-hand", b"\xff\xfe-by-hand!"), body.replace(b"MARK", b"\xc3\x28\xff\x00"), body[:-7], b"\xff" * 1000):
        works_or_says_why(store.client.export(store.experiment, wrong))


def test_a_trace_that_ends_before_it_starts(store):
    for more in ({"execution_duration": "-5s"}, {"request_time": "2026-01-01T00:00:00Z", "execution_duration": "-1000000s"}, {"request_time": "0001-01-01T00:00:00Z"}, {"request_time": "9999-12-31T23:59:59Z"}):
        trace = new_trace_id()
        if works_or_says_why(store.client.call("POST", V3, start_trace(trace, store.experiment, **more))):
            assert read(store.client, trace)
    trace = new_trace_id()
    body = spans_of(trace, ["root"])
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    export = ExportTraceServiceRequest.FromString(body)
    span = export.resource_spans[0].scope_spans[0].spans[0]
    for begin, end in ((span.start_time_unix_nano, span.start_time_unix_nano - 10**9), (2**64 - 1, 1), (0, 0), (2**63, 2**63 + 1)):
        span.start_time_unix_nano, span.end_time_unix_nano = begin, end
        if works_or_says_why(store.client.export(store.experiment, export.SerializeToString())):
            assert read(store.client, trace).spans == {"root"}


LONG_FILTERS = {
    "many clauses": " AND ".join(f"tags.key{number} = 'value {number}'" for number in range(3000)),
    "one long value": f"tags.team = '{'x' * 100_000}'",
    "many values": f"status IN ({', '.join(repr('OK') for _ in range(20_000))})",
    "a long pattern": f"tags.team LIKE '{'%a' * 50_000}'",
    "a hostile pattern": f"tags.team RLIKE '{'(a+)+' * 30}$'",
    "brackets": "(" * 50_000 + "status = 'OK'" + ")" * 50_000,
    "quotes": "'" * 100_001,
}


@pytest.mark.parametrize("name", LONG_FILTERS)
def test_a_filter_of_100_kilobytes(store, trace, name):
    place = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": store.experiment}}]
    works_or_says_why(store.client.call("POST", f"{V3}/search", {"locations": place, "filter": LONG_FILTERS[name]}))
    works_or_says_why(store.client.call("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": [store.experiment], "filter": LONG_FILTERS[name]}))
    assert store.server.alive()


def test_json_that_is_nested_deeply(store, trace):
    deep = "[" * 100_000 + "]" * 100_000
    works_or_says_why(store.client.call("PATCH", f"{V3}/{trace}/tags", f'{{"key": "k", "value": {deep}}}'))
    works_or_says_why(store.client.call("POST", f"{V3}/{trace}/assessments", f'{{"assessment": {{"assessment_name": "q", "feedback": {{"value": {deep}}}}}}}'))
    assert store.server.alive()


# --- a very large trace -------------------------------------------------------------------

SPANS, EXPORTS, SPAN_BYTES = 50_000, 20, 2_000
# Of all that the gateway holds, whatever it carries. The pages of its program are not of its making.
MOST_MEBIBYTES = 256


def held_at_most(server):
    return (server.memory_kib("VmHWM") - server.memory_kib("RssFile")) / 1024


def test_a_trace_of_100_megabytes_and_50_000_spans(store):
    client, trace = store.client, new_trace_id()
    assert client.call("POST", V3, start_trace(trace, store.experiment, tags={"size": "large"})).status == 200
    names = [f"span {number}" for number in range(SPANS)]
    each = SPANS // EXPORTS
    lengths = {}
    for number in range(EXPORTS):
        # The first of all is the root: of each export, a child of it.
        part = names[number * each : (number + 1) * each]
        body = spans_of(trace, part, size=SPAN_BYTES)
        lengths[number] = len(body)
        answer = client.export(store.experiment, body)
        assert answer.status == 200, f"export {number}: {answer.status} {answer.text[:300]}"
    assert sum(lengths.values()) > 100 * 1000 * 1000
    print(f"{held_at_most(store.server):.0f} MiB held at most while it was written", flush=True)
    answer = client.call("GET", f"{V3}/get?trace_id={trace}")
    assert answer.status == 200, answer.text[:300]
    spans = answer.json()["trace"]["spans"]
    assert len(spans) == SPANS
    for span in spans:
        payload = next(one["value"]["string_value"] for one in span["attributes"] if one["key"] == "payload")
        assert json.loads(payload) == filler(span["name"], SPAN_BYTES) if payload.startswith('"') else payload == filler(span["name"], SPAN_BYTES)
    assert {span["name"] for span in spans} == set(names)
    highest = held_at_most(store.server)
    print(f"{highest:.0f} MiB held at most, read and written", flush=True)
    assert highest < MOST_MEBIBYTES
    # The first connection was idle for too long.
    client = Client(store.server.url, store.token)
    assert client.call("POST", f"{V3}/delete-traces", {"experiment_id": store.experiment, "request_ids": [trace]}).json() == {"traces_deleted": 1}
    assert read(client, trace) is None
    client.close()
