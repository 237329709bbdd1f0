"""SQL through the unmodified databricks-sdk, as people with and without the privileges, and ways round them."""

import time
import uuid
from pathlib import Path

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import DatabricksError, NotFound, PermissionDenied
from databricks.sdk.service import sql
from databricks.sdk.service.sql import StatementState

from harness import processes

pytestmark = pytest.mark.gate

BASE = "/api/2.0/sql/statements"


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    server = processes.start_demo(tmp_path_factory.mktemp("sql"), None)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def as_caller(lake):
    def caller(name):
        return WorkspaceClient(host=lake.url, token=lake.details["tokens"][name], auth_type="pat")

    return caller


@pytest.fixture(scope="module")
def run(as_caller):
    def statement(name, text, **more):
        more.setdefault("wait_timeout", "50s")
        return as_caller(name).statement_execution.execute_statement(text, "tracegate", **more)

    return statement


@pytest.fixture(scope="module")
def rows(run):
    def read(name, text, **more):
        answer = run(name, text, **more)
        assert answer.status.state is StatementState.SUCCEEDED, (text, answer.status)
        return (answer.result and answer.result.data_array) or []

    return read


@pytest.fixture(scope="module")
def failed(run):
    def fails(name, text, **more):
        answer = run(name, text, **more)
        assert answer.status.state is StatementState.FAILED, (text, answer.status)
        return answer.as_dict()["status"]["error"]["message"], answer.status.error.error_code.value

    return fails


@pytest.fixture(scope="module")
def main(as_caller, rows):
    """A catalog with a table of two tenants; `bob` may use the warehouse and reads the table, `erin` only the former."""
    name = f"sql_{uuid.uuid4().hex[:8]}"
    for person in ("bob", "erin", "alice"):
        as_caller("admin").permissions.update("warehouses", "tracegate", access_control_list=[_can_use(person)])
    for text in [
        f"CREATE CATALOG {name}",
        f"CREATE SCHEMA {name}.s",
        f"CREATE TABLE {name}.s.t (trace_id STRING, tenant STRING, tokens BIGINT)",
        f"INSERT INTO {name}.s.t VALUES ('0123456789abcdef0123456789abcdef', 'a', 1), ('1123456789abcdef0123456789abcdef', 'b', 2)",
        f"GRANT USE CATALOG ON CATALOG {name} TO `bob`",
        f"GRANT USE SCHEMA ON SCHEMA {name}.s TO `bob`",
        f"GRANT SELECT ON TABLE {name}.s.t TO `bob`",
    ]:
        rows("admin", text)
    return name


def _can_use(person):
    from databricks.sdk.service import iam

    return iam.AccessControlRequest(user_name=person, permission_level=iam.PermissionLevel.CAN_USE)


def test_the_warehouse_is_there_for_who_may_use_it(as_caller, main):
    bob, carol = as_caller("bob"), as_caller("carol")
    assert [one.id for one in bob.warehouses.list()] == ["tracegate"]
    assert bob.warehouses.get("tracegate").state is sql.State.RUNNING
    bob.warehouses.start("tracegate")
    with pytest.raises(DatabricksError, match="cannot be stopped"):
        bob.warehouses.stop("tracegate")
    assert list(carol.warehouses.list()) == []
    with pytest.raises(NotFound):
        carol.warehouses.get("tracegate")
    for warehouse in ("tracegate", "other"):
        with pytest.raises(PermissionDenied):
            carol.statement_execution.execute_statement("SELECT 1", warehouse)


def test_rows_are_read_with_parameters_and_defaults(rows, run, main):
    table = rows("bob", "SELECT tenant, tokens FROM t WHERE tokens >= :least ORDER BY tokens", catalog=main, schema="s",
                 parameters=[sql.StatementParameterListItem(name="least", value="2", type="BIGINT")])
    assert table == [["b", "2"]]
    answer = run("bob", f"SELECT * FROM {main}.s.t ORDER BY tokens", row_limit=1)
    assert answer.manifest.truncated and answer.manifest.total_row_count == 1
    assert [column.type_name.value for column in answer.manifest.schema.columns] == ["STRING", "STRING", "LONG"]


def test_what_is_hidden_and_what_is_missing_look_alike(failed, main):
    hidden, code = failed("erin", f"SELECT * FROM {main}.s.t")
    missing, _ = failed("erin", f"SELECT * FROM {main}.s.u")
    elsewhere, _ = failed("erin", "SELECT * FROM nowhere.s.t")
    assert code == "BAD_REQUEST" and "TABLE_OR_VIEW_NOT_FOUND" in hidden
    assert hidden.replace(".t`", ".x`") == missing.replace(".u`", ".x`") == elsewhere.replace("nowhere", main).replace(".t`", ".x`")
    for text in (f"DESCRIBE TABLE {main}.s.t", f"DROP TABLE {main}.s.t", f"GRANT SELECT ON TABLE {main}.s.t TO `erin`",
                 f"INSERT INTO {main}.s.t VALUES ('x', 'y', 1)", f"SHOW TABLES IN {main}.s", f"SHOW GRANTS ON TABLE {main}.s.t"):
        message, _ = failed("erin", text)
        assert "INSUFFICIENT" not in message and "/" not in message, (text, message)


