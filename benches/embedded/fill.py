"""Many traces at once: rows straight into MLflow's SQLite, exports of hundreds of traces for Tracegate.

Both get the same traces: three spans with inputs and outputs, tags and metadata, as an SDK writes them.
MLflow would take hours over its API, so one trace is written by its API and its rows are copied.
"""

import base64
import json
import secrets
import sqlite3
import struct
from concurrent.futures import ThreadPoolExecutor

import requests

# Of the first trace; each later one begins a second after it.
EPOCH = 1_700_000_000
STATES = ("OK", "ERROR")


def template(trace_id, experiment):
    """The export of one trace, and its StartTrace request."""
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    raw = bytes.fromhex(trace_id.removeprefix("tr-"))
    spans = []
    for number, (name, kind) in enumerate((("answer", "AGENT"), ("look_up", "TOOL"), ("generate", "LLM"))):
        span = Span(
            trace_id=raw, span_id=struct.pack(">Q", number + 1), name=name,
            start_time_unix_nano=EPOCH * 10**9, end_time_unix_nano=EPOCH * 10**9 + 250_000_000,
        )
        if number:
            span.parent_span_id = struct.pack(">Q", 1)
        given = {
            "mlflow.traceRequestId": json.dumps(trace_id), "mlflow.spanType": json.dumps(kind),
            "mlflow.spanInputs": json.dumps({"question": "where is my order? " * 5}), "mlflow.spanOutputs": json.dumps("it is on its way. " * 10),
        }
        for key, value in given.items():
            span.attributes.add(key=key).value.string_value = value
        spans.append(span)
    info = {
        "trace": {
            "trace_info": {
                "trace_id": trace_id, "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
                "request_time": "2023-11-14T22:13:20Z", "execution_duration": "0.25s", "state": "OK",
                "tags": {"team": "red", "mlflow.traceName": "answer"},
                "trace_metadata": {"mlflow.trace.session": "s-1", "mlflow.trace.user": "ann", "mlflow.source.name": "app.py", "mlflow.source.type": "LOCAL", "mlflow.trace_schema.version": "3"},
                "request_preview": "where is my order? " * 5, "response_preview": "it is on its way. " * 10,
            }
        }
    }
    return spans, info


def export(spans):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    return request.SerializeToString()


def write_one(url, headers, experiment):
    """One trace by the API, as an SDK does; its id."""
    trace_id = "tr-" + secrets.token_hex(16)
    spans, info = template(trace_id, experiment)
    for answer in (
        requests.post(f"{url}/api/3.0/mlflow/traces", json=info, headers=headers, timeout=60),
        requests.post(f"{url}/v1/traces", data=export(spans), headers={**headers, "Content-Type": "application/x-protobuf", "X-Mlflow-Experiment-Id": experiment}, timeout=60),
    ):
        if answer.status_code != 200:
            raise SystemExit(f"error: {url}: {answer.status_code} {answer.text[:300]}")
    return trace_id


def copy_in_mlflow(database, pattern, experiment, count):
    """Copies the rows of the trace `pattern` in MLflow's database, into another experiment, `count` times."""
    with sqlite3.connect(database, timeout=60) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        copied = []
        for table in tables:
            # Of generated columns there is nothing to insert: hidden is 2 or 3.
            columns = [row[1] for row in connection.execute(f'PRAGMA table_xinfo("{table}")') if row[6] == 0]
            key = next((name for name in ("request_id", "trace_id") if name in columns), None)
            if key is None:
                continue
            names = ", ".join(f'"{column}"' for column in columns)
            rows = connection.execute(f'SELECT {names} FROM "{table}" WHERE "{key}" = ?', (pattern,)).fetchall()
            if rows:
                copied.append((table, columns, rows, f'INSERT INTO "{table}" ({names}) VALUES ({", ".join("?" * len(columns))})'))
        # The table that others refer to first.
        copied.sort(key=lambda entry: entry[0] != "trace_info")
        raw = base64.b64encode(bytes.fromhex(pattern.removeprefix("tr-"))).decode()
        for begin in range(0, count, 2000):
            fresh = [(number, secrets.token_hex(16)) for number in range(begin, min(begin + 2000, count))]
            for table, columns, rows, statement in copied:
                connection.executemany(statement, (
                    [changed(column, value, number, identifier, pattern, raw, experiment) for column, value in zip(columns, row)]
                    for number, identifier in fresh for row in rows
                ))


def changed(column, value, number, identifier, pattern, raw, experiment):
    if column == "experiment_id":
        return int(experiment)
    if column == "timestamp_ms":
        return (EPOCH + number) * 1000
    if column in ("start_time_unix_nano", "end_time_unix_nano"):
        return value + number * 10**9
    if isinstance(value, str):
        return value.replace(pattern, "tr-" + identifier).replace(raw, base64.b64encode(bytes.fromhex(identifier)).decode())
    return value


def export_to_tracegate(url, headers, experiment, count, batch=500, threads=4):
    """Many traces an export; what differs between two is put into the bytes where it stands."""
    marker = secrets.token_hex(16)
    spans, _ = template("tr-" + marker, experiment)
    for span in spans:
        span.attributes.add(key="mlflow.traceTag.team").value.string_value = "red"
    whole = export(spans)
    # Resource and scope say how long they are, so an export is put together from its spans.
    pieces = [piece.SerializeToString() for piece in spans]
    assert all(piece in whole for piece in pieces)
    times = struct.pack("<Q", EPOCH * 10**9), struct.pack("<Q", EPOCH * 10**9 + 250_000_000)
    given = {**headers, "Content-Type": "application/x-protobuf", "X-Mlflow-Experiment-Id": experiment}

    def send(begin):
        body = bytearray()
        for number in range(begin, min(begin + batch, count)):
            identifier = secrets.token_hex(16)
            moment = (EPOCH + number) * 10**9
            for piece in pieces:
                made = piece.replace(bytes.fromhex(marker), bytes.fromhex(identifier)).replace(marker.encode(), identifier.encode())
                made = made.replace(times[0], struct.pack("<Q", moment)).replace(times[1], struct.pack("<Q", moment + 250_000_000))
                body += b"\x12" + varint(len(made)) + made
        scope = b"\x12" + varint(len(body)) + bytes(body)
        answer = requests.post(f"{url}/v1/traces", data=b"\x0a" + varint(len(scope)) + scope, headers=given, timeout=300)
        if answer.status_code != 200:
            raise SystemExit(f"error: {answer.status_code} {answer.text[:300]}")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(send, range(0, count, batch)))


def varint(number):
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)
