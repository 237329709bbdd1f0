"""Traces: both protocols' start, end, read, tags, deletion, links."""

import pytest

from inputs import LONG, ODD_TEXTS, UNKNOWN_ID, abuse, abuse_query
from material import info, otlp, span, start, trace_id
from mirror import part

V3 = "/api/3.0/mlflow/traces"


def test_the_three_requests_of_one_trace_in_any_order(m, experiment):
    for number in range(3):
        t = trace_id("order", experiment, number)
        requests = [
            lambda: start(m, t, experiment, tags={"a": "1"}, metadata={"b": "2"}, request_preview="q", response_preview="r"),
            lambda: otlp(m, experiment, [span(t, 1, name="root"), span(t, 2, parent=1, name="child", attributes={"mlflow.spanType": '"TOOL"', "mlflow.spanInputs": '{"x": 1}'})]),
            lambda: m.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/traces/{t}/artifacts/traces.json", body=b'{"spans": []}', headers={"Content-Type": "text/plain"}),
        ]
        for request in requests[number:] + requests[:number]:
            request()
        for request in requests:
            request()
        read_all(m, t, experiment)


def read_all(m, t, experiment):
    m.get(f"{V3}/{t}")
    m.get(f"{V3}/{t}", trace_id=t)
    m.get(f"{V3}/get", trace_id=t)
    m.get(f"{V3}/get", trace_id=t, allow_partial="true")
    m.get(f"{V3}/batchGet", trace_ids=[t])
    m.post(f"{V3}/batchGetInfos", trace_ids=[t])
    m.get(f"/api/2.0/mlflow/traces/{t}/info")
    m.get("/ajax-api/3.0/mlflow/get-trace-artifact", request_id=t)
    m.get("/ajax-api/2.0/mlflow/get-trace-artifact", request_id=t)
    m.post(f"{V3}/search", locations=[{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}])
    m.get("traces", experiment_ids=experiment)


def test_a_trace_without_spans(m, experiment):
    t = trace_id("bare", experiment)
    start(m, t, experiment)
    read_all(m, t, experiment)


def test_spans_without_a_trace(m, experiment):
    t = trace_id("spans", experiment)
    otlp(m, experiment, [span(t, 2, parent=1, name="child first")])
    read_all(m, t, experiment)
    otlp(m, experiment, [span(t, 1, name="root last", status="ERROR", attributes={"mlflow.spanInputs": '"hello"', "mlflow.spanOutputs": '{"a": [1, 2]}', "mlflow.traceTag.x": '"y"'})])
    read_all(m, t, experiment)
    start(m, t, experiment, tags={"late": "1"}, state="ERROR")
    read_all(m, t, experiment)


