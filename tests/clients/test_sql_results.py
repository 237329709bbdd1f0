"""What statements give back: every form, in several chunks, from this replica and another, and to whom."""

import csv
import io

import pyarrow as pa
import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound
from databricks.sdk.service import iam, sql
from databricks.sdk.service.sql import Disposition, Format, StatementState

from harness import postgres, processes

pytestmark = pytest.mark.gate

ROWS = 25_000


def numbers(count):
    return f"WITH numbers AS (SELECT unnest(range(0, {count})) AS value) "


NUMBERS = numbers(ROWS) + "SELECT value AS n, concat('row ', CAST(value AS STRING)) AS t FROM numbers ORDER BY value"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def replicas(request, tmp_path_factory):
    """One gateway over SQLite, two over PostgreSQL with one lake."""
    directory = tmp_path_factory.mktemp("results")
    environment = {"TRACEGATE__LAKE__ROOT": str(directory / "lake")}
    (directory / "lake").mkdir()
    if request.param == "postgres":
        environment["TRACEGATE__DATABASE__URL"] = postgres.database(request.getfixturevalue("postgres_server"))
    first = processes.start_demo(directory / "first", None, **environment)
    servers = [first]
    if request.param == "postgres":
        # Tokens of one are good at the other.
        (directory / "second").mkdir()
        servers.append(processes.start_serve(directory / "second", None, **environment))
    for person in ("bob", "erin", "alice"):
        can_use = iam.AccessControlRequest(user_name=person, permission_level=iam.PermissionLevel.CAN_USE)
        caller(first, first, "admin").permissions.update("warehouses", "tracegate", access_control_list=[can_use])
    yield servers
    for server in reversed(servers):
        server.stop()


def caller(server, first, name):
    return WorkspaceClient(host=server.url, token=first.details["tokens"][name], auth_type="pat")


@pytest.fixture
def api(replicas):
    return lambda name, at=0: caller(replicas[at], replicas[0], name).statement_execution


def run(api, text, **more):
    answer = api.execute_statement(text, "tracegate", wait_timeout="50s", **more)
    assert answer.status.state is StatementState.SUCCEEDED, answer.status
    return answer


def chunks(api, answer):
    """All of them, in the order in which each names the next."""
    part = answer.result
    while True:
        [place] = part.external_links or [part]
        yield place
        if place.next_chunk_index is None:
            return
        part = api.get_statement_result_chunk_n(answer.statement_id, place.next_chunk_index)


def test_rows_in_several_chunks_are_all_there_once(api):
    answer = run(api("bob"), NUMBERS)
    assert answer.manifest.total_row_count == ROWS and answer.manifest.total_chunk_count > 1
    found, offsets = [], []
    for index, part in enumerate(chunks(api("bob"), answer)):
        assert part.chunk_index == index and part.row_offset == len(found) and part.row_count == len(part.data_array)
        offsets.append((part.row_offset, part.row_count))
        found += part.data_array
    assert found == [[str(number), f"row {number}"] for number in range(ROWS)]
    assert offsets == [(chunk.row_offset, chunk.row_count) for chunk in answer.manifest.chunks]
    with pytest.raises(NotFound, match="no chunk"):
        api("bob").get_statement_result_chunk_n(answer.statement_id, len(offsets))


@pytest.mark.parametrize("form", [Format.ARROW_STREAM, Format.CSV, Format.JSON_ARRAY])
def test_links_give_the_same_rows_in_every_form(api, replicas, form):
    answer = run(api("bob"), NUMBERS, disposition=Disposition.EXTERNAL_LINKS, format=form)
    found = []
    for place in chunks(api("bob"), answer):
        assert place.external_link.startswith(replicas[0].url) and place.expiration
        got = requests.get(place.external_link, timeout=60)
        assert got.status_code == 200, got.text
        if form is Format.ARROW_STREAM:
            table = pa.ipc.open_stream(got.content).read_all()
            assert table.schema.names == ["n", "t"] and pa.types.is_int64(table.schema.field("n").type)
            part = [[str(row["n"]), row["t"]] for row in table.to_pylist()]
        elif form is Format.CSV:
            part = list(csv.reader(io.StringIO(got.text)))
            part = part[1:] if place.chunk_index == 0 else part
        else:
            part = got.json()
        assert len(part) == place.row_count
        found += part
    assert found == [[str(number), f"row {number}"] for number in range(ROWS)]


