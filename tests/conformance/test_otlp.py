"""OpenTelemetry's protocol: encodings, compressions, all kinds of attributes, what is no export."""

import gzip
import json
import zlib

import pytest

from material import OTLP, as_json, export, otlp, span, start, trace_id

V3 = "/api/3.0/mlflow/traces"


def read(m, t):
    m.get(f"{V3}/get", trace_id=t)
    m.get(f"{V3}/{t}")


VALUES = {
    "text": "ü🚀", "empty": "", "number": 5, "negative": -5, "large": 2**62, "float": 1.5, "whole float": 2.0, "tiny": 1e-300, "yes": True, "bytes": b"\x00\xff", "list": [1, "two", 3.0, False], "empty list": [], "nested": {"a": {"b": [1, {"c": "d"}]}}, "nothing": None,
    "json": '{"a": 1}', "json text": '"quoted"', "json number": "5", "like json": "{not", "nan": float("nan"), "infinity": float("inf"), "nul": "a\u0000b",
}


@pytest.mark.parametrize("name", VALUES)
def test_attributes(m, experiment, name):
    t = trace_id("attribute", experiment)
    otlp(m, experiment, [span(t, 1, attributes={"x": VALUES[name], "mlflow.spanInputs": VALUES[name], "mlflow.spanOutputs": VALUES[name]}, events=[{"attributes": {"y": VALUES[name]}}])])
    read(m, t)


SPANS = {
    "kinds": lambda t: [span(t, number + 1, parent=1 if number else None, kind=number) for number in range(6)],
    "states": lambda t: [span(t, 1, status="ERROR"), span(t, 2, parent=1, status="OK"), span(t, 3, parent=1, status="UNSET")],
    "running": lambda t: [span(t, 1, takes=None)],
    "running child": lambda t: [span(t, 1), span(t, 2, parent=1, takes=None)],
    "backwards": lambda t: [span(t, 1, takes=-500)],
    "no time": lambda t: [span(t, 1, takes=0)],
    "two roots": lambda t: [span(t, 1, name="one"), span(t, 2, name="two", at=5)],
    "orphan": lambda t: [span(t, 5, parent=99)],
    "its own parent": lambda t: [span(t, 1, parent=1)],
    "same id twice": lambda t: [span(t, 1, name="first"), span(t, 1, name="second")],
    "no name": lambda t: [span(t, 1, name="")],
    "long name": lambda t: [span(t, 1, name="n" * 3000)],
    "events": lambda t: [span(t, 1, events=[{"name": "exception", "attributes": {"exception.message": "m", "exception.type": "T", "exception.stacktrace": "s"}}, {"name": ""}])],
    "links": lambda t: [span(t, 1, links=[trace_id("linked")])],
    "trace state": lambda t: [span(t, 1, trace_state="a=b,c=d", flags=1)],
    "a type": lambda t: [span(t, 1, attributes={"mlflow.spanType": '"CHAT_MODEL"'}), span(t, 2, parent=1, attributes={"mlflow.spanType": "LLM"}), span(t, 3, parent=1, attributes={"mlflow.spanType": "MINE"})],
    "conventions of GenAI": lambda t: [span(t, 1, attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5, "gen_ai.prompt": "hi", "gen_ai.completion": "ho", "gen_ai.system": "openai"})],
    "messages of GenAI": lambda t: [span(t, 1, attributes={"gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]', "gen_ai.output.messages": '[{"role": "assistant", "parts": []}]'})],
    "OpenInference": lambda t: [span(t, 1, attributes={"openinference.span.kind": "LLM", "input.value": "q", "output.value": "a", "llm.token_count.prompt": 3, "llm.token_count.completion": 4, "llm.model_name": "m"})],
    "OpenLLMetry": lambda t: [span(t, 1, attributes={"traceloop.span.kind": "tool", "traceloop.entity.input": "q", "traceloop.entity.output": "a", "llm.usage.total_tokens": 7})],
    "tokens": lambda t: [span(t, 1), span(t, 2, parent=1, attributes={"mlflow.chat.tokenUsage": '{"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}'}), span(t, 3, parent=2, attributes={"mlflow.chat.tokenUsage": '{"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}'})],
    "costs": lambda t: [span(t, 1, attributes={"mlflow.llm.cost": '{"input_cost": 0.5, "output_cost": 0.25, "total_cost": 0.75}', "mlflow.llm.model": '"m"', "mlflow.llm.provider": '"p"'})],
    "tags and metadata by attribute": lambda t: [span(t, 1, attributes={"mlflow.traceTag.colour": "red", "mlflow.trace.session": "s", "mlflow.trace.user": "u", "session.id": "other", "user.id": "w", "mlflow.traceName": "n"})],
    "another's experiment by attribute": lambda t: [span(t, 1, attributes={"mlflow.experimentId": '"0"', "mlflow.experiment_id": "0"})],
    "request id by attribute": lambda t: [span(t, 1, attributes={"mlflow.traceRequestId": '"tr-' + "e" * 32 + '"'})],
    "long inputs": lambda t: [span(t, 1, attributes={"mlflow.spanInputs": json.dumps({"text": "x" * 20000}), "mlflow.spanOutputs": json.dumps("y" * 20000)})],
    "chat inputs": lambda t: [span(t, 1, attributes={"mlflow.spanInputs": json.dumps({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "the question"}]}), "mlflow.spanOutputs": json.dumps({"choices": [{"message": {"role": "assistant", "content": "the answer"}}]})})],
}


