"""Logged models, registered models and prompts, their versions, tags and aliases."""

import pytest

from inputs import ODD_TEXTS, UNKNOWN_ID, abuse, abuse_query

PROMPT = {"key": "mlflow.prompt.is_prompt", "value": "true"}


@pytest.fixture
def name(m, experiment, tag):
    name = f"model-{experiment}-{tag}"
    m.post("registered-models/create", name=name, description="d", tags=[{"key": "a", "value": "1"}])
    return name


def test_registered_models_live(m, name):
    m.get("registered-models/get", name=name)
    m.post("registered-models/create", name=name)
    m.patch("registered-models/update", name=name, description="other")
    m.post("registered-models/set-tag", name=name, key="b", value="2")
    m.delete("registered-models/delete-tag", name=name, key="b")
    m.delete("registered-models/delete-tag", name=name, key="b")
    for number in range(1, 4):
        m.post("model-versions/create", name=name, source=f"mlflow-artifacts:/x/{number}", description="v", tags=[{"key": "t", "value": str(number)}])
    m.get("registered-models/get", name=name)
    m.get("model-versions/get", name=name, version="1")
    m.get("model-versions/get-download-uri", name=name, version="1")
    m.post("model-versions/transition-stage", name=name, version="1", stage="Staging")
    m.post("model-versions/transition-stage", name=name, version="2", stage="staging", archive_existing_versions=True)
    m.post("model-versions/transition-stage", name=name, version="2", stage="Bogus")
    m.get("registered-models/get-latest-versions", name=name)
    m.post("registered-models/get-latest-versions", name=name, stages=["Staging"])
    m.post("registered-models/get-latest-versions", name=name, stages=["bogus"])
    m.patch("model-versions/update", name=name, version="1", description="changed")
    m.post("model-versions/set-tag", name=name, version="1", key="k", value="v")
    m.delete("model-versions/delete-tag", name=name, version="1", key="k")
    m.post("registered-models/alias", name=name, alias="champion", version="1")
    m.post("registered-models/alias", name=name, alias="champion", version="2")
    m.post("registered-models/alias", name=name, alias="other", version="2")
    m.get("registered-models/alias", name=name, alias="champion")
    m.get("registered-models/alias", name=name, alias="nobody")
    m.get("registered-models/get", name=name)
    m.delete("registered-models/alias", name=name, alias="champion")
    m.delete("registered-models/alias", name=name, alias="champion")
    m.delete("model-versions/delete", name=name, version="2")
    m.delete("model-versions/delete", name=name, version="2")
    m.get("model-versions/get", name=name, version="2")
    m.get("registered-models/alias", name=name, alias="other")
    m.post("model-versions/create", name=name, source="mlflow-artifacts:/x/4")
    m.post("registered-models/rename", name=name, new_name=name + "-renamed")
    m.get("registered-models/get", name=name)
    m.get("registered-models/get", name=name + "-renamed")
    m.get("model-versions/get", name=name + "-renamed", version="1")
    m.delete("registered-models/delete", name=name + "-renamed")
    m.get("registered-models/get", name=name + "-renamed")
    m.get("model-versions/search", filter=f"name = '{name}-renamed'")


WRONG = {
    "registered-models/create": ("POST", lambda n: {"name": n + "-new", "description": "d", "tags": [{"key": "a", "value": "1"}]}),
    "registered-models/rename": ("POST", lambda n: {"name": n, "new_name": n}),
    "registered-models/update": ("PATCH", lambda n: {"name": n, "description": "x"}),
    "registered-models/delete": ("DELETE", lambda n: {"name": n + "-nobody"}),
    "registered-models/set-tag": ("POST", lambda n: {"name": n, "key": "k", "value": "v"}),
    "registered-models/delete-tag": ("DELETE", lambda n: {"name": n, "key": "k"}),
    "registered-models/alias": ("POST", lambda n: {"name": n, "alias": "al", "version": "1"}),
    "registered-models/get-latest-versions": ("POST", lambda n: {"name": n, "stages": ["None"]}),
    "model-versions/create": ("POST", lambda n: {"name": n, "source": "mlflow-artifacts:/x/1", "run_id": "", "tags": [{"key": "a", "value": "1"}], "description": "d", "run_link": ""}),
    "model-versions/update": ("PATCH", lambda n: {"name": n, "version": "1", "description": "x"}),
    "model-versions/transition-stage": ("POST", lambda n: {"name": n, "version": "1", "stage": "None", "archive_existing_versions": False}),
    "model-versions/delete": ("DELETE", lambda n: {"name": n, "version": "99"}),
    "model-versions/set-tag": ("POST", lambda n: {"name": n, "version": "1", "key": "k", "value": "v"}),
    "model-versions/delete-tag": ("DELETE", lambda n: {"name": n, "version": "1", "key": "k"}),
}