def test_who_reads_does_not_write_or_grant(failed, rows, main):
    for text in (f"INSERT INTO {main}.s.t VALUES ('x', 'y', 1)", f"GRANT SELECT ON TABLE {main}.s.t TO `erin`",
                 f"DROP TABLE {main}.s.t", f"CREATE TABLE {main}.s.u (a INT)", f"CREATE VIEW {main}.s.v AS SELECT 1 AS a",
                 f"ALTER TABLE {main}.s.t OWNER TO `bob`"):
        message, _ = failed("bob", text)
        assert "INSUFFICIENT_PERMISSIONS" in message, (text, message)
    assert rows("bob", f"SELECT count(*) FROM {main}.s.t") == [["2"]]


def test_a_filter_and_a_mask_hold_through_every_way(rows, failed, main):
    for text in [
        f"CREATE TABLE {main}.s.f (tenant STRING, secret STRING)",
        f"INSERT INTO {main}.s.f VALUES ('a', 'one'), ('b', 'two')",
        f"CREATE FUNCTION {main}.s.only_a(tenant STRING) RETURNS BOOLEAN RETURN tenant = 'a'",
        f"CREATE FUNCTION {main}.s.stars(secret STRING) RETURNS STRING RETURN '***'",
        f"GRANT SELECT ON TABLE {main}.s.f TO `bob`",
        f"ALTER TABLE {main}.s.f SET ROW FILTER {main}.s.only_a ON (tenant)",
        f"ALTER TABLE {main}.s.f ALTER COLUMN secret SET MASK {main}.s.stars",
    ]:
        rows("admin", text)
    for text in (f"SELECT tenant, secret FROM {main}.s.f", f"WITH x AS (SELECT * FROM {main}.s.f) SELECT tenant, secret FROM x"):
        assert rows("bob", text) == [["a", "***"]]
    assert rows("bob", f"SELECT tenant FROM {main}.s.f WHERE secret = 'one'") == []
    for text in (f"ALTER TABLE {main}.s.f DROP ROW FILTER", f"ALTER TABLE {main}.s.f ALTER COLUMN secret DROP MASK"):
        assert "INSUFFICIENT_PERMISSIONS" in failed("bob", text)[0]
    # Another function of the name is not the one that was meant: nobody reads the table until it is set anew.
    rows("admin", f"DROP FUNCTION {main}.s.only_a")
    assert "INSUFFICIENT_PERMISSIONS" in failed("bob", f"SELECT * FROM {main}.s.f")[0]
    rows("admin", f"CREATE FUNCTION {main}.s.only_a(tenant STRING) RETURNS BOOLEAN RETURN true")
    assert "INSUFFICIENT_PERMISSIONS" in failed("bob", f"SELECT * FROM {main}.s.f")[0]


def test_columns_are_added_by_who_manages_the_table_and_go_round_no_rule(as_caller, rows, failed, main):
    table = f"{main}.s.wider"
    for text in [
        f"CREATE TABLE {table} (tenant STRING, secret STRING)", f"INSERT INTO {table} VALUES ('a', 'one')",
        f"CREATE FUNCTION {main}.s.hidden(secret STRING) RETURNS STRING RETURN '***'",
        f"ALTER TABLE {table} ALTER COLUMN secret SET MASK {main}.s.hidden",
        f"GRANT SELECT, MODIFY ON TABLE {table} TO `bob`",
    ]:
        rows("admin", text)
    assert "INSUFFICIENT_PERMISSIONS" in failed("bob", f"ALTER TABLE {table} ADD COLUMN x INT")[0]
    assert "NOT_FOUND" in failed("erin", f"ALTER TABLE {table} ADD COLUMN x INT")[0]
    for column in ("SECRET STRING", "`secret` STRING", "tenant INT", "x INT, X INT", "x INT NOT NULL", "x NOSUCHTYPE"):
        failed("admin", f"ALTER TABLE {table} ADD COLUMN {column}")
    rows("admin", f"ALTER TABLE {table} ADD COLUMNS (tokens BIGINT COMMENT 'how many', note STRING)")
    rows("bob", f"INSERT INTO {table} (tenant, tokens) VALUES ('b', 7)")
    assert rows("bob", f"SELECT * FROM {table} ORDER BY tenant") == [["a", "***", None, None], ["b", "***", "7", None]]
    shown = as_caller("bob").tables.get(table)
    assert [(column.name, column.type_text, column.position) for column in shown.columns] == [
        ("tenant", "string", 0), ("secret", "string", 1), ("tokens", "bigint", 2), ("note", "string", 3)]


