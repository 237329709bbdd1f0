"""Experiments: create, read, search, change, delete, restore, tags."""

import pytest

from inputs import LONG, ODD_TEXTS, UNKNOWN_ID, abuse, abuse_query


def test_a_whole_life(m, tag):
    e = m.post("experiments/create", name=f"life-{tag}", tags=[{"key": "a", "value": "1"}, {"key": "b", "value": ""}])["experiment_id"]
    m.get("experiments/get", experiment_id=e)
    m.get("experiments/get-by-name", experiment_name=f"life-{tag}")
    m.post("experiments/create", name=f"life-{tag}")
    m.post("experiments/update", experiment_id=e, new_name=f"lives-{tag}")
    m.get("experiments/get-by-name", experiment_name=f"life-{tag}")
    m.post("experiments/set-experiment-tag", experiment_id=e, key="a", value="2")
    m.post("experiments/set-experiment-tag", experiment_id=e, key="c", value="3")
    m.get("experiments/get", experiment_id=e)
    m.post("experiments/delete-experiment-tag", experiment_id=e, key="c")
    m.post("experiments/delete-experiment-tag", experiment_id=e, key="c")
    m.post("experiments/delete", experiment_id=e)
    m.get("experiments/get", experiment_id=e)
    m.get("experiments/get-by-name", experiment_name=f"lives-{tag}")
    m.post("experiments/delete", experiment_id=e)
    m.post("experiments/update", experiment_id=e, new_name=f"dead-{tag}")
    m.post("experiments/set-experiment-tag", experiment_id=e, key="a", value="4")
    m.post("experiments/delete-experiment-tag", experiment_id=e, key="a")
    m.post("experiments/create", name=f"lives-{tag}")
    m.post("runs/create", experiment_id=e, start_time=1)
    m.post("experiments/restore", experiment_id=e)
    m.post("experiments/restore", experiment_id=e)
    m.get("experiments/get", experiment_id=e)


def test_runs_share_their_experiments_fate(m, experiment):
    alive = m.post("runs/create", experiment_id=experiment, start_time=1)["run"]["info"]["run_id"]
    dead = m.post("runs/create", experiment_id=experiment, start_time=2)["run"]["info"]["run_id"]
    m.post("runs/delete", run_id=dead)
    m.post("experiments/delete", experiment_id=experiment)
    for run in (alive, dead):
        m.get("runs/get", run_id=run)
    m.post("runs/search", experiment_ids=[experiment], run_view_type="ALL")
    m.post("experiments/restore", experiment_id=experiment)
    for run in (alive, dead):
        m.get("runs/get", run_id=run)
    m.post("runs/search", experiment_ids=[experiment], run_view_type="ALL")


def put_away(m, made):
    """An experiment that MLflow alone has made, and the one that stands for it on the other side: no search finds them."""
    m.post("experiments/delete", experiment_id=made["experiment_id"])


def make(m, **fields):
    made = m.post("experiments/create", **fields)
    if made.status == 200 and m.parted:
        put_away(m, made)
        m.parted = True
    return made


@pytest.mark.parametrize("method, path", [("POST", "create"), ("POST", "update"), ("POST", "delete"), ("POST", "restore"),
                                          ("POST", "set-experiment-tag"), ("POST", "delete-experiment-tag")])
def test_wrong_input(m, experiment, tag, method, path):
    good = {
        "create": {"name": f"wrong-{tag}", "artifact_location": "", "tags": [{"key": "k", "value": "v"}]},
        "update": {"experiment_id": experiment, "new_name": f"renamed-{tag}"},
        "delete": {"experiment_id": UNKNOWN_ID},
        "restore": {"experiment_id": experiment},
        "set-experiment-tag": {"experiment_id": experiment, "key": "k", "value": "v"},
        "delete-experiment-tag": {"experiment_id": experiment, "key": "k"},
    }[path]
    abuse(m, method, f"experiments/{path}", good, undo=lambda _body, made: put_away(m, made) if path == "create" else None)
    for unknown in ("999999999", "99999999999999999999999", "-5", "1.0", "abc", f"0{experiment}", f" {experiment}"):
        if "experiment_id" in good:
            m.call(method, f"experiments/{path}", body={**good, "experiment_id": unknown})
            if path == "delete" and m.parted:
                m.undo("POST", "experiments/restore", {"experiment_id": experiment})
    # Whatever MLflow made of that.
    if path in ("update", "set-experiment-tag"):
        m.call(method, f"experiments/{path}", body=good)


def test_wrong_queries(m, experiment, tag):
    abuse_query(m, "experiments/get", {"experiment_id": experiment})
    abuse_query(m, "experiments/get-by-name", {"experiment_name": f"nobody-{tag}"})
    for unknown in ("999999999", "99999999999999999999999", "-5", "1.0", "abc"):
        m.get("experiments/get", experiment_id=unknown)


