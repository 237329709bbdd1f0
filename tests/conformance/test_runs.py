"""Runs: their life, metrics, parameters, tags, batches, inputs, search."""

import pytest

from inputs import LONG, ODD_TEXTS, UNKNOWN_ID, abuse, abuse_query


@pytest.fixture
def run(m, experiment):
    return m.post("runs/create", experiment_id=experiment, start_time=1000, run_name="mine", user_id="u", tags=[{"key": "t", "value": "1"}])["run"]["info"]["run_id"]


def test_a_whole_life(m, experiment, run):
    m.get("runs/get", run_id=run)
    m.post("runs/log-metric", run_id=run, key="loss", value=0.5, timestamp=10, step=1)
    m.post("runs/log-metric", run_id=run, key="loss", value=0.25, timestamp=20, step=2)
    m.post("runs/log-metric", run_id=run, key="loss", value=0.25, timestamp=20, step=2)
    m.post("runs/log-metric", run_id=run, key="loss", value=9, timestamp=15, step=1)
    m.post("runs/log-parameter", run_id=run, key="epochs", value="3")
    m.post("runs/log-parameter", run_id=run, key="epochs", value="3")
    m.post("runs/log-parameter", run_id=run, key="epochs", value="4")
    m.post("runs/set-tag", run_id=run, key="stage", value="test")
    m.post("runs/set-tag", run_id=run, key="mlflow.runName", value="renamed by tag")
    m.get("runs/get", run_id=run)
    m.post("runs/delete-tag", run_id=run, key="stage")
    m.post("runs/delete-tag", run_id=run, key="stage")
    m.post("runs/update", run_id=run, status="FINISHED", end_time=2000, run_name="later")
    m.get("runs/get", run_uuid=run)
    m.get("metrics/get-history", run_id=run, metric_key="loss")
    m.get("metrics/get-history", run_id=run, metric_key="loss", max_results=1)
    m.get("metrics/get-history", run_id=run, metric_key="none")
    m.post("runs/delete", run_id=run)
    m.get("runs/get", run_id=run)
    m.post("runs/delete", run_id=run)
    m.post("runs/set-tag", run_id=run, key="a", value="b")
    m.post("runs/log-metric", run_id=run, key="a", value=1, timestamp=1)
    m.post("runs/log-parameter", run_id=run, key="a", value="1")
    m.post("runs/update", run_id=run, status="RUNNING")
    m.post("runs/delete-tag", run_id=run, key="t")
    m.post("runs/log-batch", run_id=run, tags=[{"key": "x", "value": "y"}])
    m.post("runs/restore", run_id=run)
    m.post("runs/restore", run_id=run)
    m.get("runs/get", run_id=run)


CALLS = {
    "create": lambda e, r: {"experiment_id": e, "user_id": "u", "run_name": "n", "start_time": 5, "tags": [{"key": "a", "value": "b"}]},
    "update": lambda e, r: {"run_id": r, "status": "FAILED", "end_time": 7, "run_name": "n"},
    "delete": lambda e, r: {"run_id": UNKNOWN_ID},
    "restore": lambda e, r: {"run_id": r},
    "log-metric": lambda e, r: {"run_id": r, "key": "k", "value": 1.5, "timestamp": 3, "step": 1},
    "log-parameter": lambda e, r: {"run_id": r, "key": "k", "value": "v"},
    "set-tag": lambda e, r: {"run_id": r, "key": "k", "value": "v"},
    "delete-tag": lambda e, r: {"run_id": r, "key": "t"},
    "log-batch": lambda e, r: {"run_id": r, "metrics": [{"key": "m", "value": 1, "timestamp": 2, "step": 0}], "params": [{"key": "p", "value": "1"}], "tags": [{"key": "t", "value": "1"}]},
    "log-inputs": lambda e, r: {"run_id": r, "datasets": [{"dataset": {"name": "d", "digest": "1", "source_type": "s", "source": "x"}, "tags": []}]},
    "outputs": lambda e, r: {"run_id": r, "models": []},
    "log-model": lambda e, r: {"run_id": r, "model_json": '{"artifact_path": "a", "flavors": {}, "utc_time_created": "x", "run_id": "' + r + '"}'},
    "search": lambda e, r: {"experiment_ids": [e], "filter": "", "run_view_type": "ALL", "max_results": 5, "order_by": ["start_time"]},
}


