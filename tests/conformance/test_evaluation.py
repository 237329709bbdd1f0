"""What evaluation clients keep: scorers, datasets, label schemas, review queues, issues."""

import json

import pytest

from inputs import ODD_TEXTS, UNKNOWN_ID, abuse, abuse_query
from material import otlp, span, start, trace_id

V3 = "/api/3.0/mlflow"
SCORER = json.dumps({"name": "kind", "mlflow_version": "3.17.2", "serialization_version": 1, "aggregations": [], "instructions_judge_pydantic_data": {"instructions": "be kind {{ outputs }}", "model": "openai:/none"}})


def test_scorers(m, experiment):
    for number in range(3):
        m.post(f"{V3}/scorers/register", experiment_id=experiment, name="kind", serialized_scorer=SCORER.replace("kind {{", f"kind {number} {{{{"))
    m.post(f"{V3}/scorers/register", experiment_id=experiment, name="other", serialized_scorer=SCORER)
    m.get(f"{V3}/scorers/list", experiment_id=experiment)
    m.get(f"{V3}/scorers/list", experiment_ids=[experiment])
    m.get(f"{V3}/scorers/versions", experiment_id=experiment, name="kind")
    m.get(f"{V3}/scorers/get", experiment_id=experiment, name="kind")
    m.get(f"{V3}/scorers/get", experiment_id=experiment, name="kind", version=1)
    m.get(f"{V3}/scorers/get", experiment_id=experiment, name="kind", version=99)
    m.get(f"{V3}/scorers/get", experiment_id=experiment, name="nobody")
    m.get(f"{V3}/scorers/versions", experiment_id=experiment, name="nobody")
    m.delete(f"{V3}/scorers/delete", experiment_id=experiment, name="kind", version=3)
    m.get(f"{V3}/scorers/get", experiment_id=experiment, name="kind")
    m.post(f"{V3}/scorers/register", experiment_id=experiment, name="kind", serialized_scorer=SCORER)
    m.get(f"{V3}/scorers/list", experiment_id=experiment)
    m.delete(f"{V3}/scorers/delete", experiment_id=experiment, name="kind")
    m.delete(f"{V3}/scorers/delete", experiment_id=experiment, name="kind")
    m.get(f"{V3}/scorers/versions", experiment_id=experiment, name="kind")
    abuse(m, "POST", f"{V3}/scorers/register", {"experiment_id": experiment, "name": "wrong", "serialized_scorer": SCORER}, nul=False)
    abuse(m, "DELETE", f"{V3}/scorers/delete", {"experiment_id": experiment, "name": "nobody", "version": 1})
    abuse_query(m, f"{V3}/scorers/get", {"experiment_id": experiment, "name": "other", "version": "1"})
    abuse_query(m, f"{V3}/scorers/versions", {"experiment_id": experiment, "name": "other"})
    abuse_query(m, f"{V3}/scorers/list", {"experiment_id": experiment})


@pytest.fixture
def dataset(m, experiment):
    return m.post(f"{V3}/datasets/create", name=f"set-{experiment}", experiment_ids=[experiment], tags=json.dumps({"a": "1"}), created_by="me")["dataset"]["dataset_id"]


RECORDS = [
    {"inputs": {"question": "why"}, "expectations": {"answer": "because"}}, {"inputs": {"question": "how", "deep": {"a": [1, 2]}}, "tags": {"t": "1"}, "source": {"source_type": "HUMAN", "source_data": {"user": "u"}}}, {"inputs": {"question": "when"}, "outputs": {"x": 1}},
]


