"""The grammar of trace searches, orders, pages; and what is counted over traces."""

import json

import pytest

from inputs import abuse
from material import otlp, span, start, trace_id

V3 = "/api/3.0/mlflow/traces"


@pytest.fixture(scope="module")
def shelf(both, tag):
    """Twelve traces with all that a filter can ask for, some of it missing here and there."""
    m = both
    e = m.post("experiments/create", name=f"trace-shelf-{tag}")["experiment_id"]
    run = m.post("runs/create", experiment_id=e, start_time=1, run_name="shelf")["run"]["info"]["run_id"]
    name = f"shelf-prompt-{tag}"
    m.post("registered-models/create", name=name, tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}])
    m.post("model-versions/create", name=name, source="dummy-source", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}, {"key": "mlflow.prompt.text", "value": "hello"}])
    for number in range(12):
        t = trace_id("shelf", tag, number)
        tags = {} if number == 4 else {"team": ["red", "Red", "blue"][number % 3], "with.dot": "1", "odd key/x": f"it's {number}", "mlflow.traceName": ["chat", "Chat", "search"][number % 3]}
        metadata = {} if number == 5 else {"mlflow.trace.session": f"s{number % 4}", "mlflow.trace.user": "ann", "note": "50%_off" if number % 2 else "none"}
        if number % 6 == 0:
            metadata["mlflow.sourceRun"] = run
        if number % 3:
            metadata["mlflow.trace.tokenUsage"] = json.dumps({"input_tokens": number, "output_tokens": number * 2, "total_tokens": number * 3})
        start(m, t, e, request_time=f"2023-01-01T00:00:{number:02}Z", execution_duration=None if number == 7 else f"{(number * 7) % 5}s", state=["OK", "ERROR", "IN_PROGRESS"][number % 3], tags=tags, metadata=metadata, client_request_id=None if number % 2 else f"client-{number}", request_preview=f"question {number}", response_preview="answer")
        if number != 8:
            otlp(m, e, [
                span(t, 1, name="root", attributes={"mlflow.spanType": '"AGENT"', "mlflow.spanInputs": json.dumps({"question": f"what is {number}? 100% \\ \"quoted\""})}),
                span(t, 2, parent=1, name=["look_up", "Generate"][number % 2], at=5, takes=number * 100, status=["OK", "ERROR", "UNSET"][number % 3], attributes={"mlflow.spanType": '"TOOL"', "model": f"m{number % 2}", "count": number, "deep": {"a": 1}, "mlflow.llm.model": f'"m{number % 2}"', "mlflow.llm.provider": '"p"', "mlflow.llm.cost": json.dumps({"input_cost": number / 4, "output_cost": 0.5, "total_cost": number / 4 + 0.5})}),
            ])
        when = {"create_time": "2023-01-01T00:00:00Z", "last_update_time": "2023-01-01T00:00:00Z"}
        source = {"source_type": "HUMAN", "source_id": "somebody"}
        if number % 4 == 0:
            m.post(f"{V3}/{t}/assessments", assessment={"assessment_name": "quality", "trace_id": t, "source": source, **when, "feedback": {"value": [0.5, "good", True][number // 4]}})
        if number % 4 == 1:
            m.post(f"{V3}/{t}/assessments", assessment={"assessment_name": "score", "trace_id": t, "source": source, **when, "feedback": {"value": number}})
        if number % 5 == 0:
            m.post(f"{V3}/{t}/assessments", assessment={"assessment_name": "expected", "trace_id": t, "source": source, **when, "expectation": {"value": f"e{number}"}})
        if number % 3 == 0:
            m.post("traces/link-prompts", trace_id=t, prompt_versions=[{"name": name, "version": "1"}])
        if number == 2:
            m.post("traces/link-to-run", trace_ids=[t], run_id=run)
    return {"experiment": e, "run": run, "prompt": name, "first": trace_id("shelf", tag, 0)}


FILTERS = [
    "status = 'OK'", "status != 'OK'", "trace.status = 'ERROR'", "attributes.status IN ('OK', 'ERROR')", "status NOT IN ('OK')", "status = 'bogus'", "status = 'ok'", "status LIKE 'E%'", "status ILIKE 'e%'",
    "timestamp_ms > 1672531205000", "timestamp <= 1672531205000", "attributes.timestamp = 1672531203000", "trace.timestamp_ms >= '5'", "timestamp_ms > 1.5", "timestamp_ms LIKE '1%'", "timestamp_ms != 1672531203000", "timestamp_ms IS NULL",
    "execution_time_ms > 1000", "execution_time < 2000", "execution_time_ms = 0", "execution_time_ms != 0", "end_time > 1672531205000", "end_time_ms <= 1672531205000", "trace.end_time_ms != 5",
    "name = 'chat'", "name LIKE 'c%'", "name ILIKE 'c%'", "trace.name = 'Chat'", "name IN ('chat', 'search')", "name NOT IN ('chat')", "name != 'chat'", "attributes.name RLIKE '^c'", "name RLIKE '['", "name IS NULL",
    "tags.team = 'red'", "tag.team = 'red'", "tags.team != 'red'", "tags.team LIKE '%e%'", "tags.team ILIKE 'RED'", "tags.team RLIKE 'r.d'", "tags.team IS NULL", "tags.team IS NOT NULL", "tags.team IN ('red')", "tags.`with.dot` = '1'", "tags.with.dot = '1'", "tags.\"odd key/x\" = 'x'", "tags.`odd key/x` LIKE \"it's%\"", "tags.team > 'a'", "tags.team = 5", "tags.missing != 'x'", "tags.missing = 'x'", "tags.mlflow.traceName = 'chat'", "tags.team = ''",
    "metadata.note = 'none'", "request_metadata.note = 'none'", "metadata.note LIKE '50\\%%'", "metadata.note LIKE '50%'", "metadata.note LIKE '%_off'", "metadata.note IS NULL", "metadata.note IS NOT NULL", "metadata.`mlflow.trace.session` = 's1'", "metadata.mlflow.trace.user = 'ann'", "metadata.note RLIKE '[0-9]+'", "metadata.note != 'none'", "metadata.note ILIKE 'NONE'", "metadata.missing = ''",
    "run_id = '{run}'", "attributes.run_id = '{run}'", "run_id != '{run}'", "run_id IN ('{run}')", "run_id LIKE '%'", "prompt = '{prompt}/1'", "prompt = '{prompt}/2'", "prompt = 'rubbish'", "prompt != '{prompt}/1'", "prompt LIKE '{prompt}%'", "prompt IN ('{prompt}/1')",
    "request_id = '{first}'", "trace.request_id != '{first}'", "request_id IN ('{first}')", "request_id NOT IN ('{first}')", "request_id LIKE 'tr-%'", "trace_id = '{first}'", "client_request_id = 'client-2'", "client_request_id LIKE 'client%'", "client_request_id != 'client-2'", "client_request_id IN ('client-2', 'client-4')", "client_request_id IS NULL", "client_request_id ILIKE 'CLIENT-%'",
    "span.name = 'root'", "span.name != 'root'", "span.name LIKE 'l%'", "span.name ILIKE 'g%'", "span.name IN ('root', 'x')", "span.name NOT IN ('root')", "span.name RLIKE '^r'", "span.type = 'TOOL'", "span.type != 'TOOL'", "span.type IN ('TOOL')", "span.status = 'ERROR'", "span.status != 'OK'", "span.content LIKE '%what is 3%'", "span.content ILIKE '%WHAT IS 3%'", "span.content = 'x'", "span.content LIKE '%100\\%%'", "span.content LIKE '%quoted%'",
    "span.attributes.model = 'm1'", "span.attributes.model LIKE 'm%'", "span.attributes.model ILIKE 'M%'", "span.attributes.model != 'm1'", "span.attributes.model IN ('m1')", "span.attributes.model RLIKE 'm[01]'", "span.attributes.count = '3'", "span.attributes.count = 3", "span.attributes.deep LIKE '%a%'", "span.attributes.missing = 'x'", "span.attributes.`model` = 'm0'", "span.attributes = 'x'", "span.bogus = 'x'", "span.name > 'a'", "span.name = 'look_up' AND span.type = 'TOOL'", "span.name = 'root' AND span.type = 'TOOL'", "span.name = 'look_up' AND span.status = 'OK' AND span.attributes.model = 'm0'",
    "text LIKE '%question%'", "trace.text LIKE '%what is 3%'", "trace.text ILIKE '%WHAT%'", "trace.text = 'x'", "trace.text RLIKE 'x'", "attributes.text LIKE '%what%'",
    "feedback.quality = 'good'", "feedback.quality = '0.5'", "feedback.quality = 0.5", "feedback.quality = 'true'", "feedback.quality = true", "feedback.quality = 'True'", "feedback.quality != 'good'", "feedback.quality LIKE 'g%'", "feedback.quality ILIKE 'G%'", "feedback.quality RLIKE 'g'", "feedback.quality IS NULL", "feedback.quality IS NOT NULL", "feedback.score > 3", "feedback.score <= '5'", "feedback.score >= 5.0", "feedback.score > 'x'", "feedback.score = 5", "feedback.score = '5'", "feedback.missing = 'x'", "feedback.`quality` = 'good'",
    "expectation.expected = 'e5'", "expectation.expected LIKE 'e%'", "expectation.expected IS NULL", "expectation.expected IS NOT NULL", "expectation.expected != 'e5'", "assessment.quality = 'good'", "issue.id = 'x'", "issue.name = 'x'", "issue.id != 'x'",
    "status = 'OK' AND tags.team = 'red'", "status = 'OK' and tags.team = 'red' and timestamp_ms > 5", "status = 'OK' OR status = 'ERROR'", "NOT status = 'OK'", "(status = 'OK')", "tags.team = 'red' AND tags.`with.dot` = '1'", "tags.team = 'red' AND tags.team = 'blue'", "feedback.quality = 'good' AND span.type = 'TOOL' AND metadata.note = 'none'",
    "", " ", "status", "status =", "= 'OK'", "status == 'OK'", "status <> 'OK'", "status = OK", "status = \"OK\"", "status = 'OK' AND", "AND status = 'OK'", "bogus = 'x'", "bogus.key = 'x'", "attributes.bogus = 'x'", "tags = 'x'", "tags. = 'x'", "status = 'unclosed", "status = 'it''s'", "status = 'OK';", "status = 'OK' -- comment", "status IN ()", "status IN 'OK'", "status IN ('OK'", "status IN ('OK', 5)", "STATUS = 'OK'", "Tags.team = 'red'", "status IS NULL", "status BETWEEN 'A' AND 'Z'", "timestamp_ms > 5 AND timestamp_ms < 1672531204000", "tags.team LIKE 5", "experiment_id = '1'", "status='OK'AND tags.team='red'", "status  =  'OK'", "tags.team = 'ü🚀'", "tags.team\n=\n'red'",
]
ORDERS = [
    [], ["timestamp_ms"], ["timestamp_ms ASC"], ["timestamp DESC"], ["attributes.timestamp_ms desc"], ["trace.timestamp ASC"], ["execution_time_ms DESC"], ["execution_time ASC", "timestamp_ms DESC"], ["end_time DESC"], ["end_time_ms"], ["status", "timestamp_ms"], ["status DESC"], ["name", "timestamp_ms"], ["name DESC"], ["run_id"], ["experiment_id", "timestamp"], ["request_id"], ["request_id DESC"],
    ["tags.team"], ["tags.team DESC", "timestamp_ms ASC"], ["tag.`odd key/x` ASC"], ["tags.missing"], ["metadata.note"], ["metadata.`mlflow.trace.session` DESC", "timestamp"], ["request_metadata.note DESC"], ["span.name"], ["feedback.quality"], ["prompt"], ["text"], ["client_request_id"],
    ["bogus"], ["bogus.x"], [""], ["timestamp_ms UP"], ["timestamp_ms ASC ASC"], ["timestamp_ms", "timestamp_ms"], ["timestamp_ms; x"], ["tags"], ["tags."], [5], "timestamp_ms", [None], ["  timestamp_ms   DESC  "], ["TIMESTAMP_MS"],
]


def search(m, shelf, **more):
    place = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": shelf["experiment"]}}]
    return m.post(f"{V3}/search", {"locations": place, **more})


@pytest.mark.parametrize("filter_string", FILTERS)
def test_filters(m, shelf, filter_string):
    for name in ("run", "prompt", "first"):
        filter_string = filter_string.replace("{" + name + "}", shelf[name])
    search(m, shelf, filter=filter_string)
    m.get("traces", experiment_ids=shelf["experiment"], filter=filter_string)


@pytest.mark.parametrize("number", range(len(ORDERS)))
def test_orders(m, shelf, number):
    order = ORDERS[number]
    search(m, shelf, order_by=order)
    if isinstance(order, list) and all(isinstance(part, str) for part in order):
        m.get("traces", experiment_ids=shelf["experiment"], order_by=order)
    token = None
    for _ in range(6):
        page = search(m, shelf, order_by=order, max_results=5, **({"page_token": token} if token else {}))
        token = page["next_page_token"]
        if not token:
            break


def test_pages_with_a_filter(m, shelf):
    for filter_string in ("tags.team LIKE '%e%'", "span.type = 'TOOL'", "feedback.quality IS NULL"):
        token = None
        for _ in range(9):
            page = search(m, shelf, filter=filter_string, max_results=2, **({"page_token": token} if token else {}))
            token = page["next_page_token"]
            if not token:
                break
        token = None
        for _ in range(9):
            page = m.get("traces", {"experiment_ids": shelf["experiment"], "filter": filter_string, "max_results": 2, **({"page_token": token} if token else {})})
            token = page["next_page_token"]
            if not token:
                break


def test_limits_and_places(m, shelf, experiment):
    for limit in (0, -1, 1, 500, 501, 50000, "5", "x", 1.5, None):
        search(m, shelf, max_results=limit)
        m.get("traces", experiment_ids=shelf["experiment"], max_results=limit)
    one = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": shelf["experiment"]}}
    for places in ([], [one, one], [one, {**one, "mlflow_experiment": {"experiment_id": experiment}}], [{**one, "mlflow_experiment": {"experiment_id": "999999"}}], [{}], [{"type": "MLFLOW_EXPERIMENT"}], [{"type": "INFERENCE_TABLE", "inference_table": {"full_table_name": "a.b.c"}}], None, "x", [{**one, "type": "bogus"}], [{"mlflow_experiment": {"experiment_id": shelf["experiment"]}}]):
        m.post(f"{V3}/search", locations=places)
    for ids in ([], [shelf["experiment"], experiment], ["999999"], ["abc"], [shelf["experiment"]] * 2):
        m.get("traces", experiment_ids=ids)
    for token in ("", "rubbish", "eyJvZmZzZXQiOiA0fQ==", "bm90IGpzb24=", 5):
        search(m, shelf, page_token=token, max_results=2)
    abuse(m, "POST", f"{V3}/search", {"locations": [one], "filter": "status = 'OK'", "max_results": 5, "order_by": ["timestamp_ms"]})


def metrics(m, shelf, **fields):
    return m.post(f"{V3}/metrics", {"experiment_ids": [shelf["experiment"]], "view_type": "TRACES", "metric_name": "trace_count", "aggregations": [{"aggregation_type": "COUNT"}], **fields})


NAMES = {
    "TRACES": ["trace_count", "session_count", "latency", "input_tokens", "output_tokens", "total_tokens", "cache_read_input_tokens", "bogus"],
    "SPANS": ["span_count", "latency", "input_cost", "output_cost", "total_cost", "trace_count"],
    "ASSESSMENTS": ["assessment_count", "assessment_value", "latency"],
}
DIMENSIONS = {"TRACES": ["trace_name", "trace_status"], "SPANS": ["span_name", "span_type", "span_status", "span_model_name", "span_model_provider"], "ASSESSMENTS": ["assessment_name", "assessment_value"]}


@pytest.mark.parametrize("view", NAMES)
def test_metrics(m, shelf, view):
    for name in NAMES[view]:
        for kind in ("COUNT", "SUM", "AVG", "MIN", "MAX"):
            metrics(m, shelf, view_type=view, metric_name=name, aggregations=[{"aggregation_type": kind}])
        for percentile in (0, 50, 90, 99.9, 100, 101, -1, None):
            metrics(m, shelf, view_type=view, metric_name=name, aggregations=[{"aggregation_type": "PERCENTILE", "percentile_value": percentile}])
        for dimension in [*DIMENSIONS[view], "bogus"]:
            metrics(m, shelf, view_type=view, metric_name=name, dimensions=[dimension])
        times = {"start_time_ms": 1672531200000, "end_time_ms": 1672531211000}
        metrics(m, shelf, view_type=view, metric_name=name, time_interval_seconds=4, **times)
        metrics(m, shelf, view_type=view, metric_name=name, time_interval_seconds=4)
        metrics(m, shelf, view_type=view, metric_name=name, dimensions=DIMENSIONS[view][:2], time_interval_seconds=4, **times)
        metrics(m, shelf, view_type=view, metric_name=name, aggregations=[{"aggregation_type": "AVG"}, {"aggregation_type": "COUNT"}])


METRIC_FILTERS = ["trace.status = 'OK'", "trace.status != 'OK'", "trace.tag.team = 'red'", "trace.metadata.`mlflow.trace.session` = 's1'", "trace.metadata.note = 'none'", "span.name = 'root'", "span.type = 'TOOL'", "span.status = 'OK'", "assessment.name = 'quality'", "assessment.type = 'feedback'", "status = 'OK'", "bogus", "", "trace.status = 'OK' AND trace.tag.team = 'red'", "trace.bogus = 'x'", "trace.status LIKE 'O%'", "trace.tag.team", 5]


@pytest.mark.parametrize("view", NAMES)
def test_metric_filters(m, shelf, view):
    for one in METRIC_FILTERS:
        metrics(m, shelf, view_type=view, metric_name=NAMES[view][0], filters=[one])
    metrics(m, shelf, view_type=view, metric_name=NAMES[view][0], filters=["trace.status = 'OK'", "trace.tag.team = 'red'"])


def test_metrics_wrong_and_paged(m, shelf):
    for fields in [{"experiment_ids": []}, {"experiment_ids": ["999999"]}, {"view_type": "BOGUS"}, {"view_type": None}, {"aggregations": []}, {"aggregations": [{}]}, {"aggregations": [{"aggregation_type": "BOGUS"}]}, {"time_interval_seconds": 0}, {"time_interval_seconds": -5}, {"start_time_ms": 5, "end_time_ms": 1}, {"max_results": 0}, {"max_results": -1}, {"max_results": 1001}, {"page_token": "rubbish"}]:
        metrics(m, shelf, **fields)
    token = None
    for _ in range(5):
        page = metrics(m, shelf, dimensions=["trace_name", "trace_status"], max_results=2, **({"page_token": token} if token else {}))
        token = page["next_page_token"]
        if not token:
            break
    abuse(m, "POST", f"{V3}/metrics", {"experiment_ids": [shelf["experiment"]], "view_type": "TRACES", "metric_name": "trace_count", "aggregations": [{"aggregation_type": "COUNT"}]})


def test_correlation(m, shelf):
    for one, other in [("status = 'OK'", "tags.team = 'red'"), ("status = 'OK'", "status = 'OK'"), ("status = 'OK'", "status = 'ERROR'"), ("span.type = 'TOOL'", "feedback.quality = 'good'"), ("status = 'x'", "tags.team = 'red'"), ("", "status = 'OK'"), ("bogus", "status = 'OK'")]:
        for base in (None, "timestamp_ms > 1672531202000", "rubbish"):
            m.post(f"{V3}/calculate-filter-correlation", experiment_ids=[shelf["experiment"]], filter_string1=one, filter_string2=other, **({"base_filter": base} if base else {}))
    m.post(f"{V3}/calculate-filter-correlation", experiment_ids=["999999"], filter_string1="status = 'OK'", filter_string2="status = 'OK'")
    abuse(m, "POST", f"{V3}/calculate-filter-correlation", {"experiment_ids": [shelf["experiment"]], "filter_string1": "status = 'OK'", "filter_string2": "status = 'OK'"})