@pytest.mark.parametrize("path", CALLS)
def test_wrong_input(m, experiment, run, path):
    good = CALLS[path](experiment, run)
    # What has no id or no name MLflow keeps as an input or output with an empty one.
    kept = path in ("log-inputs", "outputs")
    abuse(m, "POST", f"runs/{path}", good)
    if "run_id" in good:
        for unknown in (UNKNOWN_ID, "no-such-run", "x" * 33, "ABC"):
            m.post(f"runs/{path}", {**good, "run_id": unknown})
        m.post(f"runs/{path}", {**{k: v for k, v in good.items() if k != "run_id"}, "run_uuid": run})
    if not kept:
        m.get("runs/get", run_id=run)


def test_wrong_queries(m, run):
    abuse_query(m, "runs/get", {"run_id": run})
    abuse_query(m, "metrics/get-history", {"run_id": run, "metric_key": "loss", "max_results": "5", "page_token": ""})
    abuse_query(m, "metrics/get-history-bulk-interval", {"run_ids": run, "metric_key": "loss", "start_step": "0", "end_step": "5", "max_results": "5"})
    abuse_query(m, "/ajax-api/2.0/mlflow/metrics/get-history-bulk", {"run_id": run, "metric_key": "loss", "max_results": "5"})


def test_odd_creations(m, experiment):
    made = []
    bodies = [
        {}, {"run_name": ""}, {"run_name": "a", "tags": [{"key": "mlflow.runName", "value": "a"}]}, {"run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]},
        {"tags": [{"key": "mlflow.runName", "value": "tagged"}]}, {"start_time": -1}, {"start_time": 2**62}, {"start_time": "77"}, {"user_id": "x" * 300},
        {"run_name": "n" * 300}, {"tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}, {"tags": [{"key": "mlflow.user", "value": "somebody"}]},
        {"tags": [{"key": "", "value": "1"}]}, {"tags": [{"value": "1"}]}, {"tags": [{"key": "a"}]}, {"tags": [{"key": "k" * 251, "value": "1"}]}, {"tags": [{"key": "a", "value": "v" * 8001}]},
    ]
    for body in bodies:
        run = m.post("runs/create", {"experiment_id": experiment, "start_time": 3, "run_name": "given", **body})
        if run.status == 200 and not m.parted:
            m.get("runs/get", run_id=run["run"]["info"]["run_id"])
    m.post("runs/create", {"start_time": 1, "run_name": "default experiment"})


NUMBERS = [0, -0.0, 1e308, -1e308, 1e-320, "NaN", "Infinity", "-Infinity", "1.5", 2**53 + 1, 1.7976931348623157e308, 123456789.123456789, 0.1]


def test_what_is_no_number(m, elsewhere):
    run = m.post("runs/create", experiment_id=elsewhere, start_time=1)["run"]["info"]["run_id"]
    for value in ("nan", "x", "", [], {}, True, None):
        m.post("runs/log-metric", run_id=run, key="v", value=value, timestamp=5)
        m.post("runs/log-batch", run_id=run, metrics=[{"key": "b", "value": value, "timestamp": 5, "step": 1}])
    for number in (1.5, 2**63, None, "x"):
        m.post("runs/log-metric", run_id=run, key="step", value=1, timestamp=5, step=number)
        m.post("runs/log-metric", run_id=run, key="time", value=1, timestamp=number)
    m.post("runs/log-parameter", run_id=run, key="p", value="a\u0000b")
    m.post("runs/set-tag", run_id=run, key="t", value="a\u0000b")


def test_metric_values(m, run):
    for number, value in enumerate(NUMBERS):
        m.post("runs/log-metric", run_id=run, key=f"v{number}", value=value, timestamp=5)
        m.get("metrics/get-history", run_id=run, metric_key=f"v{number}")
        m.post("runs/log-batch", run_id=run, metrics=[{"key": f"b{number}", "value": value, "timestamp": 5, "step": number}])
    m.get("runs/get", run_id=run)
    for step in (-5, 0, 3, "3", 2**63 - 1):
        m.post("runs/log-metric", run_id=run, key="step", value=1, timestamp=5, step=step)
    for timestamp in (-5, 0, 3, "3", 2**63 - 1):
        m.post("runs/log-metric", run_id=run, key="time", value=1, timestamp=timestamp)
    m.get("runs/get", run_id=run)
    for key in [*ODD_TEXTS, "a/b", "a//b", "/a", ".", "a..b", "k" * 250, "k" * 251, LONG, "a b", "a:b", "a@b"]:
        m.post("runs/log-metric", run_id=run, key=key, value=1, timestamp=5)
        m.post("runs/log-parameter", run_id=run, key=key, value="x")
        m.post("runs/set-tag", run_id=run, key=key, value="x")
        m.get("metrics/get-history", run_id=run, metric_key=key)
    for value in [*(text for text in ODD_TEXTS if "\0" not in text), "v" * 6000, "v" * 6001, "v" * 8000, "v" * 8001]:
        m.post("runs/log-parameter", run_id=run, key=f"p{len(value)}", value=value)
        m.post("runs/set-tag", run_id=run, key=f"t{len(value)}", value=value)
    m.get("runs/get", run_id=run)


def test_batches(m, run):
    metric = {"key": "m", "value": 1, "timestamp": 1, "step": 0}
    param = {"key": "p", "value": "1"}
    for body in [
        {}, {"metrics": [metric, metric]}, {"params": [param, param]}, {"params": [param, {"key": "p", "value": "2"}]}, {"tags": [{"key": "t", "value": "1"}, {"key": "t", "value": "2"}]},
        {"metrics": [{**metric, "key": f"m{n}"} for n in range(1000)]}, {"metrics": [{**metric, "key": f"m{n}"} for n in range(1001)]},
        {"params": [{"key": f"p{n}", "value": "1"} for n in range(100)]}, {"params": [{"key": f"p{n}", "value": "1"} for n in range(101)]},
        {"tags": [{"key": f"t{n}", "value": "1"} for n in range(100)]}, {"tags": [{"key": f"t{n}", "value": "1"} for n in range(101)]},
        {"metrics": [{**metric, "key": f"m{n}"} for n in range(950)], "params": [{"key": f"p{n}", "value": "1"} for n in range(51)]},
        {"metrics": [{"key": "m"}]}, {"metrics": [{"value": 1}]}, {"metrics": [{"key": "m", "value": 1}]}, {"params": [{"key": "p"}]}, {"params": [{}]}, {"tags": [{}]}, {"tags": ["x"]}, {"metrics": [5]},
        {"metrics": [metric, {**metric, "key": ""}]}, {"params": [{"key": "new", "value": "1"}, {"key": "p0", "value": "changed"}]},
        {"metrics": [{**metric, "run_id": UNKNOWN_ID}]}, {"metrics": [{**metric, "dataset_name": "d", "dataset_digest": "1", "model_id": "m-1"}]},
    ]:
        m.post("runs/log-batch", {"run_id": run, **body})
    m.get("runs/get", run_id=run)


def test_inputs_and_outputs(m, experiment, elsewhere, run):
    dataset = {"name": "d", "digest": "1", "source_type": "local", "source": "{}", "schema": "{}", "profile": "{}"}
    model = m.post("logged-models", experiment_id=experiment, name="input")["model"]["info"]["model_id"]
    for body in [
        {"datasets": [{"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": "train"}]}]},
        {"datasets": [{"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": "again"}]}]},
        {"datasets": [{"dataset": {**dataset, "digest": "2"}}, {"dataset": {**dataset, "digest": "2"}}]},
        {"datasets": [{"dataset": {"name": "d"}}]}, {"datasets": [{}]}, {"datasets": [{"dataset": {**dataset, "name": ""}}]}, {"datasets": [{"dataset": {**dataset, "name": "n" * 501}}]},
        {"datasets": [{"dataset": {**dataset, "digest": "n" * 37}}]}, {"datasets": [{"dataset": {**dataset, "schema": "s" * 70000}}]},
        {"datasets": [{"dataset": dataset, "tags": [{"key": "k" * 256, "value": "v"}]}]}, {"datasets": [{"dataset": dataset, "tags": [{"key": "k", "value": "v" * 501}]}]},
        {"models": [{"model_id": model}]},
    ]:
        m.post("runs/log-inputs", {"run_id": run, **body})
        m.get("runs/get", run_id=run)
    strange = m.post("runs/create", experiment_id=elsewhere, start_time=1)["run"]["info"]["run_id"]
    for body in ({"models": [{"model_id": "m-nobody", "step": 1}]}, {"models": [{}]}):
        m.post("runs/log-inputs", {"run_id": strange, **body})
        m.post("runs/outputs", {"run_id": strange, **body})
    for body in ({"models": [{"model_id": model, "step": 1}]}, {"models": [{"model_id": model, "step": 2}]}):
        m.post("runs/outputs", {"run_id": run, **body})
        m.get("runs/get", run_id=run)
    m.post("/ajax-api/2.0/mlflow/experiments/search-datasets", experiment_ids=[experiment])
    m.post("/ajax-api/2.0/mlflow/experiments/search-datasets", experiment_ids=[])
    m.post("/ajax-api/2.0/mlflow/experiments/search-datasets", experiment_ids=["999999"])
    m.post("/api/2.0mlflow/experiments/search-datasets", experiment_ids=[experiment])
    m.post("runs/search", experiment_ids=[experiment], filter="dataset.name = 'd'")
    m.post("runs/search", experiment_ids=[experiment], filter="datasets.digest LIKE '%'")
    m.post("runs/search", experiment_ids=[experiment], filter="dataset.context = 'train'")


