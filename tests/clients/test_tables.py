"""Traces in tables through the unmodified MLflow SDK in Databricks mode, as people with and without privileges, and
what each could try to get round them."""

import gzip
import uuid

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.service import catalog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness import processes
from harness.caller import Caller

WAREHOUSE = "tracegate"
CALLERS = ["admin", "alice", "bob", "agent", "carol", "dave"]


@pytest.fixture(scope="module", params=["sqlite", "postgres", "upstream"])
def lake(request, tmp_path_factory):
    environment, mlflow_url = {}, None
    if request.param == "upstream":
        # The experiments are an MLflow server's, and their traces in tables none of its.
        mlflow_url = request.getfixturevalue("mlflow_server").url
    if request.param == "postgres":
        environment["TRACEGATE__DATABASE__URL"] = request.getfixturevalue("postgres_server").details["url"]
    directory = tmp_path_factory.mktemp("tables")
    server = processes.start_demo(directory / "gate", mlflow_url, **environment)
    server.directory, server.mlflow_url = directory, mlflow_url
    yield server
    server.stop()


@pytest.fixture(scope="module")
def people(lake):
    started = {}

    def get(who):
        if who not in started:
            environment = {
                "MLFLOW_TRACKING_URI": "databricks", "DATABRICKS_HOST": lake.url, "DATABRICKS_TOKEN": lake.details["tokens"][who],
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_ASYNC_TRACE_LOGGING_RETRY_TIMEOUT": "5",
                "MLFLOW_GET_TRACE_OTEL_RETRY_TIMEOUT_SECONDS": "2",
            }
            started[who] = Caller(who, environment, "tables_worker", lake.directory / f"{who}.log")
        return started[who]

    yield get
    for caller in started.values():
        caller.stop()


@pytest.fixture(scope="module")
def raw(lake):
    def call(who, method, path, **more):
        headers = {"Authorization": f"Bearer {lake.details['tokens'][who]}", **more.pop("headers", {})}
        return requests.request(method, lake.url + path, headers=headers, timeout=60, **more)

    return call


@pytest.fixture(scope="module")
def admin(lake):
    return WorkspaceClient(config=Config(host=lake.url, token=lake.details["tokens"]["admin"], auth_type="pat"))


def fresh(prefix):
    return f"{prefix}_{uuid.uuid4().hex[:8]}"


def grant(admin, kind, name, who, *privileges, remove=()):
    change = catalog.PermissionsChange(
        principal=who, add=[catalog.Privilege(one) for one in privileges], remove=[catalog.Privilege(one) for one in remove]
    )
    admin.grants.update(securable_type=kind, full_name=name, changes=[change])


@pytest.fixture(scope="module")
def schema(admin):
    """A schema in which alice may make tables, and that bob, agent and dave may enter."""
    name = fresh("main")
    admin.catalogs.create(name=name)
    admin.schemas.create(name="agents", catalog_name=name)
    grant(admin, "catalog", name, "account users", "USE_CATALOG")
    for who in ("alice", "bob", "agent", "dave"):
        grant(admin, "schema", f"{name}.agents", who, "USE_SCHEMA")
    grant(admin, "schema", f"{name}.agents", "alice", "CREATE_TABLE")
    return f"{name}.agents"


@pytest.fixture(scope="module")
def place(people, schema, admin):
    """Tables with a prefix that alice owns, bob reads, agent writes; with two traces of alice's."""
    catalog_name, schema_name = schema.split(".")
    made = people("alice").run(
        "use_prefix", name=fresh("/tables/bot"), catalog=catalog_name, schema=schema_name, prefix="bot"
    ).value
    for part in ("spans", "annotations"):
        grant(admin, "table", f"{schema}.bot_otel_{part}", "bob", "SELECT")
        grant(admin, "table", f"{schema}.bot_otel_{part}", "agent", "MODIFY")
    first = people("alice").run("say", question="where is my order?").value
    second = people("alice").run("say", question="refund 4711", fails=True).value
    return {"location": f"{schema}.bot", "experiment": made["experiment_id"], "tags": made["tags"], "traces": [first, second]}