@pytest.mark.parametrize("path", WRONG)
def test_wrong_input(m, name, path):
    m.post("model-versions/create", name=name, source="mlflow-artifacts:/x/1")
    method, good = WRONG[path]
    undo = None
    if path == "registered-models/create":
        undo = lambda body, _made: m.undo("DELETE", "registered-models/delete", {"name": body["name"]})  # noqa: E731
    if path == "registered-models/rename":
        undo = lambda body, _made: m.undo("POST", path, {"name": body["new_name"], "new_name": body["name"]})  # noqa: E731
    abuse(m, method, path, good(name), undo=undo)
    if path != "registered-models/create":
        m.call(method, path, body={**good(name), "name": "nobody"})
    m.get("registered-models/get", name=name)


def test_wrong_queries(m, name):
    abuse_query(m, "registered-models/get", {"name": name})
    abuse_query(m, "registered-models/alias", {"name": name, "alias": "x"})
    abuse_query(m, "model-versions/get", {"name": name, "version": "1"})
    abuse_query(m, "model-versions/get-download-uri", {"name": name, "version": "1"})
    abuse_query(m, "registered-models/search", {"filter": f"name = '{name}'", "max_results": "5", "order_by": "name"})
    abuse_query(m, "model-versions/search", {"filter": f"name = '{name}'", "max_results": "5", "order_by": "version_number"})


def test_odd_names_and_sources(m, name, tag):
    for number, odd in enumerate([*ODD_TEXTS, "a/b", "a:b", "n" * 256, "n" * 257]):
        odd = odd if not odd.strip() else f"{odd}{tag}{number}"
        made = m.post("registered-models/create", name=odd)
        if made.status == 200 and m.parted:
            m.undo("DELETE", "registered-models/delete", {"name": odd})
    for source in ["", "/etc/passwd", "file:///etc/passwd", "../x", "s3://b/../c", "mlflow-artifacts:/a/../b", "models:/x/1", f"models:/{name}/1", "runs:/x/y", "http://x/y", "mlflow-artifacts://host/x"]:
        m.post("model-versions/create", name=name, source=source)
    for alias in ["latest", "v1", "", "a/b", "a b", "ok_1", "n" * 256]:
        m.post("registered-models/alias", name=name, alias=alias, version="1")
    for key, value in [("k" * 250, "v"), ("k" * 251, "v"), ("k", "v" * 5000), ("k", "v" * 5001), ("k", "v" * 100001)]:
        m.post("registered-models/set-tag", name=name, key=key, value=value)
        m.post("model-versions/set-tag", name=name, version="1", key=key, value=value)


def test_prompts(m, experiment, tag):
    name = f"prompt-{experiment}-{tag}"
    m.post("registered-models/create", name=name, tags=[PROMPT, {"key": "_mlflow_experiment_ids", "value": f",{experiment},"}])
    for text in ("one {{x}}", "two {{x}}"):
        m.post("model-versions/create", name=name, source="dummy-source", description="m", tags=[PROMPT, {"key": "mlflow.prompt.text", "value": text}])
    m.get("registered-models/get", name=name)
    m.get("model-versions/get", name=name, version="2")
    m.post("registered-models/create", name=name)
    m.post("registered-models/create", name=name, tags=[PROMPT])
    m.post("registered-models/alias", name=name, alias="production", version="2")
    m.get("registered-models/alias", name=name, alias="production")
    m.patch("model-versions/update", name=name, version="1", description="other")
    m.post("model-versions/set-tag", name=name, version="1", key="mlflow.prompt.text", value="changed")
    for query in ["tags.`mlflow.prompt.is_prompt` = 'true'", f"name = '{name}'", f"name LIKE '{name}%' AND tags.`mlflow.prompt.is_prompt` = 'true'", f"tags.`mlflow.prompt.is_prompt` = 'true' AND tags.`_mlflow_experiment_ids` LIKE '%,{experiment},%'", f"experiment_id = '{experiment}'"]:
        m.get("registered-models/search", filter=query, order_by="name")
        m.get("model-versions/search", filter=query, order_by="version_number DESC")
    m.delete("model-versions/delete", name=name, version="1")
    m.delete("registered-models/delete", name=name)


@pytest.fixture(scope="module")
def shelf(both, tag):
    for number in range(6):
        name = f"mshelf-{tag}-{'aAb'[number % 3]}{number}"
        both.post("registered-models/create", name=name, tags=[{"key": "n", "value": str(number % 2)}])
        for version in range(number % 3):
            both.post("model-versions/create", name=name, source=f"mlflow-artifacts:/s/{version}", run_id="", tags=[{"key": "v", "value": str(version)}])
    return f"mshelf-{tag}"