def test_datasets(m, experiment, dataset, tag):
    path = f"{V3}/datasets/{dataset}"
    m.get(path)
    # One at a time: those of one batch have no order, so pages would not be the same.
    for record in RECORDS:
        m.post(f"{path}/records", records=json.dumps([record]))
    m.get(path)
    m.post(f"{path}/records", records=json.dumps([{"inputs": {"question": "why"}, "expectations": {"more": "yes"}, "tags": {"new": "1"}}, {"inputs": {"question": "new"}}]), updated_by="you")
    records = m.get(f"{path}/records")
    token = None
    for _ in range(5):
        page = m.get(f"{path}/records", {"max_results": 2, **({"page_token": token} if token else {})})
        token = page["next_page_token"]
        if not token:
            break
    m.patch(f"{path}/tags", tags=json.dumps({"b": "2", "a": None}))
    m.patch(f"{path}/tags", tags=json.dumps({"b": 5}))
    m.get(path)
    m.delete(f"{path}/tags/b")
    m.delete(f"{path}/tags/b")
    other = m.post("experiments/create", name=f"second home {experiment} {tag}")["experiment_id"]
    m.post(f"{path}/add-experiments", experiment_ids=[other])
    m.get(f"{path}/experiment-ids")
    m.post(f"{path}/add-experiments", experiment_ids=["999999"])
    m.post(f"{path}/remove-experiments", experiment_ids=[experiment])
    m.get(f"{path}/experiment-ids")
    found = records.json["records"] if isinstance(records.json, dict) else ""
    listed = json.loads(found) if found else []
    if listed:
        m.delete(f"{path}/records", dataset_record_ids=[listed[0]["dataset_record_id"]])
    m.delete(f"{path}/records", dataset_record_ids=["dr-" + UNKNOWN_ID])
    m.get(f"{path}/records")
    m.delete(path)
    m.get(path)
    m.delete(path)


def test_datasets_wrong(m, experiment, dataset):
    path = f"{V3}/datasets/{dataset}"
    abuse(m, "POST", f"{V3}/datasets/create", {"name": "n", "experiment_ids": [experiment], "tags": "{}"})
    m.post(f"{V3}/datasets/create", name="n", experiment_ids=["999999"])
    m.post(f"{V3}/datasets/create", name=f"set-{experiment}", experiment_ids=[experiment])
    abuse(m, "POST", f"{path}/records", {"records": json.dumps(RECORDS)})
    for records in ([{}], [{"inputs": 5}], [5], {"inputs": {}}, [{"inputs": {}}], [{"expectations": {"a": 1}}], [{"inputs": {"a": 1}, "bogus": 1}], [{"inputs": {"a": 1}, "source": "x"}], [{"inputs": {"a": 1}, "tags": 5}], [{"inputs": {"a": 1}}, {"inputs": {"a": 1}}], []):
        m.post(f"{path}/records", records=json.dumps(records))
    m.post(f"{path}/records", records="not json")
    abuse(m, "PATCH", f"{path}/tags", {"tags": '{"x": "1"}'})
    abuse(m, "POST", f"{path}/add-experiments", {"experiment_ids": [experiment]})
    abuse(m, "POST", f"{path}/remove-experiments", {"experiment_ids": [experiment]})
    unknown = f"{V3}/datasets/d-{UNKNOWN_ID}"
    m.get(unknown)
    m.delete(unknown)
    m.get(f"{unknown}/records")
    m.post(f"{unknown}/records", records=json.dumps(RECORDS))
    m.patch(f"{unknown}/tags", tags="{}")
    m.delete(f"{unknown}/tags/a")
    m.get(f"{unknown}/experiment-ids")
    m.post(f"{unknown}/add-experiments", experiment_ids=[experiment])


def test_dataset_search(m, experiment):
    for number in range(5):
        m.post(f"{V3}/datasets/create", name=f"Set{number}", experiment_ids=[experiment], tags=json.dumps({"n": str(number % 2)}), created_by=f"u{number % 2}")
    for one in ["", "name = 'Set1'", "name LIKE 'Set%'", "name ILIKE 'set%'", "name != 'Set1'", "tags.n = '1'", "tags.n LIKE '%'", "created_by = 'u1'", "last_updated_by = 'u1'", "created_time > 0", "last_update_time > 0", "bogus = 'x'", "name = 'Set1' OR name = 'Set2'", "name", "digest = 'x'", "tags.n != '1' AND name LIKE 'S%'"]:
        m.post(f"{V3}/datasets/search", experiment_ids=[experiment], filter_string=one, order_by=["name"])
    for order in ([], ["name DESC"], ["name ASC"], ["created_time"], ["last_update_time DESC"], ["bogus"], [""], ["dataset_id"]):
        m.post(f"{V3}/datasets/search", experiment_ids=[experiment], order_by=order)
    for limit in (0, -1, 1, 50, 1000, 50001, "x"):
        m.post(f"{V3}/datasets/search", experiment_ids=[experiment], max_results=limit, order_by=["name"])
    token = None
    for _ in range(5):
        page = m.post(f"{V3}/datasets/search", experiment_ids=[experiment], max_results=2, order_by=["name"], **({"page_token": token} if token else {}))
        token = page["next_page_token"]
        if not token:
            break
    m.post(f"{V3}/datasets/search", experiment_ids=["999998"])
    m.post(f"{V3}/datasets/search", experiment_ids=[experiment], page_token="rubbish")