class TestWhoMay:
    def test_an_experiment_says_where_its_traces_go(self, place, schema):
        assert place["tags"]["mlflow.experiment.databricksTraceDestinationPath"] == f"{schema}.bot"
        assert place["tags"]["mlflow.experiment.databricksTraceSpanStorageTable"] == f"{schema}.bot_otel_spans"
        assert all(trace.startswith(f"trace:/{schema}.bot/") for trace in place["traces"])

    @pytest.mark.parametrize("who", ["alice", "bob"])
    def test_who_may_read_gets_the_whole_trace(self, people, place, who):
        first, second = (people(who).run("get", trace_id=trace).value for trace in place["traces"])
        assert [span["name"] for span in first["spans"]] == ["answer", "look_up"]
        answer, look_up = first["spans"]
        assert (answer["inputs"], look_up["outputs"]) == ({"question": "where is my order?"}, ["about where is my order?"])
        assert (look_up["type"], look_up["top"], look_up["parent"], answer["parent"]) == ("RETRIEVER", 3, True, False)
        assert first["tags"]["team"] == "support" and first["metadata"]["mlflow.user"] == "alice"
        assert first["state"].endswith("OK") and second["state"].endswith("ERROR")
        assert second["spans"][1]["status"] == "ERROR" and second["spans"][1]["events"] == ["exception"]

    def test_who_may_not_read_gets_nothing_by_any_door(self, people, raw, place, schema):
        hexes = [trace.rsplit("/", 1)[1] for trace in place["traces"]]
        base = f"/api/4.0/mlflow/traces/{place['location']}"
        body = {"locations": [{"type": "UC_TABLE_PREFIX", "uc_table_prefix": {
            "catalog_name": schema.split(".")[0], "schema_name": "agents", "table_prefix": "bot"}}]}
        for who in ("agent", "carol", "dave"):
            for method, path, sent in [
                ("GET", f"{base}/batchGet?trace_ids={hexes[0]}", None),
                ("GET", f"{base}/{hexes[0]}/info", None),
                ("GET", f"{base}/{hexes[0]}/assessments/a-{'0' * 32}", None),
                ("POST", "/api/4.0/mlflow/traces/search", body),
                ("POST", "/api/4.0/mlflow/traces/search-long-running", body),
                ("POST", "/ajax-api/4.0/mlflow/traces/search-long-running", body),
                ("GET", f"/api/5.0/mlflow/tracing/locations/{place['location']}", None),
            ]:
                answer = raw(who, method, path, json=sent)
                assert answer.status_code == 404, (who, method, path, answer.text)
                assert "order" not in answer.text and hexes[1] not in answer.text
            # The SDK answers nothing, and logs why.
            assert people(who).run("get", trace_id=place["traces"][0]).value is None

    def test_an_experiments_own_store_has_none_of_them(self, lake, raw, place):
        body = {"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": place["experiment"]}}]}
        path = "/api/3.0/mlflow/traces/search"
        if lake.mlflow_url:
            answer = requests.post(lake.mlflow_url + path, json=body, timeout=60)
            assert answer.status_code == 200 and not answer.json().get("traces"), answer.text
        answer = raw("alice", "POST", path, json=body)
        assert answer.status_code == 200 and not answer.json().get("traces"), answer.text

    def test_hidden_and_missing_look_alike(self, raw, schema):
        answers = []
        for prefix in ("bot", "none"):
            path = f"/api/4.0/mlflow/traces/{schema}.{prefix}/batchGet?trace_ids={'ab' * 16}"
            answer = raw("carol", "GET", path)
            text = answer.json()["message"].split(" (decision")[0].replace(prefix, "X")
            answers.append((answer.status_code, answer.json()["error_code"], text))
        assert answers[0] == answers[1] and answers[0][0] == 404

    def test_an_agent_writes_what_it_cannot_read(self, people, raw, place):
        # The SDK looks its experiment up.
        grant = {"principal": "service_principal:agent", "securable": f"experiment:{place['experiment']}", "privilege": "CAN_INGEST"}
        assert raw("alice", "POST", "/api/tracegate/v1/grants", json=grant).status_code == 200
        people("agent").run("choose", experiment_id=place["experiment"]).value
        agent = people("agent").run("say", question="from the agent")
        hex_digits = agent.value.rsplit("/", 1)[1]
        trace = f"trace:/{place['location']}/{hex_digits}"
        seen = people("bob").run("get", trace_id=trace).value
        if seen is None:
            pytest.fail(f"the agent's trace did not arrive:\n{agent.log}")
        assert seen["metadata"]["mlflow.user"] == "agent"

    def test_who_may_not_write_writes_nothing(self, raw, place, schema):
        request = one_span("ab" * 16)
        for who in ("bob", "carol", "dave"):
            answer = export(raw, who, f"{schema}.bot_otel_spans", request)
            assert answer.status_code in (403, 404), (who, answer.text)
            base = f"/api/4.0/mlflow/traces/{place['location']}/{'ab' * 16}"
            for method, path, body in [
                ("POST", f"{base}/info", {"request_preview": "x"}),
                ("PATCH", f"{base}/tags", {"key": "k", "value": "v"}),
                ("DELETE", f"{base}/tags/k", None),
                ("POST", f"{base}/assessments", {"assessment_name": "q", "feedback": {"value": 1}}),
            ]:
                answer = raw(who, method, path, json=body)
                assert answer.status_code in (403, 404), (who, method, path, answer.text)
        assert raw("bob", "GET", f"/api/4.0/mlflow/traces/{place['location']}/batchGet?trace_ids={'ab' * 16}").json() == {"traces": []}

    def test_a_revoked_grant_ends_reading_at_once(self, people, admin, place, schema):
        grant(admin, "table", f"{schema}.bot_otel_spans", "dave", "SELECT")
        grant(admin, "table", f"{schema}.bot_otel_annotations", "dave", "SELECT")
        assert people("dave").run("get", trace_id=place["traces"][0]).value["spans"]
        grant(admin, "table", f"{schema}.bot_otel_annotations", "dave", remove=["SELECT"])
        outcome = people("dave").run("search", location=place["location"])
        assert outcome.error is not None and "does not exist" in outcome.error["message"]