@pytest.mark.parametrize("kind, filters", [
    ("registered-models", ["", "name LIKE '%'", "name ILIKE '%A%'", "name != 'x'", "tags.n = '1'", "tag.n != '1'", "tags.n LIKE '%'", "tags.`n` = '1'", "bogus = 'x'", "name > 'a'", "name = 5", "name IN ('a')", "tags.n = '1' AND tags.n = '0'", "tags.n = '1' OR name = 'x'", "name", "tags.missing = 'x'", "description = 'x'", "creation_timestamp > 5"]),
    ("model-versions", ["", "version_number > 1", "version_number = 1", "version = 1", "version_number = 'x'", "run_id = ''", "run_id = 'x'", "run_id IN ('x')", "source_path = 'mlflow-artifacts:/s/1'", "source_path LIKE '%s%'", "tags.v = '1'", "name ILIKE '%B%'", "bogus = 'x'", "version_number LIKE '1'", "current_stage = 'None'", "run_id IN ()", "name IN ('x')", "tags.v != '0'"]),
])
def test_search(m, shelf, kind, filters):
    mine = f"name LIKE '{shelf}%'"
    for one in filters:
        m.get(f"{kind}/search", filter=f"{mine} AND {one}" if one else mine)
    for order in ([], ["name DESC"], ["name ASC", "creation_timestamp"], ["last_updated_timestamp DESC", "name"], ["timestamp ASC", "name"], ["version_number DESC", "name"], ["creation_timestamp"], ["bogus"], [""], ["name UP"], ["name", "name"]):
        m.get(f"{kind}/search", filter=mine, order_by=order)
    for limit in (0, -1, 1, 1000, 1001, 10000, 10001, 200000, 200001, "x"):
        m.get(f"{kind}/search", filter=mine, max_results=limit)
    token = None
    for _ in range(8):
        page = m.get(f"{kind}/search", {"filter": mine, "max_results": 2, "order_by": ["name ASC"], **({"page_token": token} if token else {})})
        token = page["next_page_token"]
        if not token:
            break
    m.get(f"{kind}/search", filter=mine, page_token="rubbish")


# --- logged models ------------------------------------------------------------------------


@pytest.fixture
def logged(m, experiment):
    run = m.post("runs/create", experiment_id=experiment, start_time=1, run_name="source")["run"]["info"]["run_id"]
    return m.post("logged-models", experiment_id=experiment, name="mine", model_type="agent", source_run_id=run, params=[{"key": "p", "value": "1"}], tags=[{"key": "t", "value": "1"}])["model"]["info"]["model_id"]


def test_logged_models_live(m, experiment, logged):
    m.get(f"logged-models/{logged}")
    m.get(f"logged-models/{logged}", model_id=logged)
    m.patch(f"logged-models/{logged}", model_id=logged, status="LOGGED_MODEL_READY")
    m.patch(f"logged-models/{logged}", model_id=logged, status="LOGGED_MODEL_UPLOAD_FAILED")
    m.patch(f"logged-models/{logged}/tags", tags=[{"key": "t", "value": "2"}, {"key": "u", "value": "3"}])
    m.delete(f"logged-models/{logged}/tags/u")
    m.delete(f"logged-models/{logged}/tags/u")
    m.post(f"logged-models/{logged}/params", params=[{"key": "q", "value": "2"}])
    m.post(f"logged-models/{logged}/params", params=[{"key": "q", "value": "3"}])
    m.get(f"logged-models/{logged}")
    m.get(f"logged-models/{logged}/artifacts/directories")
    m.get(f"/ajax-api/2.0/mlflow/logged-models/{logged}/artifacts/files", artifact_file_path="MLmodel")
    m.delete(f"logged-models/{logged}")
    m.get(f"logged-models/{logged}")
    m.delete(f"logged-models/{logged}")
    m.patch(f"logged-models/{logged}/tags", tags=[{"key": "t", "value": "2"}])
    m.post("logged-models/search", experiment_ids=[experiment])


def test_logged_models_wrong(m, experiment, logged):
    abuse(m, "POST", "logged-models", {"experiment_id": experiment, "name": "n", "model_type": "t", "source_run_id": "", "params": [], "tags": []})
    for name in ("a/b", "a:b", "", "n" * 500, "ü"):
        m.post("logged-models", experiment_id=experiment, name=name)
    abuse(m, "PATCH", f"logged-models/{logged}", {"status": "LOGGED_MODEL_READY"})
    abuse(m, "PATCH", f"logged-models/{logged}/tags", {"tags": [{"key": "a", "value": "b"}]})
    abuse(m, "POST", f"logged-models/{logged}/params", {"params": [{"key": "a", "value": "b"}]})
    for unknown in ("m-" + UNKNOWN_ID, "nobody"):
        m.get(f"logged-models/{unknown}")
        m.patch(f"logged-models/{unknown}", status="LOGGED_MODEL_READY")
        m.delete(f"logged-models/{unknown}")
        m.patch(f"logged-models/{unknown}/tags", tags=[{"key": "a", "value": "b"}])
        m.delete(f"logged-models/{unknown}/tags/a")
        m.post(f"logged-models/{unknown}/params", params=[{"key": "a", "value": "b"}])
        m.get(f"logged-models/{unknown}/artifacts/directories")