INPUTS = [
    {"pass_fail": {"positive_label": "Yes", "negative_label": "No"}}, {"pass_fail": {}}, {"categorical": {"options": ["a", "b"], "multi_select": True}}, {"categorical": {"options": []}}, {"categorical": {"options": ["a", "a"]}}, {"categorical": {"options": ["a"]}}, {"numeric": {"min_value": 0, "max_value": 10}}, {"numeric": {}}, {"numeric": {"min_value": 10, "max_value": 0}},
    {"text": {}}, {"text": {"max_length": 50}}, {"text": {"max_length": -1}}, {}, {"bogus": {}}, "x",
]


@pytest.fixture
def schema(m, experiment):
    return m.post(f"{V3}/label-schemas/create", experiment_id=experiment, name="mine", type="FEEDBACK", input=INPUTS[0], instruction="look", enable_comment=True)["label_schema"]["schema_id"]


def test_what_mlflow_keeps(m, elsewhere):
    m.post(f"{V3}/label-schemas/create", experiment_id=elsewhere, name="two kinds", type="FEEDBACK", input={"text": {}, "numeric": {}})
    m.post(f"{V3}/label-schemas/create", experiment_id=elsewhere, name="a\u0000b", type="FEEDBACK", input=INPUTS[0])
    m.post(f"{V3}/review-queues/create", experiment_id=elsewhere, name="a\u0000b", queue_type="CUSTOM")
    m.post(f"{V3}/scorers/register", experiment_id=elsewhere, name="a\u0000b", serialized_scorer=SCORER)


def test_label_schemas(m, experiment, schema):
    made = [m.post(f"{V3}/label-schemas/create", experiment_id=experiment, name=f"s{number}", type=["FEEDBACK", "EXPECTATION"][number % 2], input=one)["label_schema"]["schema_id"] for number, one in enumerate(INPUTS)]
    m.post(f"{V3}/label-schemas/create", experiment_id=experiment, name="mine", type="FEEDBACK", input=INPUTS[0])
    m.get(f"{V3}/label-schemas/get", schema_id=schema)
    m.get(f"{V3}/label-schemas/get-by-name", experiment_id=experiment, name="mine")
    m.get(f"{V3}/label-schemas/get-by-name", experiment_id=experiment, name="nobody")
    m.get(f"{V3}/label-schemas/list", experiment_id=experiment)
    token = None
    for _ in range(6):
        page = m.get(f"{V3}/label-schemas/list", {"experiment_id": experiment, "max_results": 3, **({"page_token": token} if token else {})})
        token = page["next_page_token"]
        if not token:
            break
    for change in ({"name": "renamed"}, {"instruction": "new"}, {"enable_comment": False}, {"input": INPUTS[6]}, {"input": INPUTS[2]}, {"name": "s0"}, {}, {"name": ""}):
        m.patch(f"{V3}/label-schemas/update", schema_id=schema, **change)
        m.get(f"{V3}/label-schemas/get", schema_id=schema)
    for text in ODD_TEXTS:
        if "\0" in text:
            continue
        m.post(f"{V3}/label-schemas/create", experiment_id=experiment, name=text, type="FEEDBACK", input=INPUTS[0], instruction=text)
    abuse(m, "POST", f"{V3}/label-schemas/create", {"experiment_id": experiment, "name": "wrong", "type": "FEEDBACK", "input": INPUTS[0], "instruction": "i", "enable_comment": False}, nul=False)
    abuse(m, "PATCH", f"{V3}/label-schemas/update", {"schema_id": schema, "name": "n", "instruction": "i", "enable_comment": True, "input": INPUTS[0]}, nul=False)
    abuse_query(m, f"{V3}/label-schemas/list", {"experiment_id": experiment, "max_results": "5", "page_token": ""})
    abuse_query(m, f"{V3}/label-schemas/get", {"schema_id": schema})
    m.delete(f"{V3}/label-schemas/delete", schema_id=made[0])
    m.delete(f"{V3}/label-schemas/delete", schema_id=made[0])
    abuse(m, "DELETE", f"{V3}/label-schemas/delete", {"schema_id": UNKNOWN_ID})