class TestSearch:
    def test_filters_and_order(self, people, place):
        bob = people("bob")
        ids = lambda **more: [found["trace_id"] for found in bob.run("search", location=place["location"], **more).value]  # noqa: E731
        first, second = place["traces"]
        assert {first, second} <= set(ids())
        assert second in ids(filter_string="status = 'ERROR'") and first not in ids(filter_string="status = 'ERROR'")
        assert set(ids(filter_string="tag.team = 'support' AND metadata.`mlflow.user` = 'alice'")) == {first, second}
        assert ids(filter_string="tag.team = 'other'") == []
        assert set(ids(filter_string="span.name = 'look_up'")) >= {first, second}
        assert ids(filter_string="span.content LIKE '%4711%'") == [second]
        ascending = [one for one in ids(order_by=["timestamp ASC"]) if one in (first, second)]
        assert ascending == [first, second]

    def test_pages_hold_each_trace_once(self, people, place):
        pages = people("bob").run("pages", location=place["location"], size=1).value
        ids = [trace for page in pages for trace in page]
        assert len(ids) == len(set(ids)) and set(place["traces"]) <= set(ids)
        assert all(len(page) <= 1 for page in pages)

    def test_a_token_is_for_its_caller_and_question(self, raw, place, schema):
        catalog_name, schema_name = schema.split(".")
        body = {"max_results": 1, "locations": [{"type": "UC_TABLE_PREFIX", "uc_table_prefix": {
            "catalog_name": catalog_name, "schema_name": schema_name, "table_prefix": "bot"}}]}
        path = "/api/4.0/mlflow/traces/search"
        token = raw("bob", "POST", path, json=body).json()["next_page_token"]
        assert raw("bob", "POST", path, json={**body, "page_token": token}).status_code == 200
        for who, more in (("alice", {}), ("bob", {"filter": "status = 'OK'"})):
            answer = raw(who, "POST", path, json={**body, "page_token": token, **more})
            assert answer.status_code == 400 and "page_token" in answer.text

    def test_an_operation_is_its_callers(self, raw, place, schema):
        catalog_name, schema_name = schema.split(".")
        body = {"locations": [{"type": "UC_TABLE_PREFIX", "uc_table_prefix": {
            "catalog_name": catalog_name, "schema_name": schema_name, "table_prefix": "bot"}}]}
        started = raw("bob", "POST", "/api/4.0/mlflow/traces/search-long-running", json=body).json()
        assert started["done"] is True and len(started["response"]["trace_infos"]) >= 2
        path = f"/api/4.0/mlflow/traces/search/operations/{started['name']}"
        assert raw("bob", "GET", path).json()["response"]["trace_infos"]
        for who in ("alice", "admin", "carol"):
            assert raw(who, "GET", path).status_code == 404