MODEL_FILTERS = ["", "name = 'A0'", "name LIKE 'A%'", "name != 'A0'", "model_type = 'agent'", "params.p = '1'", "tags.t = 'x'", "tags.t != 'x'", "metrics.accuracy > 0.4", "metrics.accuracy = 0.5", "status = 'READY'", "status = 'PENDING'", "source_run_id = 'x'", "model_id = 'x'", "creation_timestamp > 0", "creation_time > 0", "last_updated_timestamp > 0", "bogus = 'x'", "attributes.name = 'A0'", "attributes.bogus = 'x'", "name ILIKE 'a%'", "name IN ('A0', 'B1')", "params.p LIKE '%'", "metrics.accuracy > 'x'", "params.p > '1'", "name = 'A0' AND params.p = '1'", "name = 'A0' OR name = 'B1'", "name", "experiment_id = '1'"]


@pytest.fixture(scope="module")
def models(both, tag):
    e = both.post("experiments/create", name=f"models-shelf-{tag}")["experiment_id"]
    run = both.post("runs/create", experiment_id=e, start_time=1, run_name="r")["run"]["info"]["run_id"]
    both.post("runs/log-inputs", run_id=run, datasets=[{"dataset": {"name": "d", "digest": "1", "source_type": "s", "source": "x"}}])
    for number in range(5):
        model = both.post("logged-models", experiment_id=e, name=f"{'AB'[number % 2]}{number}", model_type=["agent", "model"][number % 2], source_run_id=run, params=[{"key": "p", "value": str(number % 2)}], tags=[{"key": "t", "value": "x" if number else "y"}])["model"]["info"]["model_id"]
        both.post("runs/log-metric", run_id=run, key="accuracy", value=number / 4, timestamp=5, step=number, model_id=model, dataset_name="d", dataset_digest="1")
        both.post("runs/log-batch", run_id=run, metrics=[{"key": "other", "value": -number, "timestamp": 5, "step": 1, "model_id": model}])
        if number % 2:
            both.patch(f"logged-models/{model}", status="LOGGED_MODEL_READY")
    return e


@pytest.mark.parametrize("filter_string", MODEL_FILTERS)
def test_logged_model_filters(m, models, filter_string):
    m.post("logged-models/search", experiment_ids=[models], filter=filter_string)


def test_logged_model_search(m, models):
    for order in ([], [{"field_name": "name"}], [{"field_name": "name", "ascending": False}], [{"field_name": "metrics.accuracy", "ascending": False}], [{"field_name": "metrics.accuracy", "dataset_name": "d", "dataset_digest": "1"}], [{"field_name": "metrics.none"}, {"field_name": "name"}], [{"field_name": "creation_timestamp"}], [{"field_name": "creation_time"}], [{"field_name": "params.p"}, {"field_name": "name"}], [{"field_name": "tags.t"}], [{"field_name": "bogus"}], [{}], [{"field_name": "attributes.name"}], ["name"], [{"field_name": "name", "dataset_name": "d"}], [{"field_name": "metrics.accuracy", "dataset_digest": "1"}]):
        m.post("logged-models/search", experiment_ids=[models], order_by=order)
    for datasets in ([{"dataset_name": "d"}], [{"dataset_name": "d", "dataset_digest": "1"}], [{"dataset_name": "x"}], [{}], [{"dataset_digest": "1"}]):
        m.post("logged-models/search", experiment_ids=[models], filter="metrics.accuracy > 0.2", datasets=datasets)
        m.post("logged-models/search", experiment_ids=[models], datasets=datasets)
    for limit in (0, -1, 1, 50, 51, 1000, "x"):
        m.post("logged-models/search", experiment_ids=[models], max_results=limit)
    for order in ([], [{"field_name": "name"}]):
        token = None
        for _ in range(5):
            page = m.post("logged-models/search", experiment_ids=[models], max_results=2, order_by=order, **({"page_token": token} if token else {}))
            token = page["next_page_token"]
            if not token:
                break
    for body in ({"experiment_ids": []}, {}, {"experiment_ids": ["999999"]}, {"experiment_ids": [models], "page_token": "rubbish"}):
        m.post("logged-models/search", body)
