"""An experiment's traces in its archive: as MLflow's function sets it up through Databricks' own client, before each of
the stores; each version of a trace there once, whatever is killed; and never more than its owner may read and write."""

import json
import os
import time
import uuid

import pytest
import requests

from harness import postgres, processes
from harness.caller import Caller
from test_lake_tables import tool

ROUNDS = int(os.environ.get("TRACEGATE_KILL_ROUNDS", "3"))
STORES = ["sqlite", "postgres", "upstream"]


class Gate:
    """A gateway with a schema in which alice may make tables, and callers of it."""

    def __init__(self, directory, mlflow_url=None, **environment):
        self.directory, self.environment, self.mlflow_url = directory, environment, mlflow_url
        self.server = processes.start_demo(directory, mlflow_url, **environment)
        self.details, self.callers = self.server.details, {}
        self.experiment = str(self.details["experiments"]["support-bot"])
        self.secret = str(self.details["experiments"]["secret-lab"])
        self.catalog = f"main_{uuid.uuid4().hex[:8]}"
        base = "/api/2.1/unity-catalog"
        assert self.call("admin", "POST", f"{base}/catalogs", json={"name": self.catalog}).status_code == 200
        made = {"name": "kept", "catalog_name": self.catalog}
        assert self.call("admin", "POST", f"{base}/schemas", json=made).status_code == 200
        self.schema = f"{self.catalog}.kept"
        self.grant("catalog", self.catalog, "account users", "USE_CATALOG")
        for who in ("alice", "bob", "dave", "carol"):
            self.grant("schema", self.schema, who, "USE_SCHEMA")
        self.grant("schema", self.schema, "alice", "CREATE_TABLE")
        self.grant("schema", self.schema, "dave", "CREATE_TABLE")
        for who in ("alice", "bob", "dave", "carol"):
            self.allow(who, "warehouse:tracegate", "warehouse.use")

    def call(self, who, method, path, **more):
        headers = {"Authorization": f"Bearer {self.details['tokens'][who]}", **more.pop("headers", {})}
        return requests.request(method, self.server.url + path, headers=headers, timeout=60, **more)

    def allow(self, who, securable, privilege):
        body = {"principal": f"user:{who}", "securable": securable, "privilege": privilege, "effect": "allow"}
        answer = self.call("admin", "POST", "/api/tracegate/v1/grants", json=body)
        assert answer.status_code == 200, answer.text

    def grant(self, kind, name, who, *privileges, remove=()):
        body = {"changes": [{"principal": who, "add": list(privileges), "remove": list(remove)}]}
        answer = self.call("admin", "PATCH", f"/api/2.1/unity-catalog/permissions/{kind}/{name}", json=body)
        assert answer.status_code == 200, answer.text

    def sdk(self, who, databricks=True):
        """A caller with MLflow's SDK: in Databricks mode, or as before an MLflow server."""
        key = (who, databricks)
        if key not in self.callers:
            token = self.details["tokens"][who]
            settings = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_ASYNC_TRACE_LOGGING_RETRY_TIMEOUT": "5"}
            if databricks:
                settings |= {"MLFLOW_TRACKING_URI": "databricks", "DATABRICKS_HOST": self.server.url, "DATABRICKS_TOKEN": token}
            else:
                settings |= {"MLFLOW_TRACKING_URI": self.server.url, "MLFLOW_TRACKING_TOKEN": token}
            log = self.directory / f"{who}-{databricks}.log"
            self.callers[key] = Caller(who, settings, "tables_worker", log)
        return self.callers[key]

    def say(self, who, question, fails=False, experiment=None):
        caller = self.sdk(who, databricks=False)
        caller.run("choose", experiment_id=experiment or self.experiment)
        return caller.run("say", question=question, fails=fails).value

    def sql(self, who, statement):
        body = {"statement": statement, "warehouse_id": "tracegate", "wait_timeout": "30s"}
        answer = self.call(who, "POST", "/api/2.0/sql/statements", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def rows(self, who, statement):
        answer = self.sql(who, statement)
        assert answer["status"]["state"] == "SUCCEEDED", answer
        return answer["result"].get("data_array", [])

    def archive(self, who="alice", experiment=None):
        answer = self.call(who, "GET", f"/api/tracegate/v1/archives/{experiment or self.experiment}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def table(self, stem="traces"):
        return f"{self.schema}.{stem}_{uuid.uuid4().hex[:8]}"

    def set(self, table, who="alice", experiment=None, **more):
        path = f"/api/tracegate/v1/archives/{experiment or self.experiment}"
        return self.call(who, "PUT", path, json={"table": table, **more})

    def end(self, experiment=None):
        answer = self.call("admin", "DELETE", f"/api/tracegate/v1/archives/{experiment or self.experiment}")
        assert answer.status_code in (200, 404), answer.text

    def eventually(self, ready, what, seconds=120):
        processes.wait_until(ready, seconds, f"{what}\n{self.server.log_tail(20)}", self.server.alive)

    def caught_up(self, experiment=None):
        self.eventually(lambda: self.archive("admin", experiment)["waiting_traces"] == 0, "the archive is behind")

    def stop(self):
        for caller in self.callers.values():
            caller.stop()
        self.server.stop()


def database(request, store):
    if store == "postgres":
        return {"TRACEGATE__DATABASE__URL": postgres.database(request.getfixturevalue("postgres_server"))}
    return {}


@pytest.fixture(scope="module", params=STORES)
def served(request, tmp_path_factory):
    environment, mlflow_url = database(request, request.param), None
    if request.param == "upstream":
        mlflow_url = request.getfixturevalue("mlflow_server").url
    started = Gate(tmp_path_factory.mktemp("archive"), mlflow_url, **environment)
    started.store = request.param
    yield started
    started.stop()


@pytest.fixture
def clean(served):
    """Without archives, before and after."""
    for experiment in (served.experiment, served.secret):
        served.end(experiment)
    yield served
    for experiment in (served.experiment, served.secret):
        served.end(experiment)


class TestArchive:
    def test_databricks_own_client_sets_one_up_and_ends_it(self, clean):
        gate, table = clean, clean.table()
        before = {gate.say("alice", "where is my order?"), gate.say("alice", "refund 4711", fails=True)}
        assert gate.sdk("alice").run("archive", experiment_id=gate.experiment, table=table).error is None
        after = gate.say("alice", "and my money?")
        gate.eventually(
            lambda: before | {after} <= {row[0] for row in gate.rows("alice", f"SELECT trace_id FROM {table}")},
            "the traces are archived",
        )
        gate.caught_up()
        rows = gate.rows(
            "alice",
            "SELECT trace_id, state, request, response, tags['team'], trace_metadata['mlflow.user'], "
            "trace_location.mlflow_experiment.experiment_id, size(spans), execution_duration_ms "
            f"FROM {table} WHERE request LIKE '%money%'",
        )
        assert len(rows) == 1, rows
        found = rows[0]
        assert found[0] == after and found[1] == "OK"
        assert json.loads(found[2]) == {"question": "and my money?"}
        assert json.loads(found[3]) == {"found": ["about and my money?"], "sure": 0.5}
        assert found[4:8] == ["support", "alice", gate.experiment, "2"] and float(found[8]) >= 0
        # Again is refused, and so is what nobody set up.
        again = gate.sdk("alice").run("archive", experiment_id=gate.experiment, table=gate.table())
        assert "already configured" in again.error["message"]
        assert gate.sdk("alice").run("unarchive", experiment_id=gate.experiment).error is None
        late = gate.say("alice", "too late")
        gone = gate.sdk("alice").run("unarchive", experiment_id=gate.experiment)
        assert "not currently configured" in gone.error["message"]
        # What was archived stays, and nothing more comes.
        assert late not in {row[0] for row in gate.rows("alice", f"SELECT trace_id FROM {table}")}

    def test_what_changes_is_there_again_and_what_does_not_is_not(self, clean):
        gate, table = clean, clean.table()
        assert gate.set(table).status_code == 200
        trace = gate.say("alice", "a question")
        gate.caught_up()
        versions = f"SELECT tags['mood'], size(assessments) FROM {table} WHERE trace_id = '{trace}' ORDER BY archived_at"
        gate.eventually(lambda: len(gate.rows("alice", versions)) >= 1, "the trace is archived")
        first = len(gate.rows("alice", versions))
        gate.sdk("alice", databricks=False).run("tag", trace_id=trace, key="mood", value="glad")
        gate.eventually(lambda: gate.rows("alice", versions)[-1][0] == "glad", "the tag is archived")
        gate.sdk("alice", databricks=False).run("tag", trace_id=trace, key="mood", value="glad")
        gate.caught_up()
        assert len(gate.rows("alice", versions)) == first + 1, "a tag that says the same makes no row"
        gate.sdk("erin", databricks=False).run("assess", trace_id=trace, value=True)
        gate.eventually(lambda: gate.rows("alice", versions)[-1][1] == "1", "the assessment is archived")
        place = gate.call("admin", "GET", f"/api/2.1/unity-catalog/tables/{table}").json()["storage_location"]
        mine = [row for row in tool("read", place)["delta"] if row["trace_id"] == trace]
        made = max(mine, key=lambda row: row["archived_at"])["assessments"][0]
        assert (made["assessment_name"], made["source"], json.loads(made["feedback"])["value"]) == (
            "helpful", {"source_id": "erin", "source_type": "HUMAN"}, True)

    def test_other_readers_see_the_same_rows(self, clean):
        gate, table = clean, clean.table()
        assert gate.set(table).status_code == 200
        trace = gate.say("alice", "for others")
        gate.eventually(lambda: trace in {row[0] for row in gate.rows("alice", f"SELECT trace_id FROM {table}")}, "archived")
        gate.caught_up()
        place = gate.call("admin", "GET", f"/api/2.1/unity-catalog/tables/{table}").json()["storage_location"]
        read = tool("read", place)
        ours = sorted(row[0] for row in gate.rows("alice", f"SELECT trace_id FROM {table}"))
        assert sorted(row["trace_id"] for row in read["delta"]) == ours
        assert sorted(row["trace_id"] for row in read["duckdb"]) == ours
        mine = next(row for row in read["delta"] if row["trace_id"] == trace)
        assert [span["name"] for span in mine["spans"]].count("look_up") == 1

    def test_a_share_and_a_filter(self, clean):
        gate, table = clean, clean.table()
        assert gate.set(table, filter="trace.status = 'ERROR'").status_code == 200
        good, bad = gate.say("alice", "fine"), gate.say("alice", "broken", fails=True)
        gate.eventually(lambda: bad in {row[0] for row in gate.rows("alice", f"SELECT trace_id FROM {table}")}, "archived")
        gate.caught_up()
        found = gate.rows("alice", f"SELECT trace_id, state FROM {table}")
        assert good not in {row[0] for row in found} and {row[1] for row in found} == {"ERROR"}
        assert gate.set(table, sample_rate=0).status_code == 200
        bad = gate.say("alice", "broken again", fails=True)
        gate.caught_up()
        assert bad not in {row[0] for row in gate.rows("alice", f"SELECT trace_id FROM {table}")}
        shown = gate.archive()
        assert (shown["sample_rate"], shown["filter"], shown["owner"], shown["stopped"]) == (0, None, "user:alice", None)

    def test_what_is_no_archive_is_refused_by_name(self, clean):
        gate = clean
        for more, field in [
            ({"sample_rate": 2}, "sample_rate"),
            ({"filter": "span.name = 'f'"}, "span.name"),
            ({"filter": "nonsense"}, "filter"),
        ]:
            answer = gate.set(gate.table(), **more)
            assert answer.status_code == 400 and field in answer.text, answer.text
        for table in ("main", "a.b", "a.b.c.d", "", "a..c"):
            assert gate.set(table).status_code == 400, table
        assert gate.set(None).status_code == 400
        # A table of other columns.
        other = gate.table("other")
        assert gate.sql("alice", f"CREATE TABLE {other} (id STRING)")["status"]["state"] == "SUCCEEDED"
        answer = gate.set(other)
        assert answer.status_code == 400 and "no column `trace_id`" in answer.text
        assert gate.call("alice", "GET", f"/api/tracegate/v1/archives/{gate.experiment}").status_code == 404

    def test_how_often_rows_come_is_kept_for_its_client(self, clean):
        gate = clean
        path = f"/api/2.0/managed-evals/experiments/{gate.experiment}/monitoring-configuration"
        assert gate.call("alice", "GET", path).status_code == 404
        assert gate.set(gate.table()).status_code == 200
        body = {"monitoring_configuration": {"frequency_minutes": 5}}
        assert gate.call("alice", "PATCH", path, json=body).json() == body
        assert gate.call("alice", "GET", path).json() == body
        assert gate.call("alice", "PATCH", path, json={"monitoring_configuration": {"frequency_minutes": 0}}).status_code == 400
        for who in ("bob", "carol", "dave"):
            assert gate.call(who, "GET", path).status_code == 403


class TestWhoMay:
    def test_only_who_manages_the_experiment_and_writes_to_the_table(self, clean):
        gate, table = clean, clean.table()
        body = {"experiment_id": gate.experiment, "archive_table_fullname": table}
        path = f"/api/2.0/managed-evals/experiments/{gate.experiment}/trace-archival"
        for who in ("bob", "erin", "lena", "agent", "carol", "dave"):
            for answer in (
                gate.call(who, "POST", path, json=body),
                gate.call(who, "DELETE", path, json={"experiment_id": gate.experiment}),
                gate.set(table, who),
                gate.call(who, "GET", f"/api/tracegate/v1/archives/{gate.experiment}"),
                gate.call(who, "DELETE", f"/api/tracegate/v1/archives/{gate.experiment}"),
            ):
                assert answer.status_code == 403, (who, answer.request.method, answer.text)
        # Who manages the experiment and may make no table there.
        hidden = f"{gate.catalog}.default_{uuid.uuid4().hex[:4]}.t"
        assert gate.set(hidden).status_code == 404
        gate.grant("schema", gate.schema, "alice", remove=["CREATE_TABLE"])
        assert gate.set(table).status_code == 403
        gate.grant("schema", gate.schema, "alice", "CREATE_TABLE")
        # Somebody else's table, which alice may read and not write.
        theirs = gate.table("theirs")
        assert gate.set(theirs, "dave", gate.secret).status_code == 200
        assert gate.set(theirs).status_code == 409, "as anybody is told who makes a name that is taken"
        gate.grant("table", theirs, "alice", "SELECT")
        assert gate.set(theirs).status_code == 403
        # An experiment in the body that is not that of the path.
        answer = gate.call("alice", "POST", path, json={**body, "experiment_id": gate.secret})
        assert answer.status_code == 400
        assert gate.call("alice", "GET", "/api/tracegate/v1/archives").json()["archives"] == []
        assert [one["experiment"] for one in gate.call("dave", "GET", "/api/tracegate/v1/archives").json()["archives"]] == [gate.secret]

    def test_rows_are_the_tables_and_not_the_experiments(self, clean):
        gate, table = clean, clean.table()
        assert gate.set(table).status_code == 200
        trace = gate.say("alice", "whose is it?")
        gate.eventually(lambda: trace in {row[0] for row in gate.rows("alice", f"SELECT trace_id FROM {table}")}, "archived")
        # bob reads the experiment, and that opens no table; carol reads the table, and that opens no experiment.
        assert gate.sql("bob", f"SELECT trace_id FROM {table}")["status"]["state"] == "FAILED"
        gate.grant("table", table, "carol", "SELECT")
        assert trace in {row[0] for row in gate.rows("carol", f"SELECT trace_id FROM {table}")}
        assert gate.call("carol", "GET", f"/api/3.0/mlflow/traces/{trace}").status_code == 403

    def test_it_stops_when_its_owner_loses_what_it_takes_and_goes_on_when_it_is_back(self, clean):
        gate, table = clean, clean.table()
        assert gate.set(table).status_code == 200
        gate.caught_up()
        told = f"SELECT trace_id FROM {table}"
        # By the experiment.
        grants = gate.call("admin", "GET", f"/api/tracegate/v1/grants?securable=experiment:{gate.experiment}").json()["grants"]
        own = next(one for one in grants if one["principal"] == "user:alice" and one["privilege"] == "CAN_MANAGE")
        assert gate.call("admin", "DELETE", f"/api/tracegate/v1/grants/{own['id']}").status_code == 200
        try:
            unseen = gate.say("agent", "after the grant ended")
            gate.eventually(lambda: gate.archive("admin")["stopped"] is not None, "the archive stops")
            assert "user:alice" in gate.archive("admin")["stopped"] and gate.archive("admin")["waiting_traces"] >= 1
            assert unseen not in {row[0] for row in gate.rows("alice", told)}
            told_of = f'tracegate_archive_stopped{{experiment="{gate.experiment}"}} 1'
            gate.eventually(lambda: told_of in requests.get(gate.server.url + "/metrics", timeout=10).text, "monitoring knows")
        finally:
            gate.allow("alice", f"experiment:{gate.experiment}", "CAN_MANAGE")
        gate.eventually(lambda: unseen in {row[0] for row in gate.rows("alice", told)}, "it goes on")
        # By the table.
        gate.grant("schema", gate.schema, "alice", remove=["USE_SCHEMA"])
        try:
            late = gate.say("agent", "after the schema was closed")
            gate.eventually(lambda: gate.archive("admin")["stopped"] is not None, "the archive stops")
            assert "USE_SCHEMA" in gate.archive("admin")["stopped"] or "MODIFY" in gate.archive("admin")["stopped"]
        finally:
            gate.grant("schema", gate.schema, "alice", "USE_SCHEMA")
        gate.eventually(lambda: late in {row[0] for row in gate.rows("alice", told)}, "it goes on")
        gate.eventually(lambda: gate.archive()["stopped"] is None, "all is well")

    def test_it_stops_with_the_account_of_its_owner(self, clean):
        gate, table = clean, clean.table()
        assert gate.set(table).status_code == 200
        path = "/api/tracegate/v1/principals/user%3Aalice/active"
        assert gate.call("admin", "PUT", path, json={"active": False}).status_code == 200
        try:
            gate.say("agent", "while nobody is there")
            gate.eventually(lambda: gate.archive("admin")["stopped"] is not None, "the archive stops")
            # Somebody else who may takes it over.
            assert gate.set(table, "admin").status_code == 200
            gate.eventually(lambda: gate.archive("admin")["stopped"] is None, "it goes on")
            assert gate.archive("admin")["owner"] == "user:admin"
        finally:
            assert gate.call("admin", "PUT", path, json={"active": True}).status_code == 200

    def test_payload_in_a_volume_is_read_by_who_may_read_the_volume(self, clean):
        gate, table = clean, clean.table()
        if gate.store == "upstream":
            pytest.skip("an MLflow server keeps no artifacts in our volumes")
        volume = f"{gate.schema}.v_{uuid.uuid4().hex[:8]}"
        body = {"catalog_name": gate.catalog, "schema_name": "kept", "name": volume.rsplit(".", 1)[1], "volume_type": "MANAGED"}
        assert gate.call("admin", "POST", "/api/2.1/unity-catalog/volumes", json=body).status_code == 200
        gate.grant("volume", volume, "alice", "READ_VOLUME", "WRITE_VOLUME")
        body = {"name": f"payload-{uuid.uuid4().hex[:8]}", "artifact_location": f"dbfs:/Volumes/{volume.replace('.', '/')}/x"}
        made = gate.call("alice", "POST", "/api/2.0/mlflow/experiments/create", json=body)
        assert made.status_code == 200, made.text
        experiment = made.json()["experiment_id"]
        # In Databricks mode the spans are a file in the volume; by OTLP they are in the store.
        gate.sdk("alice").run("choose", experiment_id=experiment)
        by_file = gate.sdk("alice").run("say", question="in the volume").value
        by_otlp = gate.say("alice", "in the store", experiment=experiment)
        gate.grant("volume", volume, "alice", remove=["READ_VOLUME"])
        assert gate.set(table, experiment=experiment).status_code == 200
        try:
            gate.eventually(lambda: gate.archive("admin", experiment)["stopped"] is not None, "the archive stops")
            assert "READ_VOLUME" in gate.archive("admin", experiment)["stopped"]
            assert gate.rows("alice", f"SELECT COUNT(*) FROM {table}") == [["0"]]
            gate.grant("volume", volume, "alice", "READ_VOLUME")
            gate.eventually(
                lambda: {by_file, by_otlp} <= {row[0] for row in gate.rows("alice", f"SELECT trace_id FROM {table}")}, "it goes on"
            )
            found = gate.rows("alice", f"SELECT DISTINCT trace_id, size(spans), request FROM {table} WHERE size(spans) = 2")
            assert {row[0] for row in found} == {by_file, by_otlp}, found
        finally:
            gate.end(experiment)

    def test_another_table_of_its_name_gets_nothing(self, clean):
        gate, table = clean, clean.table()
        assert gate.set(table).status_code == 200
        gate.caught_up()
        assert gate.call("alice", "DELETE", f"/api/2.1/unity-catalog/tables/{table}").status_code == 200
        assert gate.sql("dave", f"CREATE TABLE {table} (trace_id STRING)")["status"]["state"] == "SUCCEEDED"
        gate.say("alice", "not for dave")
        gate.eventually(lambda: gate.archive("admin")["stopped"] is not None, "the archive stops")
        assert "not there any more" in gate.archive("admin")["stopped"]
        assert gate.rows("dave", f"SELECT COUNT(*) FROM {table}") == [["0"]]

    def test_the_record_says_what_was_copied_and_where_to(self, clean):
        gate, table = clean, clean.table()
        assert gate.set(table).status_code == 200
        trace = gate.say("alice", "on the record")
        gate.eventually(lambda: trace in {row[0] for row in gate.rows("alice", f"SELECT trace_id FROM {table}")}, "archived")
        gate.caught_up()

        def copied():
            token = gate.details["tokens"]["admin"]
            found = processes.audit_query(gate.server.url, token, "--trace-id", trace)
            return [one for one in found if one["operation"] == "archive.copy" and one["kind"] == "complete"]

        gate.eventually(lambda: copied(), "the copy is on record")
        one = copied()[0]
        assert one["principal"] == "user:alice" and table in one["reason"]
        assert {f"table:{table}", f"experiment:{gate.experiment}"} <= set(one["securables"])


def told_once(gate, table, expected):
    """Every trace is there, and no version of one twice."""
    place = gate.call("admin", "GET", f"/api/2.1/unity-catalog/tables/{table}").json()["storage_location"]
    rows = tool("read", place)["delta"]
    ids = [row["trace_id"] for row in rows]
    assert expected <= set(ids), f"{len(expected - set(ids))} are missing"
    versions = [json.dumps({key: value for key, value in row.items() if key != "archived_at"}, sort_keys=True) for row in rows]
    assert len(versions) == len(set(versions)), f"{len(versions) - len(set(versions))} versions are there twice"
    return len(rows)


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_each_version_is_there_once_whatever_is_killed(store, tmp_path, request):
    environment = database(request, store)
    gate = Gate(tmp_path, None, **environment)
    try:
        gate.end()
        table = gate.table()
        assert gate.set(table).status_code == 200
        written = set()
        for _ in range(ROUNDS):
            until = time.monotonic() + 3
            while time.monotonic() < until:
                written.add(export(gate, gate.experiment))
            gate.server.signal_all(9)
            gate.server.process.wait(10)
            gate.server = processes.start_serve(tmp_path, None, **environment)
        gate.caught_up()
        told_once(gate, table, written)
    finally:
        gate.stop()


def test_replicas_take_an_archive_over_from_each_other(tmp_path, request):
    environment = database(request, "postgres")
    # Tables lie where both see them.
    shared, other_directory = tmp_path / "lake", tmp_path / "other"
    shared.mkdir()
    other_directory.mkdir()
    environment["TRACEGATE__LAKE__ROOT"] = str(shared)
    gate = Gate(tmp_path / "first", None, **environment)
    other = processes.start_serve(other_directory, None, **environment)
    first = gate.server
    try:
        gate.end()
        table = gate.table()
        assert gate.set(table).status_code == 200
        written = {export(gate, gate.experiment) for _ in range(20)}
        # Written through the one that did not set it up.
        gate.server = other
        written |= {export(gate, gate.experiment) for _ in range(20)}
        gate.caught_up()
        # Whoever has it is stopped in the middle, so that it can neither go on nor give it up.
        for server, now in ((first, other), (other, first)):
            gate.server = server
            written |= {export(gate, gate.experiment) for _ in range(10)}
            server.signal_all(19)
            try:
                gate.server = now
                written |= {export(gate, gate.experiment) for _ in range(10)}
                gate.caught_up()
            finally:
                server.signal_all(18)
        written |= {export(gate, gate.experiment) for _ in range(10)}
        gate.caught_up()
        told_once(gate, table, written)
    finally:
        gate.server = first
        other.stop()
        gate.stop()


def export(gate, experiment, trace=None, name="f"):
    """One trace by OTLP; answers its id once it was acknowledged."""
    from test_tables import one_span

    trace = trace or uuid.uuid4().hex
    headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": experiment}
    answer = gate.call("agent", "POST", "/v1/traces", data=one_span(trace, name), headers=headers)
    assert answer.status_code == 200, answer.text
    return f"tr-{trace}"
