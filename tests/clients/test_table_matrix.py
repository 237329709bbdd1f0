"""Traces in tables: every door to the same rows, tried by one caller with every kind of privileges on what holds them.
`UPDATE_GOLDEN=1` writes the table of answers anew."""

import os
import uuid
from pathlib import Path

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.service import catalog, iam
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness import processes

GOLDEN = Path(__file__).parent.parent / "golden" / "table_matrix.txt"
CALLER = "carol"
WORD = "hush4711"
SPANS, ANNOTATIONS, UNIFIED, METADATA = "bot_otel_spans", "bot_otel_annotations", "bot_trace_unified", "bot_trace_metadata"
USE = {"catalog": ["USE_CATALOG"], "schema": ["USE_SCHEMA"]}

# What the caller has, by the securable; tables by their name.
SETS = {
    "nothing": {},
    "BROWSE": {"catalog": ["BROWSE"]},
    "USE": USE,
    "no USE, S+M": {SPANS: ["SELECT", "MODIFY"], ANNOTATIONS: ["SELECT", "MODIFY"]},
    "no schema, S": {"catalog": ["USE_CATALOG"], SPANS: ["SELECT"], ANNOTATIONS: ["SELECT"]},
    "S spans": {**USE, SPANS: ["SELECT"]},
    "S annot.": {**USE, ANNOTATIONS: ["SELECT"]},
    "S views": {**USE, UNIFIED: ["SELECT"], METADATA: ["SELECT"]},
    "S": {**USE, SPANS: ["SELECT"], ANNOTATIONS: ["SELECT"]},
    "M spans": {**USE, SPANS: ["MODIFY"]},
    "M annot.": {**USE, ANNOTATIONS: ["MODIFY"]},
    "M": {**USE, SPANS: ["MODIFY"], ANNOTATIONS: ["MODIFY"]},
    "S+M": {**USE, SPANS: ["SELECT", "MODIFY"], ANNOTATIONS: ["SELECT", "MODIFY"]},
    "S schema": {**USE, "schema": ["USE_SCHEMA", "SELECT"]},
    "M schema": {**USE, "schema": ["USE_SCHEMA", "MODIFY"]},
    "CREATE": {**USE, "schema": ["USE_SCHEMA", "CREATE_TABLE"]},
    "MANAGE": {**USE, "schema": ["USE_SCHEMA", "MANAGE"]},
    "ALL": {"catalog": ["ALL_PRIVILEGES"]},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = processes.start_demo(tmp_path_factory.mktemp("matrix"), None)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def raw(server):
    def call(who, method, path, **more):
        headers = {"Authorization": f"Bearer {server.details['tokens'][who]}", **more.pop("headers", {})}
        return requests.request(method, server.url + path, headers=headers, timeout=60, **more)

    return call


@pytest.fixture(scope="module")
def admin(server):
    return WorkspaceClient(config=Config(host=server.url, token=server.details["tokens"]["admin"], auth_type="pat"))


def export(trace, name):
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = bytes.fromhex(trace), os.urandom(8), name
    span.start_time_unix_nano, span.end_time_unix_nano = 1_700_000_000_000_000_000, 1_700_000_000_500_000_000
    return {"data": request.SerializeToString(), "headers": {"Content-Type": "application/x-protobuf"}}


class Place:
    """Tables with one trace of the administrator's, whose span, tag and assessment each hold a word to look for."""

    def __init__(self, raw, admin):
        self.raw, self.admin, self.catalog = raw, admin, f"m_{uuid.uuid4().hex[:8]}"
        self.schema, self.location, self.trace = f"{self.catalog}.s", f"{self.catalog}.s.bot", uuid.uuid4().hex
        admin.catalogs.create(name=self.catalog)
        admin.schemas.create(name="s", catalog_name=self.catalog)
        self.must("POST", "/api/5.0/mlflow/tracing/locations", json=self.prefix())
        spans = export(self.trace, f"{WORD} span")
        spans["headers"]["X-Databricks-UC-Table-Name"] = f"{self.schema}.{SPANS}"
        self.must("POST", "/api/2.0/otel/v1/traces", **spans)
        self.base = f"/api/4.0/mlflow/traces/{self.location}/{self.trace}"
        self.must("PATCH", f"{self.base}/tags", json={"key": "said", "value": f"{WORD} tag"})
        self.assessment = self.assess()
        self.run = self.must("POST", "/api/2.0/mlflow/runs/create", json={"experiment_id": self.experiment()})["run"]["info"]["run_id"]
        access = iam.AccessControlRequest(user_name=CALLER, permission_level=iam.PermissionLevel.CAN_USE)
        admin.permissions.update("warehouses", "tracegate", access_control_list=[access])

    def prefix(self):
        return {"uc_table_prefix": {"catalog_name": self.catalog, "schema_name": "s", "table_prefix": "bot"}}

    def experiment(self):
        """One that the caller may edit: only the tables stand between it and the run's links."""
        made = self.must("POST", "/api/2.0/mlflow/experiments/create", json={"name": self.catalog})["experiment_id"]
        body = {"principal": f"user:{CALLER}", "securable": f"experiment:{made}", "privilege": "CAN_EDIT"}
        self.must("POST", "/api/tracegate/v1/grants", json=body)
        return made

    def assess(self):
        return self.must("POST", f"{self.base}/assessments", json=self.feedback())["assessment_id"]

    def feedback(self):
        return {
            "assessment_name": "helpful", "trace_id": self.trace, "source": {"source_type": "CODE", "source_id": "x"},
            "feedback": {"value": True}, "rationale": f"{WORD} why",
            "trace_location": {"uc_table_prefix": self.prefix()["uc_table_prefix"]},
        }

    def must(self, method, path, **more):
        answer = self.raw("admin", method, path, **more)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.json() if answer.content and answer.headers["content-type"].startswith("application/json") else None

    def change(self, held, give):
        for name, privileges in held.items():
            kind = name if name in ("catalog", "schema") else "table"
            full = {"catalog": self.catalog, "schema": self.schema}.get(name, f"{self.schema}.{name}")
            listed = [catalog.Privilege(one) for one in privileges]
            given = {"add": listed} if give else {"remove": listed}
            self.admin.grants.update(kind, full, changes=[catalog.PermissionsChange(principal=CALLER, **given)])


@pytest.fixture(scope="module")
def place(raw, admin):
    return Place(raw, admin)


def doors(place):
    """Name, what it takes (`need`), method, path, what is sent, and what an answer must hold to count as shown."""
    location = {"uc_table_prefix": place.prefix()["uc_table_prefix"]}
    rows = []

    def add(name, need, method, path, shown=None, **more):
        rows.append((name, need, method, path, more, shown))

    def sql(name, need, text, shown=None):
        body = {"statement": text.format(s=place.schema), "warehouse_id": "tracegate", "wait_timeout": "50s"}
        add(f"SQL {name}", need, "POST", "/api/2.0/sql/statements", shown, json=body)

    # Both tables are read for a trace, whichever way it is asked for.
    add("traces/search", "read", "POST", "/api/4.0/mlflow/traces/search", place.trace, json={"locations": [location], "max_results": 9})
    add("search, by a tag", "read", "POST", "/api/4.0/mlflow/traces/search", place.trace,
        json={"locations": [location], "max_results": 9, "filter": f"tags.said = '{WORD} tag'"})
    add("search-long-running", "read", "POST", "/api/4.0/mlflow/traces/search-long-running", None, json={"locations": [location], "max_results": 9})
    add("batchGet", "read", "GET", f"/api/4.0/mlflow/traces/{place.location}/batchGet?trace_ids={place.trace}", f"{WORD} span")
    add("trace info", "read", "GET", f"{place.base}/info", f"{WORD} tag")
    add("assessment", "read", "GET", f"{place.base}/assessments/{place.assessment}", f"{WORD} why")
    sql("join of both tables", "read", f"SELECT s.name, a.value FROM {{s}}.{SPANS} s JOIN {{s}}.{ANNOTATIONS} a ON a.target_id = s.trace_id", WORD)
    # One table, by SQL.
    sql("spans", "select spans", f"SELECT name FROM {{s}}.{SPANS}", WORD)
    sql("spans, counted", "select spans", f"SELECT count(*) FROM {{s}}.{SPANS}")
    sql("spans, in a subquery", "select spans", f"SELECT 1 WHERE EXISTS (SELECT 1 FROM {{s}}.{SPANS} WHERE name LIKE '{WORD}%')")
    sql("spans, explained", "select spans", f"EXPLAIN SELECT * FROM {{s}}.{SPANS}")
    sql("annotations", "select annotations", f"SELECT value FROM {{s}}.{ANNOTATIONS}", WORD)
    sql("unified view", "select unified", f"SELECT * FROM {{s}}.{UNIFIED}", WORD)
    sql("metadata view", "select metadata", f"SELECT * FROM {{s}}.{METADATA}", WORD)
    # That there is such a table.
    add("tables/get", "name", "GET", f"/api/2.1/unity-catalog/tables/{place.schema}.{SPANS}")
    sql("information_schema", "name", f"SELECT table_name FROM {place.catalog}.information_schema.tables WHERE table_name = '{SPANS}'", SPANS)
    # Writing.
    for path in ("/api/2.0/otel/v1/traces", "/api/2.0/tracing/otel/v1/traces"):
        spans = export(uuid.uuid4().hex, "by the caller")
        spans["headers"]["X-Databricks-UC-Table-Name"] = f"{place.schema}.{SPANS}"
        add(path.removeprefix("/api/2.0/"), "modify spans", "POST", path, **spans)
    sql("INSERT spans", "modify spans", f"INSERT INTO {{s}}.{SPANS} (trace_id, span_id, name) VALUES ('{'ab' * 16}', '{'cd' * 8}', 'x')")
    sql("INSERT annotations", "modify annotations",
        f"INSERT INTO {{s}}.{ANNOTATIONS} (annotation_id, target_id, name) VALUES ('{uuid.uuid4().hex}', '{'ab' * 16}', 'x')")
    add("trace info, set", "annotate", "POST", f"/api/4.0/mlflow/traces/{place.location}/{uuid.uuid4().hex}/info", json={"tags": {"a": "b"}})
    add("tag, set", "annotate", "PATCH", f"{place.base}/tags", json={"key": "other", "value": "x"})
    add("tag, delete", "annotate", "DELETE", f"{place.base}/tags/other")
    add("assessment, create", "annotate", "POST", f"{place.base}/assessments", json=place.feedback())
    add("link-to-run", "annotate", "POST", f"/api/4.0/mlflow/traces/{place.location}/link-to-run/batchCreate",
        json={"location_id": place.location, "trace_ids": [place.trace], "run_id": place.run})
    for name, method, more in (("update", "PATCH", {"json": {"rationale": "other"}}), ("delete", "DELETE", {})):
        path = f"{place.base}/assessments/{place.assess()}" + ("?update_mask=rationale" if more else "")
        add(f"assessment, {name}", "reassess", method, path, **more)
    add("locations", "make", "POST", "/api/5.0/mlflow/tracing/locations", json={
        "uc_table_prefix": {**place.prefix()["uc_table_prefix"], "table_prefix": f"new{uuid.uuid4().hex[:6]}"}})
    sql("CREATE TABLE", "make", f"CREATE TABLE {{s}}.t_{uuid.uuid4().hex[:6]} (a INT)")
    return rows


def shown(answer, wanted):
    if answer.status_code >= 300:
        assert answer.status_code in (403, 404), (answer.status_code, answer.text)
        return False
    body = answer.json() if answer.content and answer.headers["content-type"].startswith("application/json") else {}
    state = body.get("status", {}).get("state") if isinstance(body.get("status"), dict) else None
    if state == "FAILED":
        assert body["status"]["sql_state"] in ("42501", "42P01", "42704"), answer.text
        return False
    return wanted is None or wanted in answer.text


def test_no_door_to_a_table_is_wider_than_another(raw, place):
    needs = {name: need for name, need, *_ in doors(place)}
    tried = {name: [] for name in needs}
    for held in SETS.values():
        place.change(held, give=True)
        try:
            for name, _, method, path, more, wanted in doors(place):
                answer = raw(CALLER, method, path, **more)
                said = shown(answer, wanted)
                assert said or WORD not in answer.text, (name, answer.text)
                tried[name].append(said)
        finally:
            place.change(held, give=False)
    width = max(map(len, tried)) + 2
    lines = ["Doors to traces in tables, by what a caller has: USE of catalog and schema, S(ELECT) and M(ODIFY) on the tables.", ""]
    lines.append(" " * width + "  ".join(f"{name:>12}" for name in SETS))
    lines += [f"{name:<{width}}" + "  ".join(f"{'yes' if said else 'no':>12}" for said in row) for name, row in tried.items()]
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    # Whatever takes the same is open to the same callers, by every door.
    for need in set(needs.values()):
        rows = {name: row for name, row in tried.items() if needs[name] == need}
        assert len({tuple(row) for row in rows.values()}) == 1, (need, rows)
    assert GOLDEN.read_text() == text
