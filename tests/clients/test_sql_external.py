"""External tables by SQL: made by who may, over what another program wrote, read and written under the table's privileges;
and ways to reach what is not theirs by them."""

import json
import shutil
import uuid
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service import catalog, iam
from databricks.sdk.service.sql import StatementState

from harness import processes
from test_lake_tables import tool

pytestmark = pytest.mark.gate

ROWS = [{"id": "a", "tokens": 1}, {"id": "b", "tokens": 2}, {"id": "c", "tokens": 3}]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    directory = tmp_path_factory.mktemp("external")
    outside = directory / "outside"
    (outside / "team").mkdir(parents=True)
    server = processes.start_demo(directory / "gate", None, TRACEGATE__LAKE__EXTERNAL_DIRECTORIES=f'["{outside}"]')
    server.outside = outside
    yield server
    server.stop()


@pytest.fixture(scope="module")
def as_caller(lake):
    def caller(name):
        return WorkspaceClient(host=lake.url, token=lake.details["tokens"][name], auth_type="pat")

    return caller


@pytest.fixture(scope="module")
def run(as_caller):
    def statement(name, text):
        return as_caller(name).statement_execution.execute_statement(text, "tracegate", wait_timeout="50s")

    return statement


@pytest.fixture(scope="module")
def rows(run):
    def read(name, text):
        answer = run(name, text)
        assert answer.status.state is StatementState.SUCCEEDED, (text, answer.status)
        return (answer.result and answer.result.data_array) or []

    return read


@pytest.fixture(scope="module")
def failed(run):
    def fails(name, text):
        answer = run(name, text)
        assert answer.status.state is StatementState.FAILED, (text, answer.status)
        return answer.status.error.message

    return fails


@pytest.fixture(scope="module")
def main(lake, as_caller, rows):
    """A catalog with a managed table of the administrator's; alice may make external tables in the location `team`."""
    name = f"ext_{uuid.uuid4().hex[:8]}"
    admin = as_caller("admin")
    for person in ("alice", "bob"):
        one = iam.AccessControlRequest(user_name=person, permission_level=iam.PermissionLevel.CAN_USE)
        admin.permissions.update("warehouses", "tracegate", access_control_list=[one])
    admin.external_locations.create(name=name, url=f"file://{lake.outside}/team", credential_name="local")
    for text in [
        f"CREATE CATALOG {name}",
        f"CREATE SCHEMA {name}.s",
        f"CREATE TABLE {name}.s.secret (id STRING, tokens BIGINT)",
        f"INSERT INTO {name}.s.secret VALUES ('hush', 7)",
        f"GRANT USE CATALOG ON CATALOG {name} TO `alice`",
        f"GRANT USE SCHEMA ON SCHEMA {name}.s TO `alice`",
        f"GRANT CREATE TABLE ON SCHEMA {name}.s TO `alice`",
        f"GRANT USE CATALOG ON CATALOG {name} TO `bob`",
        f"GRANT USE SCHEMA ON SCHEMA {name}.s TO `bob`",
    ]:
        rows("admin", text)
    change = catalog.PermissionsChange(principal="alice", add=[catalog.Privilege("CREATE_EXTERNAL_TABLE")])
    admin.grants.update(securable_type="external_location", full_name=name, changes=[change])
    return name


def test_a_table_of_another_program_is_read_and_written_under_its_privileges(lake, main, rows, failed, as_caller):
    place = lake.outside / "team" / "spend"
    tool("make", str(place), json.dumps(ROWS))
    made = f"CREATE TABLE {main}.s.spend USING DELTA LOCATION 'file://{place}'"
    assert "CREATE_TABLE" in failed("bob", made) or "PERMISSION" in failed("bob", made)
    rows("alice", made)
    assert as_caller("alice").tables.get(f"{main}.s.spend").table_type is catalog.TableType.EXTERNAL
    assert rows("alice", f"SELECT id, tokens FROM {main}.s.spend ORDER BY id") == [["a", "1"], ["b", "2"], ["c", "3"]]
    assert "TABLE_OR_VIEW_NOT_FOUND" in failed("bob", f"SELECT * FROM {main}.s.spend")
    rows("alice", f"GRANT SELECT ON TABLE {main}.s.spend TO `bob`")
    assert "MODIFY" in failed("bob", f"INSERT INTO {main}.s.spend VALUES ('d', 4)")
    rows("alice", f"INSERT INTO {main}.s.spend VALUES ('d', 4)")
    tool("write", str(place), json.dumps([{"id": "e", "tokens": 5}]))
    assert rows("bob", f"SELECT sum(tokens) FROM {main}.s.spend") == [["15"]]
    assert {one["id"] for one in tool("read", str(place))["delta"]} == {"a", "b", "c", "d", "e"}
    # What an external table is made over stays when it goes.
    rows("alice", f"DROP TABLE {main}.s.spend")
    assert len(tool("read", str(place))["delta"]) == 5
    assert "TABLE_OR_VIEW_NOT_FOUND" in failed("bob", f"SELECT * FROM {main}.s.spend")