INFOS = [
    {}, {"tags": {"a": ""}, "trace_metadata": {"b": ""}}, {"request_time": "2023-01-01T00:00:00.123456789Z", "execution_duration": "1.5s"}, {"request_time": "1969-12-31T23:59:59Z"},
    {"execution_duration": "0s"}, {"execution_duration": "-5s"}, {"execution_duration": None}, {"state": "IN_PROGRESS"}, {"state": "ERROR"}, {"state": "STATE_UNSPECIFIED"}, {"state": None}, {"state": "bogus"}, {"state": 1},
    {"client_request_id": "mine"}, {"client_request_id": ""}, {"request_preview": "p" * 5000, "response_preview": "ü"}, {"request_preview": "p" * 60000}, {"request": "old", "response": "older"},
    {"tags": {"mlflow.traceName": "named"}}, {"tags": {"k" * 250: "v"}}, {"tags": {"k" * 251: "v"}}, {"tags": {"k": "v" * 8000}}, {"tags": {"k": "v" * 8001}}, {"tags": {"k": "v" * 100000}}, {"trace_metadata": {"k" * 251: "v"}}, {"trace_metadata": {"k": "v" * 8001}},
    {"trace_metadata": {"mlflow.sourceRun": "nobody"}}, {"trace_metadata": {"mlflow.trace.session": "s1", "mlflow.trace.user": "u"}}, {"trace_metadata": {"mlflow.trace.tokenUsage": '{"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}'}},
    {"trace_metadata": {"mlflow.trace.tokenUsage": "rubbish"}}, {"trace_metadata": {"mlflow.trace.cost": '{"input_cost": 0.5, "total_cost": 1}'}}, {"tags": {"mlflow.artifactLocation": "s3://elsewhere"}}, {"tags": {"mlflow.trace.spansLocation": "TRACKING_STORE"}},
    {"assessments": [{"assessment_name": "said twice", "source": {"source_type": "HUMAN", "source_id": "me"}, "create_time": "2023-01-01T00:00:00Z", "last_update_time": "2023-01-01T00:00:00Z", "feedback": {"value": 1}}]},
    {"trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "999999"}}}, {"trace_location": {"type": "MLFLOW_EXPERIMENT"}}, {"trace_location": {}}, {"trace_location": None}, {"trace_location": {"type": "INFERENCE_TABLE", "inference_table": {"full_table_name": "a.b.c"}}},
    {"request_time": None}, {"request_time": "yesterday"}, {"request_time": 5}, {"tags": [{"key": "a", "value": "b"}]}, {"tags": {"a": 1}}, {"tags": None}, {"tags": []}, {"trace_metadata": "x"}, {"bogus": 1}, {"tags": {"": "v"}}, {"tags": {"a/b c": "v", "ü✓": "🚀"}},
]


@pytest.mark.parametrize("number", range(len(INFOS)))
def test_starting_a_trace(m, experiment, number):
    t = trace_id("info", experiment, number)
    start(m, t, experiment, **INFOS[number])
    if m.parted:
        return
    read_all(m, t, experiment)
    start(m, t, experiment, **INFOS[number])
    start(m, t, experiment, state="OK", tags={"second": "1"}, trace_metadata={"second": "2"}, execution_duration="9s", request_preview="second")
    m.get(f"{V3}/{t}")


IDS = ["tr-" + "A" * 32, "tr-xyz", "", "x", UNKNOWN_ID, "tr-" + "0" * 31 + "f", "tr-" + "ab" * 60, "trace:/a.b.c/0123456789abcdef", "ü", "a b", None, 5]


@pytest.mark.parametrize("number", range(len(IDS)))
def test_odd_trace_ids(m, experiment, number):
    start(m, IDS[number], experiment)
    if isinstance(IDS[number], str):
        m.get(f"{V3}/{part(IDS[number])}")
        m.get(f"{V3}/get", trace_id=IDS[number])


def test_wrong_bodies(m, experiment):
    abuse(m, "POST", V3, {"trace": {"trace_info": info(trace_id("wrong", experiment), experiment)}})
    m.post(V3, trace={})
    m.post(V3, trace={"trace_info": {}})
    m.post(V3, trace={"trace_info": {"trace_id": trace_id("little", experiment)}})


def test_a_trace_of_another_experiment_is_started_again(m, experiment, tag):
    other = m.post("experiments/create", name=f"other {experiment} {tag}")["experiment_id"]
    t = trace_id("moved", experiment)
    start(m, t, experiment)
    start(m, t, other)
    if not m.parted:
        m.get(f"{V3}/{t}")


def test_deleted_experiments(m, experiment):
    t = trace_id("gone", experiment)
    start(m, t, experiment)
    m.post("experiments/delete", experiment_id=experiment)
    start(m, trace_id("late", experiment), experiment)
    otlp(m, experiment, [span(trace_id("later", experiment), 1)])
    read_all(m, t, experiment)


def test_protocol_2(m, experiment):
    good = {"experiment_id": experiment, "timestamp_ms": 1000, "request_metadata": [{"key": "a", "value": "1"}], "tags": [{"key": "t", "value": "x"}]}
    t = m.post("traces", good)["trace_info"]["request_id"]
    m.get(f"traces/{t}/info")
    m.get(f"{V3}/{t}")
    m.patch(f"traces/{t}", request_id=t, timestamp_ms=1500, status="OK", request_metadata=[{"key": "b", "value": "2"}], tags=[{"key": "t", "value": "y"}])
    m.patch(f"traces/{t}", request_id=t, timestamp_ms=500, status="ERROR")
    read_all(m, t, experiment)
    m.patch(f"traces/{t}/tags", key="k", value="v")
    m.delete(f"traces/{t}/tags", key="k")
    m.delete(f"traces/{t}/tags", key="k")
    abuse(m, "POST", "traces", good)
    abuse(m, "PATCH", f"traces/{t}", {"timestamp_ms": 1500, "status": "OK", "request_metadata": [], "tags": []})
    m.patch(f"traces/{UNKNOWN_ID}", timestamp_ms=1500, status="OK")
    m.get(f"traces/{UNKNOWN_ID}/info")
    m.post("traces/delete-traces", experiment_id=experiment, request_ids=[t])
    m.get(f"traces/{t}/info")


@pytest.fixture
def trace(m, experiment):
    t = trace_id("mine", experiment)
    start(m, t, experiment, tags={"a": "1"})
    otlp(m, experiment, [span(t, 1)])
    return t


def test_tags(m, trace):
    path = f"{V3}/{trace}/tags"
    for key in [*ODD_TEXTS, "a/b", "a b", "k" * 250, "k" * 251, LONG, "mlflow.traceName", "mlflow.note"]:
        m.patch(path, key=key, value="v")
        m.delete(path, key=key)
    for value in [*ODD_TEXTS, "v" * 5000, "v" * 8000, "v" * 8001, "v" * 100000]:
        m.patch(path, key="value", value=value)
    m.get(f"{V3}/{trace}")
    abuse(m, "PATCH", path, {"key": "k", "value": "v"})
    abuse(m, "DELETE", path, {"key": "a"})
    for unknown in ("tr-" + "1" * 32, UNKNOWN_ID):
        m.patch(f"{V3}/{unknown}/tags", key="k", value="v")
        m.delete(f"{V3}/{unknown}/tags", key="k")
        m.patch(f"/api/2.0/mlflow/traces/{unknown}/tags", key="k", value="v")
    m.get(f"{V3}/{trace}")


def test_reading_what_is_not_there(m, experiment, trace):
    for unknown in ("tr-" + "1" * 32, UNKNOWN_ID):
        read_all(m, unknown, experiment)
    m.get(f"{V3}/batchGet", trace_ids=[trace, "tr-" + "1" * 32, trace])
    m.post(f"{V3}/batchGetInfos", trace_ids=[trace, "tr-" + "1" * 32, trace])
    for query in ({}, {"trace_ids": ""}, {"trace_ids": [f"tr-{n:032x}" for n in range(4096, 4197)]}):
        m.get(f"{V3}/batchGet", query)
        m.post(f"{V3}/batchGetInfos", query)
    abuse(m, "POST", f"{V3}/batchGetInfos", {"trace_ids": [trace]})
    abuse_query(m, f"{V3}/get", {"trace_id": trace, "allow_partial": "false"})
    abuse_query(m, "/ajax-api/3.0/mlflow/get-trace-artifact", {"request_id": trace})


def test_several_at_once_come_in_the_order_asked(m, experiment):
    traces = [trace_id("several", experiment, number) for number in range(5)]
    for number, t in enumerate(traces):
        start(m, t, experiment, request_time=f"2023-01-01T00:00:0{number}Z")
        otlp(m, experiment, [span(t, 1), span(t, 2, parent=1)])
    for asked in (traces, traces[::-1], traces[2:] + traces[:2]):
        m.get(f"{V3}/batchGet", trace_ids=asked)
        m.post(f"{V3}/batchGetInfos", trace_ids=asked)


def test_deletion(m, experiment, tag):
    traces = [trace_id("doomed", experiment, number) for number in range(10)]
    for number, t in enumerate(traces):
        start(m, t, experiment, request_time=f"2023-01-01T00:00:{number:02}Z")
        otlp(m, experiment, [span(t, 1)])
    other = m.post("experiments/create", name=f"bystander {experiment} {tag}")["experiment_id"]
    for body in [
        {"experiment_id": experiment, "request_ids": traces[:2]}, {"experiment_id": experiment, "request_ids": traces[:2]}, {"experiment_id": other, "request_ids": traces[2:3]}, {"experiment_id": experiment, "request_ids": []},
        {"experiment_id": experiment}, {"request_ids": traces[3:4]}, {"experiment_id": experiment, "max_timestamp_millis": 1672531203000}, {"experiment_id": experiment, "max_timestamp_millis": 1672531209000, "max_traces": 2},
        {"experiment_id": experiment, "max_traces": 1}, {"experiment_id": experiment, "max_timestamp_millis": 1672531209000, "request_ids": traces[8:]}, {"experiment_id": experiment, "max_timestamp_millis": 5, "max_traces": 0},
        {"experiment_id": experiment, "max_timestamp_millis": 1672531209000, "max_traces": -1}, {"experiment_id": "999999", "request_ids": traces[8:]}, {"experiment_id": "999999", "max_timestamp_millis": 5},
    ]:
        m.post(f"{V3}/delete-traces", body)
        m.post("traces/delete-traces", body)
        m.post(f"{V3}/batchGetInfos", trace_ids=traces)
    abuse(m, "POST", f"{V3}/delete-traces", {"experiment_id": other, "max_timestamp_millis": 5, "max_traces": 1})


def test_links(m, experiment, trace, tag):
    run = m.post("runs/create", experiment_id=experiment, start_time=1, run_name="linked")["run"]["info"]["run_id"]
    m.post("traces/link-to-run", trace_ids=[trace], run_id=run)
    m.post("traces/link-to-run", trace_ids=[trace], run_id=run)
    m.post(f"{V3}/search", locations=[{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}], filter=f"attributes.run_id = '{run}'")
    for body in ({"trace_ids": [], "run_id": run}, {"trace_ids": [trace], "run_id": UNKNOWN_ID}, {"trace_ids": ["tr-" + "1" * 32], "run_id": run}, {"trace_ids": [f"tr-{n:032x}" for n in range(4096, 4197)], "run_id": run}):
        m.post("traces/link-to-run", body)
    abuse(m, "POST", "traces/link-to-run", {"trace_ids": [trace], "run_id": run})
    name = f"linked-prompt-{experiment}-{tag}"
    m.post("registered-models/create", name=name, tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}])
    m.post("model-versions/create", name=name, source="dummy-source", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}, {"key": "mlflow.prompt.text", "value": "hello {{x}}"}])
    m.post("traces/link-prompts", trace_id=trace, prompt_versions=[{"name": name, "version": "1"}])
    m.post("traces/link-prompts", trace_id=trace, prompt_versions=[{"name": name, "version": "1"}, {"name": "nobody", "version": "7"}])
    m.get(f"{V3}/{trace}")
    m.post(f"{V3}/search", locations=[{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}], filter=f"prompt = '{name}/1'")
    for body in ({"trace_id": "tr-" + "1" * 32, "prompt_versions": [{"name": name, "version": "1"}]}, {"trace_id": trace, "prompt_versions": []}, {"trace_id": trace, "prompt_versions": [{}]}, {"trace_id": trace, "prompt_versions": [{"name": name, "version": "x"}]}):
        m.post("traces/link-prompts", body)
    abuse(m, "POST", "traces/link-prompts", {"trace_id": trace, "prompt_versions": [{"name": name, "version": "1"}]})
