"""The views over a place of traces: what is asked of one trace is not computed of all."""

import secrets
import time

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness import processes

pytestmark = pytest.mark.gate

TRACES, SPANS, TEXT = 200, 200, 2_000
MEMORY = 48 << 20


def export(trace):
    now, sent = time.time_ns(), ExportTraceServiceRequest()
    scope = sent.resource_spans.add().scope_spans.add()
    for number in range(SPANS):
        span = scope.spans.add(trace_id=bytes.fromhex(trace), span_id=secrets.token_bytes(8), name=f"step {number}")
        span.parent_span_id = b"" if number == 0 else scope.spans[0].span_id
        span.start_time_unix_nano, span.end_time_unix_nano = now + number, now + number + 1_000_000
        span.attributes.add(key="gen_ai.prompt").value.string_value = secrets.token_hex(TEXT // 2)
    return sent.SerializeToString()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A gateway with little memory for statements, and a place whose traces are larger than that."""
    server = processes.start_demo(
        tmp_path_factory.mktemp("views"), None, TRACEGATE__LAKE__QUERY_MEMORY_BYTES=str(MEMORY)
    )
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {server.details['tokens']['admin']}"

    def post(path, **more):
        answer = session.post(server.url + path, timeout=60, **more)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content[:1] == b"{" else answer

    post("/api/2.1/unity-catalog/catalogs", json={"name": "main"})
    post("/api/2.1/unity-catalog/schemas", json={"name": "agents", "catalog_name": "main"})
    names = {"catalog_name": "main", "schema_name": "agents", "table_prefix": "bot"}
    post("/api/5.0/mlflow/tracing/locations", json={"uc_table_prefix": names})
    traces = [secrets.token_hex(16) for _ in range(TRACES)]
    headers = {"Content-Type": "application/x-protobuf", "X-Databricks-UC-Table-Name": "main.agents.bot_otel_spans"}
    for trace in traces:
        post("/api/2.0/otel/v1/traces", data=export(trace), headers=headers)

    def ask(text):
        sent = {"statement": text, "warehouse_id": "tracegate", "wait_timeout": "50s"}
        return post("/api/2.0/sql/statements", json=sent)

    yield traces, ask
    server.stop()


@pytest.mark.parametrize("where", ["trace_id = '{}'", "trace_id IN ('{}')", "'{}' = trace_id AND request IS NULL"])
def test_one_trace_is_read_without_the_others(place, where):
    traces, ask = place
    answer = ask(f"SELECT trace_id, spans FROM main.agents.bot_trace_unified WHERE {where.format(traces[7])}")
    assert answer["status"]["state"] == "SUCCEEDED", answer["status"]
    [[trace, spans]] = answer["result"]["data_array"]
    assert trace == traces[7] and spans.count('"span_id"') == SPANS
    answer = ask(f"SELECT * FROM main.agents.bot_trace_metadata WHERE {where.split(' AND')[0].format(traces[7])}")
    assert answer["status"]["state"] == "SUCCEEDED", answer["status"]


def test_all_of_them_at_once_are_more_than_a_statement_may_hold(place):
    _, ask = place
    answer = ask("SELECT trace_id, spans FROM main.agents.bot_trace_unified")
    assert answer["status"]["state"] == "FAILED", answer["status"]
    assert "RESOURCE_EXHAUSTED" in answer["status"]["error"]["message"]