def test_a_new_one_is_made_with_its_columns(lake, main, rows, failed):
    place = lake.outside / "team" / "made"
    rows("alice", f"CREATE TABLE {main}.s.made (id STRING, tokens BIGINT) LOCATION 'file://{place}'")
    rows("alice", f"INSERT INTO {main}.s.made VALUES ('x', 1)")
    assert tool("read", str(place))["delta"] == [{"id": "x", "tokens": 1}]
    for taken in (place, place / "deeper", place.parent):
        assert failed("alice", f"CREATE TABLE {main}.s.other (id STRING) LOCATION 'file://{taken}'"), taken


def test_a_place_is_no_way_to_what_lies_elsewhere(lake, main, rows, failed, as_caller):
    secret = as_caller("admin").tables.get(f"{main}.s.secret").storage_location
    inside = lake.outside / "team"
    (lake.outside / "beside").mkdir()
    (inside / "link").symlink_to(lake.outside / "beside")
    for place in (
        secret, secret + "/", f"{secret}/deeper", secret.rsplit("/", 1)[0], secret.replace("file://", "file:"), "file:///etc",
        f"file://{inside}/../beside", f"file://{inside}/%2e%2e/beside", f"file://{lake.outside}/beside", f"file://{lake.outside}",
        f"file://{inside}", f"file://localhost{inside}/x", f"FILE://{lake.outside}/beside", str(lake.outside / "beside"), "s3://bucket/x", "",
    ):
        said = failed("alice", f"CREATE TABLE {main}.s.wider (id STRING) LOCATION '{place}'")
        assert "hush" not in said, place
    # One that is named well and lies elsewhere is never opened.
    assert failed("alice", f"CREATE TABLE {main}.s.wider (id STRING) LOCATION 'file://{inside}/link'")
    assert list((lake.outside / "beside").iterdir()) == []
    assert failed("alice", f"SELECT * FROM delta.`{secret}`") and failed("alice", f"SELECT * FROM `{secret}`")


@pytest.mark.parametrize("spelling", ["a URL", "a path", "upwards", "upwards, encoded"])
def test_a_log_that_names_the_files_of_another_table_shows_none_of_them(lake, main, rows, failed, as_caller, spelling):
    """Alice writes in her own place, as programs do; ours is the hand that reaches the other one's files."""
    secret = as_caller("admin").tables.get(f"{main}.s.secret").storage_location.removeprefix("file://")
    (file,) = Path(secret).glob("*.parquet")
    name = f"own_{uuid.uuid4().hex[:8]}"
    place = lake.outside / "team" / name
    tool("make", str(place), json.dumps(ROWS))
    upwards = "/".join([".."] * (len(place.parts) - 1)) + str(file)
    named = {"a URL": f"file://{file}", "a path": str(file), "upwards": upwards, "upwards, encoded": upwards.replace("..", "%2e%2e")}[spelling]
    rows("alice", f"CREATE TABLE {main}.s.{name} LOCATION 'file://{place}'")
    entry = {"add": {"path": named, "partitionValues": {}, "size": file.stat().st_size, "modificationTime": 1, "dataChange": True}}
    before = rows("alice", f"SELECT count(*) FROM {main}.s.{name}")
    (place / "_delta_log" / "00000000000000000001.json").write_text(json.dumps(entry) + "\n")
    said = failed("alice", f"SELECT * FROM {main}.s.{name}")
    assert before == [["3"]] and "hush" not in said and str(file) not in said, said
    assert rows("admin", f"SELECT id FROM {main}.s.secret") == [["hush"]]
    rows("alice", f"DROP TABLE {main}.s.{name}")
    shutil.rmtree(place)