def test_a_link_is_for_reading_one_chunk_of_one_statement(api):
    ask = {"disposition": Disposition.EXTERNAL_LINKS, "format": Format.ARROW_STREAM}
    mine, other = run(api("bob"), NUMBERS, **ask), run(api("erin"), NUMBERS, **ask)
    link = mine.result.external_links[0].external_link
    assert requests.post(link, timeout=10).status_code in (401, 403, 404, 405)
    name, signed = link.split("?", 1)
    for wrong in (
        link.replace(mine.statement_id, other.statement_id),
        f"{other.result.external_links[0].external_link.split('?')[0]}?{signed}",
        name.replace("/chunks/0/", "/chunks/1/") + "?" + signed,
        name,
        link[:-1] + ("0" if link[-1] != "0" else "1"),
    ):
        assert requests.get(wrong, timeout=10).status_code == 401, wrong


def test_what_is_too_large_to_be_inline_is_offered_as_links(api):
    wide = numbers(4000) + "SELECT repeat('x', 10000) AS t FROM numbers"
    answer = api("bob").execute_statement(wide, "tracegate", wait_timeout="50s")
    assert answer.status.state is StatementState.FAILED
    assert "EXTERNAL_LINKS" in answer.status.error.message, answer.status
    answer = run(api("bob"), wide, disposition=Disposition.EXTERNAL_LINKS, format=Format.ARROW_STREAM)
    sizes = [pa.ipc.open_stream(requests.get(place.external_link, timeout=60).content).read_all().num_rows
             for place in chunks(api("bob"), answer)]
    assert sum(sizes) == 4000 and len(sizes) > 1
    # Cut off before it is too large, it is no error.
    answer = run(api("bob"), wide, byte_limit=1_000_000)
    assert answer.manifest.truncated and 0 < answer.manifest.total_row_count < 4000


def test_another_replica_knows_no_rows_and_says_so(api, replicas):
    if len(replicas) == 1:
        pytest.skip("one replica")
    ask = {"disposition": Disposition.EXTERNAL_LINKS, "format": Format.ARROW_STREAM}
    answer = run(api("bob"), NUMBERS, **ask)
    headers = {"Authorization": f"Bearer {replicas[0].details['tokens']['bob']}"}
    path = f"/api/2.0/sql/statements/{answer.statement_id}"
    for asked in (path, f"{path}/result/chunks/0"):
        got = requests.get(replicas[1].url + asked, headers=headers, timeout=10)
        assert got.status_code == 429 and got.headers["Retry-After"], got.text
    link = answer.result.external_links[0].external_link.replace(replicas[0].url, replicas[1].url)
    got = requests.get(link, timeout=10)
    assert got.status_code != 200 and b"row 1" not in got.content
    # A grant of one is one of the other, which runs the statement anew.
    assert run(api("bob", 1), NUMBERS).manifest.total_row_count == ROWS
    for name in ("erin", "admin"):
        headers["Authorization"] = f"Bearer {replicas[0].details['tokens'][name]}"
        for server in replicas:
            got = requests.get(server.url + path, headers=headers, timeout=10)
            assert got.status_code in (404, 429) and b"row 1" not in got.content, got.text


def test_who_only_modifies_writes_and_reads_nothing(api, replicas):
    def said(name, text):
        answer = api(name).execute_statement(text, "tracegate", wait_timeout="50s")
        return answer.status.error.message if answer.status.state is StatementState.FAILED else "done"

    for text in [
        "CREATE CATALOG results", "CREATE SCHEMA results.s", "CREATE TABLE results.s.t (id BIGINT, note STRING)",
        "CREATE TABLE results.s.source (id BIGINT, note STRING)", "INSERT INTO results.s.source VALUES (7, 'hush')",
        "GRANT USE CATALOG ON CATALOG results TO `bob`", "GRANT USE SCHEMA ON SCHEMA results.s TO `bob`",
        "GRANT MODIFY ON TABLE results.s.t TO `bob`", "GRANT USE CATALOG ON CATALOG results TO `erin`",
        "GRANT USE SCHEMA ON SCHEMA results.s TO `erin`", "GRANT SELECT ON TABLE results.s.t TO `erin`",
    ]:
        assert said("admin", text) == "done", text
    assert said("bob", "INSERT INTO results.s.t VALUES (1, 'one'), (2, NULL)") == "done"
    assert said("bob", "INSERT INTO results.s.t (id) SELECT unnest(range(3, 5))") == "done"
    for text in ("SELECT * FROM results.s.t", "INSERT INTO results.s.t SELECT * FROM results.s.t",
                 "INSERT INTO results.s.t SELECT * FROM results.s.source",
                 "INSERT INTO results.s.t SELECT id, (SELECT max(note) FROM results.s.source) FROM (SELECT 1 AS id) AS one"):
        message = said("bob", text)
        assert message != "done" and "hush" not in message, (text, message)
    assert said("erin", "INSERT INTO results.s.t VALUES (9, 'nine')") != "done"
    for at in range(len(replicas)):
        found = run(api("erin", at), "SELECT id, note FROM results.s.t ORDER BY id").result.data_array
        assert found == [["1", "one"], ["2", None], ["3", None], ["4", None]]