@pytest.mark.parametrize("change", [
    ["REVOKE EXECUTE ON FUNCTION {f} FROM `bob`"],
    ["DROP FUNCTION {f}", "CREATE FUNCTION {f}(a BIGINT) RETURNS BIGINT RETURN a + 2", "GRANT EXECUTE ON FUNCTION {f} TO `bob`"],
])
def test_rows_that_a_function_made_are_not_fetched_once_it_is_revoked_or_another(as_caller, run, rows, main, change):
    function = f"{main}.s.more_{uuid.uuid4().hex[:6]}"
    rows("admin", f"CREATE FUNCTION {function}(a BIGINT) RETURNS BIGINT RETURN a + 1")
    rows("admin", f"GRANT EXECUTE ON FUNCTION {function} TO `bob`")
    answer = run("bob", f"SELECT {function}(tokens) AS more FROM {main}.s.t ORDER BY more")
    api = as_caller("bob").statement_execution
    assert api.get_statement(answer.statement_id).result.data_array == [["2"], ["3"]]
    for text in change:
        rows("admin", text.format(f=function))
    for call in (lambda: api.get_statement(answer.statement_id),
                 lambda: api.get_statement_result_chunk_n(answer.statement_id, 0)):
        with pytest.raises(PermissionDenied):
            call()


def test_a_view_reads_what_its_owner_and_its_definer_may(rows, failed, main):
    rows("admin", f"CREATE VIEW {main}.s.one AS SELECT tenant FROM t")
    rows("admin", f"CREATE TABLE {main}.s.own (a INT)")
    for text in (f"GRANT SELECT ON TABLE {main}.s.one TO `alice`", f"GRANT USE CATALOG ON CATALOG {main} TO `alice`",
                 f"GRANT USE SCHEMA ON SCHEMA {main}.s TO `alice`", f"GRANT CREATE TABLE ON SCHEMA {main}.s TO `alice`"):
        rows("admin", text)
    assert sorted(rows("alice", f"SELECT * FROM {main}.s.one")) == [["a"], ["b"]]
    assert "TABLE_OR_VIEW_NOT_FOUND" in failed("alice", f"SELECT * FROM {main}.s.t")[0]
    rows("alice", f"CREATE VIEW {main}.s.sneaky AS SELECT * FROM {main}.s.t")
    assert "INSUFFICIENT_PERMISSIONS" in failed("alice", f"SELECT * FROM {main}.s.sneaky")[0]
    # Given to somebody who may read below it, it still reads no more than who wrote it.
    rows("alice", f"GRANT SELECT ON TABLE {main}.s.sneaky TO `alice`")
    rows("alice", f"ALTER VIEW {main}.s.sneaky OWNER TO `bob`")
    assert "INSUFFICIENT_PERMISSIONS" in failed("alice", f"SELECT * FROM {main}.s.sneaky")[0]


def test_a_statement_is_its_callers_alone(as_caller, run, main):
    answer = run("bob", f"SELECT * FROM {main}.s.t")
    for other in ("admin", "erin"):
        api = as_caller(other).statement_execution
        for call in (lambda: api.get_statement(answer.statement_id),
                     lambda: api.get_statement_result_chunk_n(answer.statement_id, 0)):
            with pytest.raises(DatabricksError, match="there is no statement"):
                call()
    assert as_caller("bob").statement_execution.get_statement(answer.statement_id).result.row_count == 2


def test_rows_die_with_the_grant_and_so_do_links(as_caller, rows, run, lake, main):
    answer = run("bob", f"SELECT * FROM {main}.s.t", disposition=sql.Disposition.EXTERNAL_LINKS, format=sql.Format.CSV)
    link = answer.result.external_links[0].external_link
    got = requests.get(link, timeout=10)
    assert got.status_code == 200 and got.text.startswith("trace_id,tenant,tokens"), got.text
    assert requests.get(link, timeout=10, headers={"Authorization": "Bearer x"}).status_code == 400
    other = run("bob", f"SELECT * FROM {main}.s.t", disposition=sql.Disposition.EXTERNAL_LINKS)
    assert requests.get(link.replace(answer.statement_id, other.statement_id), timeout=10).status_code == 401
    assert requests.get(link.replace("chunks/0", "chunks/1"), timeout=10).status_code == 401
    assert requests.get(link.split("?")[0], timeout=10).status_code == 401
    rows("admin", f"REVOKE SELECT ON TABLE {main}.s.t FROM `bob`")
    try:
        assert requests.get(link, timeout=10).status_code == 403
        with pytest.raises(PermissionDenied):
            as_caller("bob").statement_execution.get_statement(answer.statement_id)
        with pytest.raises(PermissionDenied):
            as_caller("bob").statement_execution.get_statement_result_chunk_n(answer.statement_id, 0)
    finally:
        rows("admin", f"GRANT SELECT ON TABLE {main}.s.t TO `bob`")