class TestAnnotations:
    def test_tags_and_assessments_come_and_go(self, people, place):
        alice, trace = people("alice"), place["traces"][0]
        alice.run("tag", trace_id=trace, key="topic/1", value="order").value
        made = alice.run("assess", trace_id=trace, value=0.5).value
        code = alice.run("assess", trace_id=trace, value=True, human=False).value
        expected = alice.run("expect", trace_id=trace, value={"answer": 42}).value
        seen = alice.run("get", trace_id=trace).value
        assert seen["tags"]["topic/1"] == "order"
        by_id = {one["id"]: one for one in seen["assessments"]}
        assert (by_id[made]["value"], by_id[made]["by"], by_id[made]["rationale"]) == (0.5, "alice", "because")
        assert (by_id[code]["value"], by_id[code]["by"]) == (True, "somebody-else")
        assert by_id[expected]["value"] == {"answer": 42}
        assert people("bob").run("search", location=place["location"], filter_string="feedback.helpful = '0.5'").value
        assert alice.run("reassess", trace_id=trace, assessment_id=made, value=0.75).value == 0.75
        assert alice.run("assessment", trace_id=trace, assessment_id=made).value == {"value": 0.75, "by": "alice"}
        for one in (made, code, expected):
            alice.run("unassess", trace_id=trace, assessment_id=one).value
        alice.run("untag", trace_id=trace, key="topic/1").value
        seen = alice.run("get", trace_id=trace).value
        assert seen["assessments"] == [] and "topic/1" not in seen["tags"]

    def test_a_run_takes_its_experiments_privilege_too(self, people, raw, place, lake):
        trace = place["traces"][0]
        run = people("alice").run("link", trace_ids=[trace], experiment_id=place["experiment"]).value
        # agent may write the table, and nothing into alice's experiment.
        body = {"location_id": place["location"], "trace_ids": [trace.rsplit("/", 1)[1]], "run_id": run}
        path = f"/api/4.0/mlflow/traces/{place['location']}/link-to-run/batchCreate"
        assert raw("agent", "POST", path, json=body).status_code == 403

    def test_nobody_speaks_for_another_or_sets_what_is_reserved(self, raw, place):
        base = f"/api/4.0/mlflow/traces/{place['location']}/{'cd' * 16}"
        answer = raw("agent", "POST", f"{base}/info", json={"trace_metadata": {"mlflow.user": "alice"}})
        assert answer.json()["trace_metadata"]["mlflow.user"] == "agent"
        for tags in ({"mlflow.artifactLocation": "s3://x"}, {"mlflow.trace.spansLocation": "x"}):
            assert raw("agent", "POST", f"{base}/info", json={"tags": tags}).status_code == 403
            key, value = next(iter(tags.items()))
            assert raw("agent", "PATCH", f"{base}/tags", json={"key": key, "value": value}).status_code == 403
        for other in ({"trace_id": "ef" * 16}, {"trace_location": {"uc_schema": {"catalog_name": "x", "schema_name": "y"}}}):
            assert raw("agent", "POST", f"{base}/info", json=other).status_code == 400


