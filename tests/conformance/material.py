"""Traces and spans as data, with times that lie years back and ids that follow from a seed."""

import hashlib
import json

# 2023-01-01T00:00:00Z
EPOCH = 1672531200
OTLP = {"Content-Type": "application/x-protobuf"}


def trace_id(*seed):
    return "tr-" + hashlib.md5("/".join(map(str, seed)).encode()).hexdigest()


def span_id(number):
    return int(number).to_bytes(8, "big")


def info(trace, experiment, **more):
    return {
        "trace_id": trace,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
        "request_time": "2023-01-01T00:00:00Z", "execution_duration": "1s", "state": "OK",
        **{{"metadata": "trace_metadata"}.get(key, key): value for key, value in more.items()},
    }


def start(m, trace, experiment, **more):
    return m.post("/api/3.0/mlflow/traces", trace={"trace_info": info(trace, experiment, **more)})


def span(trace, number, parent=None, name="span", at=0, takes=1000, attributes=None, status=None, events=(), links=(), **more):
    """Of the protobuf: `at` and `takes` in microseconds; `takes` of None is a span that still runs."""
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    begin = EPOCH * 10**9 + at * 1000
    made = Span(
        trace_id=bytes.fromhex(trace.removeprefix("tr-")), span_id=span_id(number), name=name,
        start_time_unix_nano=begin, end_time_unix_nano=0 if takes is None else begin + takes * 1000, **more,
    )
    if parent is not None:
        made.parent_span_id = span_id(parent)
    for key, value in (attributes or {}).items():
        fill(made.attributes.add(key=key).value, value)
    if status:
        made.status.code = {"UNSET": 0, "OK": 1, "ERROR": 2}[status]
        made.status.message = "as it went" if status == "ERROR" else ""
    for event in events:
        added = made.events.add(name=event.get("name", "event"), time_unix_nano=begin + 5)
        for key, value in event.get("attributes", {}).items():
            fill(added.attributes.add(key=key).value, value)
    for linked in links:
        made.links.add(trace_id=bytes.fromhex(linked.removeprefix("tr-")), span_id=span_id(1))
    return made


def fill(target, value):
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        target.int_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, bytes):
        target.bytes_value = value
    elif isinstance(value, list):
        target.array_value.SetInParent()
        for item in value:
            fill(target.array_value.values.add(), item)
    elif isinstance(value, dict):
        target.kvlist_value.SetInParent()
        for key, item in value.items():
            fill(target.kvlist_value.values.add(key=key).value, item)
    elif value is not None:
        target.string_value = value


def export(spans, resource=None, scope="conformance"):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    holder = request.resource_spans.add()
    for key, value in (resource or {}).items():
        fill(holder.resource.attributes.add(key=key).value, value)
    part = holder.scope_spans.add()
    part.scope.name = scope
    part.spans.extend(spans)
    return request


def otlp(m, experiment, spans, resource=None, headers=None):
    return m.call("POST", "/v1/traces", body=export(spans, resource).SerializeToString(), headers={**OTLP, "X-Mlflow-Experiment-Id": experiment, **(headers or {})})


def as_json(request):
    """OTLP in JSON: hexadecimal ids, as its specification says and protobuf's JSON does not."""
    from base64 import b64decode

    from google.protobuf.json_format import MessageToDict

    content = MessageToDict(request)
    for resource in content.get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for one in scope.get("spans", []):
                for key in ("traceId", "spanId", "parentSpanId"):
                    if key in one:
                        one[key] = b64decode(one[key]).hex()
    return json.dumps(content).encode()