@pytest.fixture(scope="module")
def shelf(both, tag):
    """Runs to be found, with values that tie and some that are missing."""
    e = both.post("experiments/create", name=f"runs-shelf-{tag}")["experiment_id"]
    for number in range(8):
        run = both.post("runs/create", experiment_id=e, start_time=1000 + number, run_name=f"Run {'aAbB'[number % 4]}{number}", user_id="one" if both.second.stamps else f"user{number % 2}")["run"]["info"]["run_id"]
        both.post(
            "runs/log-batch", run_id=run,
            metrics=[{"key": "loss", "value": value, "timestamp": 5, "step": 0} for value in [[0.5, 0.25, "NaN", "Infinity", 0.5, "-Infinity", 1, 2][number]]] if number != 6 else [],
            params=[{"key": "p", "value": str(number % 3)}, {"key": "odd key/x", "value": "yes"}] if number != 5 else [],
            tags=[{"key": "team", "value": ["red", "Red", "blue"][number % 3]}, {"key": "with.dot", "value": "1"}] if number != 4 else [],
        )
        if number % 3 == 0:
            both.post("runs/update", run_id=run, status="FINISHED", end_time=5000 - number)
        if number == 7:
            both.post("runs/delete", run_id=run)
    return e


FILTERS = [
    "metrics.loss > 0.3", "metrics.loss = 0.5", "metrics.loss != 0.5", "metrics.loss <= 1e10", "metric.loss < 1", "metrics.none > 0", "metrics.loss > 'x'", "metrics.loss LIKE '1'",
    "metrics.loss > -1", "metrics.`loss` > .3", "params.p = '1'", "params.p != '1'", "params.p LIKE '%'", "params.p ILIKE '1'", "parameters.p = '2'", "param.p = \"2\"", "params.\"odd key/x\" = 'yes'", "params.`odd key/x` = 'yes'",
    "params.p = 1", "params.p > '1'", "params.p IN ('1','2')", "params.p IS NULL", "params.p IS NOT NULL", "tags.team = 'red'", "tags.team LIKE 'r%'", "tags.team ILIKE 'R%'", "tags.team != 'red'", "tag.team = 'blue'",
    "tags.team IS NULL", "tags.team IS NOT NULL", "tags.`with.dot` = '1'", "tags.with.dot = '1'", "tags.mlflow.runName LIKE 'Run%'", "attributes.status = 'FINISHED'", "attribute.status != 'FINISHED'", "status = 'RUNNING'", "status = 'bogus'",
    "attributes.start_time > 1002", "start_time = 1003", "created > 0", "Created > 0", "end_time < 6000", "attributes.end_time IS NULL", "attributes.run_name LIKE 'Run a%'", "run_name = 'Run a0'", "run name = 'Run a0'", "`Run name` = 'Run a0'", "attributes.`run name` ILIKE 'run%'",
    "attributes.run_id IN ('x')", "run_id = 'x'", "run_id LIKE '%'", "run_id NOT IN ('x')", "attributes.user_id = 'user1'", "user_id = 'user1'", "attributes.artifact_uri LIKE 'mlflow%'", "artifact_uri != 'x'", "attributes.lifecycle_stage = 'active'", "attributes.bogus = 'x'",
    "metrics.loss > 0.3 AND params.p = '1'", "metrics.loss > 0.3 and tags.team = 'red' AND status = 'FINISHED'", "metrics.loss > 0.3 OR params.p = '1'", "(metrics.loss > 0.3)", "NOT metrics.loss > 0.3", "metrics.loss", "metrics.loss >", "> 3", "foo", "'", "metrics.loss > 0.3 AND", "AND metrics.loss > 3",
    "tags.team = red", "tags.team = 'it''s'", "tags.team = 'unclosed", "status = FINISHED", "metrics.loss == 0.5", "metrics.loss <> 0.5", "start_time > 'x'", "tags.team = 'red';", "-- comment", "tags.team RLIKE 'r'", "inputs.x = '1'", "datasets.name = 'x'", "dataset.bogus = 'x'", "models.x = '1'",
    "attributes.start_time BETWEEN 1 AND 2", "tags.team IN ('red')", "attributes.status IN ('FINISHED')", "run_id IN ()", "params.p = ''", "  metrics.loss   >   0.3  ", "METRICS.loss > 0.3", "Metrics.loss > 0.3", "tags.Team = 'red'",
]
ORDERS = [
    [], ["metrics.loss"], ["metrics.loss DESC"], ["metrics.loss ASC", "start_time"], ["params.p"], ["params.p DESC"], ["tags.team ASC"], ["tags.team DESC", "params.p"], ["start_time ASC"], ["attributes.start_time desc"], ["attribute.end_time ASC"], ["end_time DESC"], ["status"],
    ["run_name"], ["`Run name` DESC"], ["run name"], ["Created ASC"], ["created"], ["metrics.none"], ["params.`odd key/x`"], ["tags.`with.dot`"], ["bogus"], ["bogus.x"], ["metrics"], ["metrics."], [""], ["start_time UP"], ["start_time ASC ASC"], ["start_time", "start_time"],
    ["attributes.bogus"], ["user_id"], ["attributes.user_id"], ["lifecycle_stage"], ["dataset.name"], ["metrics.loss; DROP TABLE runs"], ["metrics.`loss"],
]