@pytest.mark.parametrize("name", SPANS)
def test_spans(m, experiment, name):
    t = trace_id("span", experiment)
    otlp(m, experiment, SPANS[name](t))
    read(m, t)
    otlp(m, experiment, SPANS[name](t))
    read(m, t)
    m.post(f"{V3}/search", locations=[{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}])


@pytest.mark.parametrize("resource", [{"service.name": "shop"}, {"service.name": "claude-code"}, {"service.name": "codex_cli_rs", "service.version": "1"}, {"telemetry.sdk.language": "python", "number": 5}])
def test_resources(m, experiment, resource):
    t = trace_id("resource", experiment)
    otlp(m, experiment, [span(t, 1), span(t, 2, parent=1)], resource)
    read(m, t)


def test_encodings(m, experiment):
    for number, (encode, headers) in enumerate([
        (lambda body: body, {}), (gzip.compress, {"Content-Encoding": "gzip"}), (zlib.compress, {"Content-Encoding": "deflate"}), (lambda body: zlib.compress(body)[2:-4], {"Content-Encoding": "deflate"}), (gzip.compress, {"Content-Encoding": "GZIP"}),
        (lambda body: body, {"Content-Encoding": "gzip"}), (lambda body: body, {"Content-Encoding": "br"}), (lambda body: body, {"Content-Encoding": "identity"}), (lambda body: gzip.compress(body)[:-9], {"Content-Encoding": "gzip"}),
    ]):
        for kind, content_type in (("protobuf", "application/x-protobuf"), ("json", "application/json"), ("json", "application/json; charset=utf-8"), ("json", "text/plain"), ("protobuf", "application/octet-stream")):
            t = trace_id("encoding", experiment, number, content_type)
            request = export([span(t, 1, attributes={"a": 1, "b": [1.5, "x"]}, events=[{}]), span(t, 2, parent=1)])
            body = request.SerializeToString() if kind == "protobuf" else as_json(request)
            m.call("POST", "/v1/traces", body=encode(body), headers={"Content-Type": content_type, "X-Mlflow-Experiment-Id": experiment, **headers})
            read(m, t)


def test_what_is_no_export(m, experiment):
    good = {**OTLP, "X-Mlflow-Experiment-Id": experiment}
    one = export([span(trace_id("not", experiment), 1)]).SerializeToString()
    for body in (b"", b"rubbish", b"\x00", one[:-3], b"\xff" * 50, export([]).SerializeToString()):
        m.call("POST", "/v1/traces", body=body, headers=good)
    for body in ('{"resourceSpans": []}', "{}", "[]", "{", '{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}', '{"resourceSpans": 5}', '{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "00", "spanId": "01", "name": "short"}]}]}]}'):
        m.call("POST", "/v1/traces", body=body.encode(), headers={**good, "Content-Type": "application/json"})
    m.call("POST", "/v1/traces", body=one, headers=OTLP)
    m.call("POST", "/v1/traces", body=one, headers={"X-Mlflow-Experiment-Id": experiment})
    for unknown in ("", "999999", "abc", "-1", "1.0"):
        m.call("POST", "/v1/traces", body=one, headers={**OTLP, "X-Mlflow-Experiment-Id": unknown})
    m.call("GET", "/v1/traces")
    zero = span("tr-" + "0" * 32, 1)
    otlp(m, experiment, [zero])
    short = span(trace_id("short", experiment), 1)
    short.span_id = b"\x01"
    otlp(m, experiment, [short])
    short.trace_id = b"\x01"
    otlp(m, experiment, [short])
    short.ClearField("trace_id")
    otlp(m, experiment, [short])


def test_several_traces_in_one_export(m, experiment):
    traces = [trace_id("many", experiment, number) for number in range(4)]
    otlp(m, experiment, [span(t, number + 1, parent=number if number else None, at=number) for number in range(3) for t in traces])
    m.get(f"{V3}/batchGet", trace_ids=traces)


def test_a_run_by_header(m, experiment):
    run = m.post("runs/create", experiment_id=experiment, start_time=1, run_name="by header")["run"]["info"]["run_id"]
    for number, header in enumerate([run, "f" * 32, "", "nobody"]):
        t = trace_id("header", experiment, number)
        otlp(m, experiment, [span(t, 1)], headers={"X-Mlflow-Run-Id": header})
        if not m.parted:
            read(m, t)
    m.post(f"{V3}/search", locations=[{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}], filter=f"attributes.run_id = '{run}'")


def test_a_trace_that_grows(m, experiment):
    t = trace_id("grows", experiment)
    start(m, t, experiment, state="IN_PROGRESS", execution_duration=None)
    for number in range(1, 5):
        otlp(m, experiment, [span(t, number, parent=1 if number > 1 else None, at=number * 10, takes=number * 1000)])
        read(m, t)
    otlp(m, experiment, [span(t, 2, parent=1, name="renamed", at=20)])
    read(m, t)


def test_a_trace_of_another_experiment_gets_spans(m, experiment, tag):
    other = m.post("experiments/create", name=f"foreign {experiment} {tag}")["experiment_id"]
    t = trace_id("foreign", experiment)
    otlp(m, experiment, [span(t, 1)])
    otlp(m, other, [span(t, 2, parent=1)])
    read(m, t)
