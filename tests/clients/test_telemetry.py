"""What Tracegate says of itself: spans, metrics and logs, without a payload or a token in them."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness import processes, wire
from test_bypasses import new_trace_id, start_trace

pytestmark = pytest.mark.gate

SECRET = "the-customer-said-marzipan"


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A gateway that reports to a real OTLP receiver, and an MLflow behind a recording relay."""
    directory = tmp_path_factory.mktemp("telemetry")
    received = SimpleNamespace(spans=[], metrics=set(), bodies=[])

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            received.bodies.append(body)
            if self.path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        received.spans.extend(scope.spans)
            else:
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    for scope in resource.scope_metrics:
                        received.metrics.update(metric.name for metric in scope.metrics)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    mlflow = processes.start_mlflow(directory / "mlflow")
    gate = processes.start_demo(
        directory, mlflow.url,
        TRACEGATE__TELEMETRY__OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.server_port}",
        TRACEGATE__TELEMETRY__METRICS_INTERVAL_MS="300",
        TRACEGATE__TELEMETRY__FORMAT="json",
        TRACEGATE__TELEMETRY__LOG="debug",
    )
    tokens = gate.details["tokens"]
    experiment = gate.details["experiments"]["support-bot"]

    def call(who, method, target, body=b"", headers=()):
        return wire.request(gate.url, method, target, [("Authorization", wire.basic(who, tokens[who])), *headers], body)

    yield SimpleNamespace(gate=gate, received=received, tokens=tokens, experiment=experiment, call=call)
    gate.stop()
    receiver.shutdown()
    mlflow.stop()


def test_spans_continue_the_callers_trace(observed):
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    header = ("traceparent", f"00-{trace}-{parent}-01")
    assert observed.call("bob", "POST", "/api/3.0/mlflow/traces/search", {
        "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": observed.experiment}}]
    }, [header]).status == 200

    def arrived():
        return any(span.trace_id.hex() == trace and span.parent_span_id.hex() == parent for span in observed.received.spans)

    processes.wait_until(arrived, 30, "our span")
    span = next(span for span in observed.received.spans if span.trace_id.hex() == trace)
    attributes = {attribute.key: attribute.value for attribute in span.attributes}
    assert attributes["operation"].string_value == "trace.search"


def test_metrics_are_sent_and_scraped(observed):
    observed.call("carol", "GET", f"/api/2.0/mlflow/experiments/get?experiment_id={observed.experiment}")
    observed.call("carol", "GET", "/api/9.9/nowhere")
    processes.wait_until(lambda: "tracegate.calls" in observed.received.metrics, 30, "our metrics")
    text = wire.request(observed.gate.url, "GET", "/metrics").text
    assert 'operation="experiment.get",decision="deny",status="403"' in text
    assert "tracegate_unknown_routes_total" in text
    assert "tracegate_decision_seconds_bucket" in text


def test_no_payload_and_no_token_in_what_we_say(observed):
    trace_id = new_trace_id()
    body = start_trace(trace_id, observed.experiment, metadata={"note": SECRET})
    assert observed.call("alice", "POST", "/api/3.0/mlflow/traces", body).status == 200
    assert observed.call("alice", "GET", f"/api/3.0/mlflow/traces/{trace_id}").status == 200
    bad_token = "tg_" + "A" * 43
    answer = wire.request(observed.gate.url, "GET", "/api/2.0/mlflow/experiments/get?experiment_id=1",
                          [("Authorization", f"Bearer {bad_token}")])
    assert answer.status == 401
    processes.wait_until(
        lambda: any(b"trace.start_v3" in body for body in observed.received.bodies), 30, "the span of the write"
    )
    said = observed.gate.log_text().encode() + b"".join(observed.received.bodies)
    # The demo itself prints its tokens once, on purpose; nothing says them again.
    for name, token in observed.tokens.items():
        assert said.count(token.encode()) <= (2 if name == "bob" else 1), name
    assert SECRET.encode() not in said
    assert bad_token.encode() not in said