def test_review_queues(m, experiment, schema):
    traces = [trace_id("review", experiment, number) for number in range(4)]
    for t in traces:
        start(m, t, experiment)
        otlp(m, experiment, [span(t, 1)])
    q = m.post(f"{V3}/review-queues/create", experiment_id=experiment, name="queue", queue_type="CUSTOM", users=["ann", "bob"], schema_ids=[schema])["review_queue"]["queue_id"]
    m.post(f"{V3}/review-queues/create", experiment_id=experiment, name="queue", queue_type="CUSTOM", users=[], schema_ids=[])
    m.post(f"{V3}/review-queues/create", experiment_id=experiment, name="bare", queue_type="CUSTOM")
    m.post(f"{V3}/review-queues/create", experiment_id=experiment, name="unknown schema", queue_type="CUSTOM", schema_ids=["ls-" + UNKNOWN_ID])
    m.post(f"{V3}/review-queues/get-or-create-user", experiment_id=experiment, user="ann")
    m.post(f"{V3}/review-queues/get-or-create-user", experiment_id=experiment, user="ann")
    m.get(f"{V3}/review-queues/get", queue_id=q)
    m.get(f"{V3}/review-queues/get-by-name", experiment_id=experiment, name="queue")
    m.get(f"{V3}/review-queues/get-by-name", experiment_id=experiment, name="nobody")
    m.post(f"{V3}/review-queues/items/add", queue_id=q, item_type="TRACE", item_ids=traces)
    m.post(f"{V3}/review-queues/items/add", queue_id=q, item_type="TRACE", item_ids=traces[:2])
    m.post(f"{V3}/review-queues/items/add", queue_id=q, item_type="TRACE", item_ids=["tr-" + "1" * 32])
    m.get(f"{V3}/review-queues/items/list", queue_id=q)
    for status in ("COMPLETE", "DECLINED", "PENDING", "BOGUS", None):
        m.post(f"{V3}/review-queues/items/set-status", queue_id=q, item_id=traces[0], status=status, completed_by="ann")
        m.get(f"{V3}/review-queues/items/list", queue_id=q, status=status or "PENDING")
    m.post(f"{V3}/review-queues/items/set-status", queue_id=q, item_id="tr-" + "1" * 32, status="COMPLETE")
    m.get(f"{V3}/review-queues/list", experiment_id=experiment)
    m.get(f"{V3}/review-queues/list", experiment_id=experiment, user="ann")
    m.get(f"{V3}/review-queues/list", experiment_id=experiment, item_id=traces[0])
    m.post(f"{V3}/review-queues/update", queue_id=q, update_users=True, users=["carl"], name="renamed")
    m.post(f"{V3}/review-queues/update", queue_id=q, users=["ignored"])
    m.post(f"{V3}/review-queues/update", queue_id=q, update_schema_ids=True, schema_ids=[])
    m.post(f"{V3}/review-queues/items/remove", queue_id=q, item_ids=[traces[3], "tr-" + "1" * 32])
    m.get(f"{V3}/review-queues/items/list", queue_id=q, max_results=1)
    abuse(m, "POST", f"{V3}/review-queues/create", {"experiment_id": experiment, "name": "w", "queue_type": "CUSTOM", "users": ["a"], "schema_ids": [schema]}, nul=False)
    abuse(m, "POST", f"{V3}/review-queues/items/add", {"queue_id": q, "item_type": "TRACE", "item_ids": traces[:1]})
    abuse(m, "POST", f"{V3}/review-queues/items/set-status", {"queue_id": q, "item_id": traces[1], "status": "COMPLETE", "completed_by": "x"})
    abuse(m, "POST", f"{V3}/review-queues/update", {"queue_id": q, "update_users": True, "users": ["a"], "name": "again"}, nul=False)
    abuse_query(m, f"{V3}/review-queues/items/list", {"queue_id": q, "status": "PENDING", "max_results": "2"})
    abuse_query(m, f"{V3}/review-queues/list", {"experiment_id": experiment, "max_results": "2"})
    m.post(f"{V3}/review-queues/delete", queue_id=q)
    m.post(f"{V3}/review-queues/delete", queue_id=q)
    m.get(f"{V3}/review-queues/get", queue_id=q)