@pytest.mark.parametrize("filter_string", FILTERS)
def test_filters(m, shelf, filter_string):
    m.post("runs/search", experiment_ids=[shelf], filter=filter_string)
    m.post("runs/search", experiment_ids=[shelf], filter=filter_string, run_view_type="ALL", order_by=["metrics.loss DESC"])


@pytest.mark.parametrize("order", ORDERS, ids=", ".join)
def test_orders(m, shelf, order):
    m.post("runs/search", experiment_ids=[shelf], order_by=order, run_view_type="ALL")
    token = None
    for _ in range(5):
        page = m.post("runs/search", experiment_ids=[shelf], order_by=order, max_results=3, run_view_type="ALL", **({"page_token": token} if token else {}))
        token = page["next_page_token"]
        if not token:
            break


def test_views_limits_and_tokens(m, shelf):
    for view in ("ACTIVE_ONLY", "DELETED_ONLY", "ALL", "bogus", 1, 2, 3, 0):
        m.post("runs/search", experiment_ids=[shelf], run_view_type=view)
    for limit in (0, -1, 1, 50000, 50001, "5", "x", 1.5):
        m.post("runs/search", experiment_ids=[shelf], max_results=limit)
    for experiments in ([], ["999999"], [shelf, shelf], [shelf, "999999"], ["abc"], [5], shelf, None):
        m.post("runs/search", experiment_ids=experiments)
    for token in ("", "rubbish", "eyJvZmZzZXQiOiA0fQ==", 5):
        m.post("runs/search", experiment_ids=[shelf], page_token=token)


def test_metric_history_pages(m, run):
    for batch in range(2):
        m.post("runs/log-batch", run_id=run, metrics=[{"key": "h", "value": n * 0.5, "timestamp": 1000 - n, "step": n // 2} for n in range(batch * 40, batch * 40 + 40)])
    token = None
    for _ in range(4):
        page = m.get("metrics/get-history", {"run_id": run, "metric_key": "h", "max_results": 30, **({"page_token": token} if token else {})})
        token = page["next_page_token"]
        if not token:
            break
    m.get("metrics/get-history-bulk-interval", run_ids=run, metric_key="h", max_results=5)
    m.get("metrics/get-history-bulk-interval", run_ids=run, metric_key="h", start_step=3, end_step=9, max_results=4)
    m.get("/ajax-api/2.0/mlflow/metrics/get-history-bulk", run_id=run, metric_key="h", max_results=7)