def test_a_long_statement_is_canceled_and_others_are_answered(as_caller, run, rows, main):
    heavy = ("WITH n AS (SELECT unnest(range(0, 1000000)) AS value) "
             "SELECT count(*) FROM n AS a CROSS JOIN n AS b WHERE a.value % 7 > b.value % 5")
    api = as_caller("bob").statement_execution
    begun = run("bob", heavy, wait_timeout="0s")
    assert begun.status.state in (StatementState.PENDING, StatementState.RUNNING), begun.status
    assert rows("erin", "SELECT 1") == [["1"]]
    api.cancel_execution(begun.statement_id)
    assert api.get_statement(begun.statement_id).status.state is StatementState.CANCELED


def test_what_repeats_much_ends_and_the_gateway_stays_small(lake, failed, rows):
    """Each of these took gigabytes, or the process, while the memory of the statement counted next to nothing."""
    many = "(SELECT unnest(range(0, 20000)) AS n)"
    # Linux: sets VmHWM back to the present size.
    Path(f"/proc/{lake.pid}/clear_refs").write_text("5")
    before = lake.memory_kib("VmRSS")
    for text in (f"SELECT sum(array_position(range(0, 100000), n)) FROM {many}",
                 f"SELECT count(map(make_array(n), make_array(repeat('a', 1000000)))) FROM {many}",
                 f"SELECT max(t) FROM (SELECT n, repeat('a', 1000000) AS t FROM {many}) x",
                 f"SELECT max(length(t)) FROM (SELECT repeat('a', 1000000) || n AS t FROM (SELECT unnest(range(0, 2)) AS n)) w CROSS JOIN {many} r WHERE length(t) > n"):
        assert "RESOURCE_EXHAUSTED" in failed("bob", text)[0], text
    assert lake.memory_kib("VmHWM") - before < 512 * 1024
    assert rows("erin", "SELECT 1") == [["1"]]


def test_the_schema_of_everything_shows_what_its_reader_sees(rows, failed, main):
    assert rows("erin", f"SELECT * FROM system.information_schema.tables WHERE table_catalog = '{main}'") == []
    names = rows("bob", f"SELECT table_name FROM {main}.information_schema.tables ORDER BY table_name")
    assert ["t"] in names and ["own"] not in names
    assert "TABLE_OR_VIEW_NOT_FOUND" in failed("erin", f"SELECT * FROM {main}.information_schema.tables")[0]
    assert "TABLE_OR_VIEW_NOT_FOUND" in failed("bob", "SELECT * FROM system.access.audit")[0]


def test_who_saw_a_trace_by_sql_is_on_the_record(rows, lake, main):
    rows("bob", f"SELECT trace_id FROM {main}.s.t WHERE tenant = 'a'")
    headers = {"Authorization": f"Bearer {lake.details['tokens']['admin']}"}
    deadline = time.monotonic() + 20
    events = []
    while not events and time.monotonic() < deadline:
        answer = requests.get(f"{lake.url}/api/tracegate/v1/audit/events", headers=headers, timeout=10,
                              params={"trace_id": "0123456789abcdef0123456789abcdef", "principal": "user:bob"})
        events = [event for event in answer.json()["events"] if event["operation"].startswith("sql.statement")]
    assert any(f"table:{main}.s.t" in event.get("securables", []) and event.get("sight") == "read" for event in events), events
    seen = rows("admin", "SELECT action_name FROM system.access.audit WHERE user_identity.subject_name = 'user:bob'")
    assert ["sql.statement.execute"] in seen


@pytest.mark.parametrize("body", [
    {"wait_timeout": "3s"}, {"wait_timeout": "60s"}, {"format": "CSV"}, {"row_limit": 0}, {"disposition": "X"}, {"unknown": 1},
])
def test_a_wrong_request_is_rejected(lake, main, body):
    headers = {"Authorization": f"Bearer {lake.details['tokens']['bob']}"}
    answer = requests.post(lake.url + BASE, headers=headers, json={"statement": "SELECT 1", "warehouse_id": "tracegate"} | body, timeout=10)
    assert answer.status_code == 400, answer.text