def test_names_and_locations(m, tag):
    for number, name in enumerate(ODD_TEXTS):
        make(m, name=f"{tag}{number}{name}")
        if not m.parted:
            m.get("experiments/get-by-name", experiment_name=f"{tag}{number}{name}")
    for length in (499, 500, 501):
        m.post("experiments/create", name=(tag + "n" * 501)[:length])
    m.post("experiments/create", name=f"Case-{tag}")
    m.post("experiments/create", name=f"case-{tag}")
    m.get("experiments/get-by-name", experiment_name=f"CASE-{tag}")
    for number, location in enumerate(["mlflow-artifacts:/somewhere", "s3://bucket/a", "/tmp/x", "file:///tmp/x", "s3://b/a#x", "s3://b/a?x=1", "mlflow-artifacts:/a/../b", "relative/x"]):
        made = make(m, name=f"location-{number}-{tag}", artifact_location=location)
        if made.status == 200 and not m.parted:
            m.get("experiments/get", experiment_id=made["experiment_id"])


def test_tags(m, experiment):
    for key in [*ODD_TEXTS, "a/b", "a.b", "a b", "a:b", "/a", "a//b", ".", "..", "mlflow.note.content", "k" * 250, "k" * 251, LONG]:
        m.post("experiments/set-experiment-tag", experiment_id=experiment, key=key, value="v")
        m.post("experiments/delete-experiment-tag", experiment_id=experiment, key=key)
    for value in [*ODD_TEXTS, "v" * 5000, "v" * 5001, "v" * 8000, "v" * 8001]:
        m.post("experiments/set-experiment-tag", experiment_id=experiment, key="value", value=value)
        if not m.parted:
            m.get("experiments/get", experiment_id=experiment)
    m.post("experiments/create", name="two tags of one key " + experiment, tags=[{"key": "a", "value": "1"}, {"key": "a", "value": "2"}])


@pytest.fixture(scope="module")
def shelf(both, tag):
    """Some experiments to be found."""
    for number in range(7):
        both.post("experiments/create", name=f"shelf-{tag}-{'aAbB'[number % 4]}{number}", tags=[{"key": "n", "value": str(number)}, {"key": "odd key.x", "value": "yes" if number % 2 else "no"}])
    found = both.get("experiments/get-by-name", experiment_name=f"shelf-{tag}-b2")["experiment"]["experiment_id"]
    both.post("experiments/delete", experiment_id=found)
    return f"shelf-{tag}"


FILTERS = [
    "tags.n = '3'", "tags.n != '3'", "tags.`odd key.x` = 'yes'", "tags.n LIKE '%'", "tags.n ILIKE '3'", "tag.n = '3'",
    "attribute.name LIKE '%a%'", "attributes.name ILIKE '%A%'", "name != 'x'", "creation_time > 0", "last_update_time <= 5",
    "tags.missing = '1'", "tags.n IN ('1', '2')", "name = \"x\"", "name LIKE '%_%' AND tags.n = '1'", "tags.n IS NULL", "tags.n IS NOT NULL",
    "experiment_id = '0'", "lifecycle_stage = 'active'", "name = x", "name", "name =", "= 'x'", "name == 'x'", "bogus.key = 'x'",
    "tags.n > '2'", "creation_time = 'x'", "creation_time LIKE '1%'", "name = 5", "name = 'a' OR name = 'b'", "(name = 'a')", "AND", "name = 'a' AND",
    "params.x = '1'", "metrics.x > 1", "name RLIKE 'x'", "name = 'it''s'", "name = 'a' and tags.n = '1'", "  ", "tags.n='3'", "tags.\"n\" = '3'",
]


@pytest.mark.parametrize("filter_string", FILTERS)
def test_filters(m, shelf, filter_string):
    m.post("experiments/search", max_results=100, filter=filter_string, order_by=["experiment_id ASC"])
    m.post("experiments/search", max_results=100, filter=f"name LIKE '{shelf}%' AND {filter_string}", view_type="ALL")


def test_order_and_pages(m, shelf):
    mine = f"name LIKE '{shelf}%'"
    orders = [[], ["name"], ["name DESC"], ["name asc"], ["creation_time ASC"], ["creation_time"], ["last_update_time DESC"], ["experiment_id DESC"],
              ["attribute.name DESC"], ["attributes.name"], ["name DESC", "experiment_id"], ["name", "name"], ["tags.n"], ["bogus"], [""], ["name UP"], ["name DESC DESC"], ["`name` ASC"], "name"]
    for order in orders:
        m.post("experiments/search", max_results=50, filter=mine, order_by=order)
    for view in ("ACTIVE_ONLY", "DELETED_ONLY", "ALL", "NONE", 1, 2, 3, 0, "active_only"):
        m.post("experiments/search", max_results=50, filter=mine, view_type=view)
        m.get("experiments/search", max_results=50, filter=mine, view_type=view)
    for limit in (0, -1, 1, 2, 50000, 50001, "5", "x", 1.5, None):
        m.post("experiments/search", max_results=limit, filter=mine)
        m.get("experiments/search", max_results=limit, filter=mine)
    m.post("experiments/search", filter=mine)
    m.get("experiments/search", filter=mine)
    for order in ([], ["name DESC"]):
        token = None
        for _ in range(9):
            page = m.post("experiments/search", max_results=2, filter=mine, order_by=order, view_type="ALL", **({"page_token": token} if token else {}))
            token = page["next_page_token"]
            if not token:
                break
    for token in ("", "rubbish", "eyJvZmZzZXQiOiA0fQ==", 5):
        m.post("experiments/search", max_results=2, filter=mine, page_token=token)
    m.post("experiments/search", max_results=2, filter=f"name LIKE '{shelf}'", order_by="name ASC")
