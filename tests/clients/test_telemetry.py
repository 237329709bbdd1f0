"""What Tracegate says of itself: spans, metrics and logs, without a payload or a token in them."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness import processes, wire
from test_bypasses import new_trace_id, start_trace

pytestmark = pytest.mark.gate

SECRET = "the-customer-said-marzipan"


class Relay(ThreadingHTTPServer):
    """Passes each request on to MLflow as it came, and notes its path and `traceparent`."""

    daemon_threads = True

    def __init__(self, upstream):
        self.upstream, self.seen = upstream.removeprefix("http://"), []
        super().__init__(("127.0.0.1", 0), RelayHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def parents(self, path):
        """What `traceparent` said in requests for a path, split at its dashes."""
        return [header.split("-") for seen, header in self.seen if seen == path and header]


class RelayHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def relay(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append((self.path.split("?")[0], self.headers.get("traceparent")))
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        kept = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "transfer-encoding")}
        connection.request(self.command, self.path, body, kept | {"Content-Length": str(len(body))})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = relay

    def log_message(self, *_):
        pass


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
    relay = Relay(mlflow.url)
    gate = processes.start_demo(
        directory, f"http://127.0.0.1:{relay.server_port}",
        TRACEGATE__TELEMETRY__OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.server_port}",
        TRACEGATE__TELEMETRY__METRICS_INTERVAL_MS="300",
        TRACEGATE__TELEMETRY__FORMAT="json",
        TRACEGATE__TELEMETRY__LOG="debug",
    )
    tokens = gate.details["tokens"]
    experiment = gate.details["experiments"]["support-bot"]

    def call(who, method, target, body=b"", headers=()):
        return wire.request(gate.url, method, target, [("Authorization", wire.basic(who, tokens[who])), *headers], body)

    yield SimpleNamespace(gate=gate, received=received, tokens=tokens, experiment=experiment, call=call, relay=relay)
    gate.stop()
    relay.shutdown()
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


SEARCH = "/api/3.0/mlflow/traces/search"


def search(observed):
    return {"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": observed.experiment}}]}


def our_span(observed, trace_id, parent):
    """Our span of a trace, as it was exported, once it is there."""
    def found():
        return [span for span in observed.received.spans if span.trace_id.hex() == trace_id and span.parent_span_id.hex() == parent]

    processes.wait_until(found, 30, "our span")
    (span,) = found()
    return span


def test_one_trace_from_the_caller_through_us_to_mlflow(observed):
    """As a caller that is instrumented sends it: its span, ours below, and MLflow told of ours."""
    with TracerProvider().get_tracer("caller").start_as_current_span("call") as span:
        headers = {}
        TraceContextTextMapPropagator().inject(headers)
        own = span.get_span_context()
        assert observed.call("bob", "POST", SEARCH, search(observed), list(headers.items())).status == 200
    ours = our_span(observed, f"{own.trace_id:032x}", f"{own.span_id:016x}")
    told = [parts for parts in observed.relay.parents(SEARCH) if parts[1] == f"{own.trace_id:032x}"]
    assert told and all(parts[2] == ours.span_id.hex() and parts[3] == "01" for parts in told), told


def test_an_exporters_call_is_part_of_the_trace_too(observed):
    """A real OTLP exporter that writes through us, within a trace of its own."""
    trace_id, parent = "1af7651916cd43dd8448eb211c80319c", "c7ad6b7169203331"
    exporter = OTLPSpanExporter(
        endpoint=f"{observed.gate.url}/v1/traces",
        headers={
            "authorization": f"Bearer {observed.tokens['agent']}",
            "x-mlflow-experiment-id": observed.experiment,
            "traceparent": f"00-{trace_id}-{parent}-01",
        },
    )
    outcomes = []

    class Noting(SpanExporter):
        def export(self, spans):
            outcomes.append(exporter.export(spans))
            return outcomes[-1]

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Noting()))
    with provider.get_tracer("agent").start_as_current_span("answer"):
        pass
    assert outcomes == [SpanExportResult.SUCCESS]
    ours = our_span(observed, trace_id, parent)
    told = [parts for parts in observed.relay.parents("/v1/traces") if parts[1] == trace_id]
    assert [parts[2] for parts in told] == [ours.span_id.hex()]


def test_who_does_not_want_to_be_traced_is_not_and_nonsense_is_nobodys_trace(observed):
    unsampled = "2af7651916cd43dd8448eb211c80319c"
    for value in (f"00-{unsampled}-b7ad6b7169203331-00", "00-nonsense", "ff-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        before = len(observed.relay.seen)
        assert observed.call("bob", "POST", SEARCH, search(observed), [("traceparent", value)]).status == 200
        (told,) = [header for path, header in observed.relay.seen[before:] if path == SEARCH]
        version, trace_id, parent, flags = told.split("-")
        assert version == "00" and len(trace_id) == 32 and len(parent) == 16 and told != value
        assert (trace_id, flags) == (unsampled, "00") if unsampled in value else trace_id != "0" * 32
    # It would have come before this one's.
    with TracerProvider().get_tracer("caller").start_as_current_span("later") as span:
        headers = {}
        TraceContextTextMapPropagator().inject(headers)
        assert observed.call("bob", "POST", SEARCH, search(observed), list(headers.items())).status == 200
        own = span.get_span_context()
    our_span(observed, trace.format_trace_id(own.trace_id), trace.format_span_id(own.span_id))
    assert all(span.trace_id.hex() != unsampled for span in observed.received.spans)


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