class TestPlaces:
    def test_the_tables_of_a_schema(self, people, schema):
        catalog_name, schema_name = schema.split(".")
        alice = people("alice")
        made = alice.run("use_schema", name=fresh("/tables/first"), catalog=catalog_name, schema=schema_name).value
        assert made["spans"] == f"{schema}.mlflow_experiment_trace_otel_spans"
        trace = alice.run("say", question="version one").value
        seen = alice.run("get", trace_id=trace).value
        assert seen["spans"][0]["inputs"] == {"question": "version one"} and seen["tags"]["team"] == "support"
        alice.run("leave_schema", experiment_id=made["experiment_id"], catalog=catalog_name, schema=schema_name).value

    def test_a_link_takes_the_experiment_and_the_tables(self, raw, place, schema, lake):
        catalog_name, schema_name = schema.split(".")
        body = {"uc_table_prefix": {"catalog_name": catalog_name, "schema_name": schema_name, "table_prefix": "bot"}}
        mine, secret = place["experiment"], lake.details["experiments"]["secret-lab"]
        # bob reads the tables and does not manage the experiment; dave manages his own and has no tables.
        assert raw("bob", "POST", f"/api/5.0/mlflow/experiments/{mine}/trace-location:link", json=body).status_code == 403
        assert raw("dave", "POST", f"/api/5.0/mlflow/experiments/{secret}/trace-location:link", json=body).status_code in (403, 404)
        for key in ("mlflow.experiment.databricksTraceDestinationPath", "mlflow.experiment.databricksTraceSpanStorageTable"):
            sent = {"experiment_id": mine, "key": key, "value": "evil.place"}
            assert raw("alice", "POST", "/api/2.0/mlflow/experiments/set-experiment-tag", json=sent).status_code == 403

    def test_making_tables_takes_create_table(self, raw, schema):
        catalog_name, schema_name = schema.split(".")
        for who, prefix, status in (("bob", "mine", 403), ("carol", "mine", 404)):
            body = {"uc_table_prefix": {"catalog_name": catalog_name, "schema_name": schema_name, "table_prefix": prefix}}
            assert raw(who, "POST", "/api/5.0/mlflow/tracing/locations", json=body).status_code == status


def one_span(trace, name="f"):
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = bytes.fromhex(trace), b"\1" * 8, name
    span.start_time_unix_nano, span.end_time_unix_nano = 1_700_000_000_000_000_000, 1_700_000_000_500_000_000
    return request.SerializeToString()


def export(raw, who, table, body, **headers):
    sent = {"Content-Type": "application/x-protobuf", "X-Databricks-UC-Table-Name": table, **headers}
    return raw(who, "POST", "/api/2.0/otel/v1/traces", data=body, headers=sent)


class TestExport:
    def test_plain_otlp_becomes_a_trace(self, raw, place, schema):
        trace = uuid.uuid4().hex
        answer = export(raw, "agent", f"{schema}.bot_otel_spans", gzip.compress(one_span(trace)), **{"Content-Encoding": "gzip"})
        assert answer.status_code == 200, answer.text
        path = f"/api/4.0/mlflow/traces/{place['location']}/batchGet?trace_ids={trace}"
        (found,) = raw("bob", "GET", path).json()["traces"]
        assert found["trace_info"]["execution_duration"] == "0.500s" and found["trace_info"]["tags"]["mlflow.traceName"] == "f"
        assert len(found["spans"]) == 1
        # Sent again, as exporters do that got no answer: it is one span all the same.
        assert export(raw, "agent", f"{schema}.bot_otel_spans", one_span(trace)).status_code == 200
        (found,) = raw("bob", "GET", path).json()["traces"]
        assert len(found["spans"]) == 1

    @pytest.mark.parametrize("table", ["", "bot_otel_spans", "{}.bot", "{}.bot_otel_logs", "{}.bot_otel_annotations", "{}.`bot`_otel_spans"])
    def test_a_table_of_another_kind_takes_no_spans(self, raw, schema, table):
        answer = export(raw, "admin", table.format(schema), one_span("ab" * 16))
        assert answer.status_code in (400, 404), answer.text

    def test_what_is_no_export_is_refused_and_names_what_is_wrong(self, raw, schema):
        table = f"{schema}.bot_otel_spans"
        assert export(raw, "agent", table, b"\xff\xff\xff").status_code == 400
        assert export(raw, "agent", table, one_span("00" * 16)).status_code == 400
        answer = export(raw, "agent", table, b"{}", **{"Content-Type": "application/json"})
        assert answer.status_code == 400 and "protobuf" in answer.text

    def test_the_record_says_who_wrote_and_saw_a_trace(self, raw, place, schema):
        trace = uuid.uuid4().hex
        assert export(raw, "agent", f"{schema}.bot_otel_spans", one_span(trace)).status_code == 200
        raw("bob", "GET", f"/api/4.0/mlflow/traces/{place['location']}/batchGet?trace_ids={trace}")
        named = f"trace:/{place['location']}/{trace}"

        def seen():
            events = raw("admin", "GET", f"/api/tracegate/v1/audit/events?trace_id={named}").json().get("events", [])
            return {(event["operation"], event["principal"]) for event in events}

        wanted = {("tracing.spans.write", "service_principal:agent"), ("tracing.traces.get", "user:bob")}
        processes.wait_until(lambda: wanted <= seen(), 20, "records of who wrote and who read")
