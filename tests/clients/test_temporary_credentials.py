"""Temporary credentials of an S3 store, as the unmodified databricks-sdk and the open-source client of Unity Catalog ask
for them: who gets one, who does not, what it opens, and what gets none whoever asks."""

import json
import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import BadRequest, DatabricksError, NotFound, PermissionDenied
from databricks.sdk.service import catalog

from harness import postgres, processes
from test_lake_tables import TABLE, TOOLS, client, lake_python, new_trace, tool

ROLE = "arn:aws:iam::123456789012:role/lake"
OWN = {"AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "own-secret", "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
WORKER = Path(__file__).parent / "harness" / "catalog_worker.py"


def sdk_of(server, who):
    token = server.details["tokens"][who]
    return WorkspaceClient(config=Config(host=server.url, token=token, auth_type="pat", retry_timeout_seconds=5))


def grant(server, kind, name, *privileges, who="alice", remove=()):
    change = catalog.PermissionsChange(
        principal=who, add=[catalog.Privilege(one) for one in privileges], remove=[catalog.Privilege(one) for one in remove]
    )
    sdk_of(server, "admin").grants.update(securable_type=kind, full_name=name, changes=[change])


def run_sql(server, statement):
    answer = client(server).call("POST", "/api/2.0/sql/statements", json={"statement": statement, "warehouse_id": "tracegate", "wait_timeout": "30s"})
    assert answer.json()["status"]["state"] == "SUCCEEDED", answer.text


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """An S3 with a security token service, which notes what it was asked."""
    noted = tmp_path_factory.mktemp("s3") / "sts.jsonl"
    started = subprocess.Popen(
        [lake_python(), str(TOOLS), "s3", "0", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**processes.clean_environment(), "STS_NOTES": str(noted)},
    )
    url = f"http://127.0.0.1:{json.loads(started.stdout.readline())['port']}"
    assert requests.put(f"{url}/lake", timeout=30).status_code == 200
    yield {"url": url, "noted": noted}
    started.kill()
    started.wait(10)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def lake(request, bucket, tmp_path_factory):
    """A gateway whose lake lies in that store, with a table, a view, a volume and an external location."""
    environment = dict(OWN)
    if request.param == "postgres":
        environment["TRACEGATE__DATABASE__URL"] = postgres.database(request.getfixturevalue("postgres_server"))
    server = processes.start_demo(
        tmp_path_factory.mktemp("temporary") / "gate", None, TRACEGATE__LAKE__ROOT="s3://lake/tables",
        TRACEGATE__LAKE__CREDENTIALS_ROLE=ROLE, TRACEGATE__LAKE__CREDENTIALS_ENDPOINT=bucket["url"],
        TRACEGATE__LAKE__CREDENTIALS_SECONDS="900", AWS_ENDPOINT_URL=bucket["url"], **environment,
    )
    prepare(server)
    admin = sdk_of(server, "admin")
    admin.external_locations.create(name="outside", url="s3://lake/outside", credential_name="role")
    yield server
    server.stop()


def prepare(server):
    ours = client(server)
    ours.make_place()
    server.trace = new_trace()
    assert ours.export(server.trace).status_code == 200
    admin = sdk_of(server, "admin")
    server.table = admin.tables.get(TABLE)
    server.volume = admin.volumes.create("main", "agents", "files", catalog.VolumeType.MANAGED)
    run_sql(server, "CREATE VIEW main.agents.seen AS SELECT name FROM main.agents.bot_otel_spans")


@pytest.fixture
def alice(lake):
    """Nothing but what the test gives her."""
    yield sdk_of(lake, "alice")
    for kind, name in (
        ("catalog", "main"), ("schema", "main.agents"), ("table", TABLE), ("volume", "main.agents.files"), ("external_location", "outside"),
    ):
        held = client(lake).call("GET", f"/api/2.1/unity-catalog/permissions/{kind}/{name}").json()
        mine = [one["privileges"] for one in held.get("privilege_assignments", []) if one["principal"] == "alice"]
        if mine:
            grant(lake, kind, name, remove=mine[0])


def way(lake, *on_schema):
    grant(lake, "catalog", "main", "USE_CATALOG")
    grant(lake, "schema", "main.agents", "USE_SCHEMA", *on_schema)


def of_table(client, lake, operation="READ"):
    return client.temporary_table_credentials.generate_temporary_table_credentials(
        table_id=lake.table.table_id, operation=catalog.TableOperation(operation)
    )


def of_volume(client, lake, operation="READ_VOLUME"):
    return client.temporary_volume_credentials.generate_temporary_volume_credentials(
        volume_id=lake.volume.volume_id, operation=catalog.VolumeOperation(operation)
    )


def of_path(client, url, operation="PATH_READ", **more):
    return client.temporary_path_credentials.generate_temporary_path_credentials(
        url=url, operation=catalog.PathOperation(operation), **more
    )


def last_asked(bucket):
    """What the token service was asked last."""
    form = parse_qs(bucket["noted"].read_text().splitlines()[-1])
    return {name: values[0] for name, values in form.items()}


def times_asked(bucket):
    return len(bucket["noted"].read_text().splitlines()) if bucket["noted"].exists() else 0


def test_a_credential_reads_the_table_and_is_narrowed_to_it(lake, bucket, alice):
    way(lake, "EXTERNAL_USE_SCHEMA")
    grant(lake, "table", TABLE, "SELECT")
    before = time.time()
    given = of_table(alice, lake)
    keys = given.aws_temp_credentials
    assert given.url == lake.table.storage_location and given.url.startswith("s3://lake/tables/")
    assert before < given.expiration_time / 1000 <= before + 1000
    assert keys.access_key_id not in ("", "own") and keys.secret_access_key and keys.session_token
    rows = tool(
        "read", given.url, AWS_ENDPOINT_URL=bucket["url"], AWS_ACCESS_KEY_ID=keys.access_key_id, AWS_SECRET_ACCESS_KEY=keys.secret_access_key,
        AWS_SESSION_TOKEN=keys.session_token, AWS_REGION="us-east-1", AWS_ALLOW_HTTP="true",
    )["delta"]
    assert [row["trace_id"] for row in rows] == [lake.trace]
    asked, prefix = last_asked(bucket), given.url.removeprefix("s3://lake/")
    assert (asked["Action"], asked["RoleArn"], asked["DurationSeconds"]) == ("AssumeRole", ROLE, "900")
    objects, lists = json.loads(asked["Policy"])["Statement"]
    assert objects == {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::lake/{prefix}/*"]}
    assert lists["Condition"] == {"StringLike": {"s3:prefix": [f"{prefix}/*"]}}
    # On the record: who, what, until when; not the credential.
    found = client(lake).call("GET", "/api/tracegate/v1/audit/events", params={"operation": "catalog.credentials.table", "limit": "100"})
    assert found.status_code == 200, found.text
    text = found.text
    assert lake.table.table_id in text and str(given.expiration_time) in text and f"table:{TABLE}" in text and "EXTERNAL_USE_SCHEMA" in text
    # The store's own record names the decision.
    assert asked["RoleSessionName"].removeprefix("tracegate-") in text
    for secret in (keys.secret_access_key, keys.session_token):
        assert secret not in text and secret not in lake.log_text()


def test_every_privilege_is_needed(lake, bucket, alice):
    asked = times_asked(bucket)

    def refused(kind, call, *arguments):
        with pytest.raises(kind) as error:
            call(alice, lake, *arguments)
        return str(error.value)

    # Hidden is missing, and says no more than what was asked.
    hidden = refused(NotFound, of_table)
    assert TABLE not in hidden and lake.table.table_id in hidden
    refused(NotFound, of_volume)
    way(lake)
    refused(NotFound, of_table)
    grant(lake, "table", TABLE, "SELECT")
    assert "EXTERNAL_USE_SCHEMA" in refused(PermissionDenied, of_table)
    # Neither all privileges nor the right to manage is access from outside.
    grant(lake, "schema", "main.agents", "ALL_PRIVILEGES", "MANAGE")
    grant(lake, "catalog", "main", "ALL_PRIVILEGES", "MANAGE")
    assert "EXTERNAL_USE_SCHEMA" in refused(PermissionDenied, of_table)
    assert "EXTERNAL_USE_SCHEMA" in refused(PermissionDenied, of_volume)
    grant(lake, "schema", "main.agents", remove=["ALL_PRIVILEGES", "MANAGE"])
    grant(lake, "catalog", "main", remove=["ALL_PRIVILEGES", "MANAGE"])
    grant(lake, "schema", "main.agents", "EXTERNAL_USE_SCHEMA")
    assert "MODIFY" in refused(PermissionDenied, of_table, "READ_WRITE")
    refused(NotFound, of_volume)
    # The right to use from outside reads nothing by itself, and the way is needed as ever.
    grant(lake, "table", TABLE, remove=["SELECT"])
    refused(NotFound, of_table)
    grant(lake, "table", TABLE, "SELECT", "MODIFY")
    grant(lake, "catalog", "main", remove=["USE_CATALOG"])
    refused(NotFound, of_table)
    assert times_asked(bucket) == asked, "the store was asked for a credential that nobody may have"
    grant(lake, "catalog", "main", "USE_CATALOG")
    assert of_table(alice, lake, "READ_WRITE").aws_temp_credentials
    (objects, _) = json.loads(last_asked(bucket)["Policy"])["Statement"]
    assert "s3:PutObject" in objects["Action"] and "s3:DeleteObject" in objects["Action"]
    grant(lake, "volume", "main.agents.files", "READ_VOLUME")
    assert of_volume(alice, lake).url == lake.volume.storage_location
    assert "WRITE_VOLUME" in refused(PermissionDenied, of_volume, "WRITE_VOLUME")
    grant(lake, "volume", "main.agents.files", "WRITE_VOLUME")
    assert of_volume(alice, lake, "WRITE_VOLUME").aws_temp_credentials


def test_a_table_with_a_filter_or_a_mask_and_a_view_have_none_for_nobody(lake, bucket, alice):
    way(lake, "EXTERNAL_USE_SCHEMA", "SELECT", "MODIFY", "EXECUTE")
    admin = sdk_of(lake, "admin")
    assert of_table(admin, lake).aws_temp_credentials and of_table(alice, lake).aws_temp_credentials
    asked = times_asked(bucket)
    run_sql(lake, "CREATE FUNCTION main.agents.none(x STRING) RETURNS BOOLEAN RETURN x = 'nothing'")
    run_sql(lake, "CREATE FUNCTION main.agents.stars(x STRING) RETURNS STRING RETURN '***'")
    for rule, end in (
        (f"ALTER TABLE {TABLE} SET ROW FILTER main.agents.none ON (name)", f"ALTER TABLE {TABLE} DROP ROW FILTER"),
        (f"ALTER TABLE {TABLE} ALTER COLUMN name SET MASK main.agents.stars", f"ALTER TABLE {TABLE} ALTER COLUMN name DROP MASK"),
    ):
        run_sql(lake, rule)
        for who in (admin, alice):
            for operation in ("READ", "READ_WRITE"):
                with pytest.raises(PermissionDenied, match="row filter or a column mask"):
                    of_table(who, lake, operation)
        # Who does not see the table learns nothing of its rules.
        with pytest.raises(NotFound):
            of_table(sdk_of(lake, "bob"), lake)
        run_sql(lake, end)
    view = admin.tables.get("main.agents.seen").table_id
    for who in (admin, alice):
        with pytest.raises(PermissionDenied, match="no files of its own"):
            who.temporary_table_credentials.generate_temporary_table_credentials(table_id=view, operation=catalog.TableOperation.READ)
    assert times_asked(bucket) == asked
    assert of_table(alice, lake).aws_temp_credentials


def test_a_path_needs_its_location_and_reaches_nothing_that_the_catalog_keeps(lake, bucket, alice):
    admin = sdk_of(lake, "admin")
    asked = times_asked(bucket)

    def refused(who, url, operation="PATH_READ", kind=PermissionDenied):
        with pytest.raises(kind) as error:
            of_path(who, url, operation)
        return str(error.value)

    refused(alice, "s3://lake/outside/x")
    grant(lake, "external_location", "outside", "ALL_PRIVILEGES", "MANAGE")
    refused(alice, "s3://lake/outside/x")
    grant(lake, "external_location", "outside", "READ_FILES", "EXTERNAL_USE_LOCATION", remove=["ALL_PRIVILEGES", "MANAGE"])
    refused(alice, "s3://lake/outside/x", "PATH_READ_WRITE")
    refused(alice, "s3://lake/outside/x", "PATH_CREATE_TABLE")
    # Whoever asks: not managed data, not around it, and not where there is no external location.
    for who in (admin, alice):
        for url in (lake.table.storage_location, lake.volume.storage_location, "s3://lake/tables", "s3://lake", "s3://other/x", "s3://lake/outside2"):
            refused(who, url)
    for url in ("s3://lake/outside/../tables", "s3://lake/outside//x", "s3://lake/outside/%2e%2e", "s3://lake/outside/*", "x"):
        refused(alice, url, kind=BadRequest)
    assert times_asked(bucket) == asked
    assert of_path(alice, "s3://lake/outside/x").url == "s3://lake/outside/x"
    # A table there: it is its own door, and what lies around or in it is none.
    made = client(lake).call("POST", "/api/2.1/unity-catalog/tables", json={
        "name": "theirs", "catalog_name": "main", "schema_name": "agents", "table_type": "EXTERNAL", "data_source_format": "DELTA",
        "storage_location": "s3://lake/outside/x/theirs", "columns": [{"name": "a", "type_name": "STRING", "type_text": "string", "position": 0}],
    })
    assert made.status_code == 200, made.text
    for who in (admin, alice):
        for url in ("s3://lake/outside", "s3://lake/outside/x", "s3://lake/outside/x/theirs", "s3://lake/outside/x/theirs/_delta_log"):
            assert "overlaps" in refused(who, url)
    grant(lake, "external_location", "outside", "WRITE_FILES", "CREATE_EXTERNAL_TABLE")
    for operation in ("PATH_READ_WRITE", "PATH_CREATE_TABLE"):
        assert of_path(alice, "s3://lake/outside/y", operation).aws_temp_credentials
    asked = times_asked(bucket)
    assert of_path(alice, "s3://lake/outside/y", dry_run=True).aws_temp_credentials is None and times_asked(bucket) == asked
    sdk_of(lake, "admin").external_locations.update("outside", read_only=True)
    refused(alice, "s3://lake/outside/y", "PATH_READ_WRITE")
    assert of_path(alice, "s3://lake/outside/y").aws_temp_credentials


def test_every_spelling_and_the_open_client(lake, alice):
    way(lake, "EXTERNAL_USE_SCHEMA")
    grant(lake, "table", TABLE, "SELECT")
    for version in ("2.0", "2.1"):
        path = f"/api/{version}/unity-catalog/temporary-table-credentials"
        answer = client(lake, "alice").call("POST", path, json={"table_id": lake.table.table_id, "operation": "READ"})
        assert answer.status_code == 200 and set(answer.json()) == {"aws_temp_credentials", "expiration_time", "url"}
        assert answer.headers["cache-control"] == "no-store"
        for body in ({}, {"table_id": "x", "operation": "READ"}, {"table_id": lake.table.table_id, "operation": "WRITE"}, {"table_id": lake.table.table_id}):
            assert client(lake, "alice").call("POST", path, json=body).status_code == 400
        nobody = requests.post(lake.url + path, json={"table_id": lake.table.table_id, "operation": "READ"}, timeout=30)
        assert nobody.status_code == 401
    worker = subprocess.Popen([os.environ["CATALOG_PYTHON"], WORKER, lake.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(who, operation):
        body = {"model": "GenerateTemporaryTableCredential", "table_id": lake.table.table_id, "operation": operation}
        worker.stdin.write(json.dumps({
            "token": lake.details["tokens"][who], "api": "TemporaryCredentialsApi", "call": "generate_temporary_table_credentials",
            "arguments": {"generate_temporary_table_credential": body},
        }) + "\n")
        worker.stdin.flush()
        return json.loads(worker.stdout.readline())

    try:
        given = ask("alice", "READ")
        assert given["status"] == 200 and given["value"]["aws_temp_credentials"]["session_token"], given
        assert ask("alice", "READ_WRITE")["status"] == 403 and ask("bob", "READ")["status"] == 404
    finally:
        worker.stdin.close()
        worker.wait(20)


class Refusing(BaseHTTPRequestHandler):
    """A token service that never lets anybody assume a role."""

    def do_POST(self):
        body = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>arn:secret</Message></Error></ErrorResponse>"
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("away", [True, False], ids=["away", "refuses"])
def test_a_token_service_that_is_away_or_refuses_gives_nothing(bucket, tmp_path, away):
    service = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{service.server_port}"
    if away:
        service.shutdown()
        service.server_close()
    server = processes.start_demo(
        tmp_path / "gate", None, TRACEGATE__LAKE__ROOT=f"s3://lake/{tmp_path.name}", TRACEGATE__LAKE__CREDENTIALS_ROLE=ROLE,
        TRACEGATE__LAKE__CREDENTIALS_ENDPOINT=url, AWS_ENDPOINT_URL=bucket["url"], **OWN,
    )
    try:
        prepare(server)
        body = {"table_id": server.table.table_id, "operation": "READ"}
        answer = client(server).call("POST", "/api/2.1/unity-catalog/temporary-table-credentials", json=body)
        wanted = (503, "TEMPORARILY_UNAVAILABLE") if away else (400, "INVALID_STATE")
        assert (answer.status_code, answer.json()["error_code"]) == wanted and "arn:" not in answer.text
        assert "no temporary credential was made" in server.log_text()
    finally:
        server.stop()
        if not away:
            service.shutdown()
            service.server_close()


def test_a_directory_of_this_machine_has_none_and_says_so_to_who_may(tmp_path):
    server = processes.start_demo(tmp_path / "gate", None)
    try:
        prepare(server)
        way(server, "EXTERNAL_USE_SCHEMA")
        alice = sdk_of(server, "alice")
        with pytest.raises(NotFound):
            of_table(alice, server)
        grant(server, "table", TABLE, "SELECT")
        for call in (lambda: of_table(alice, server), lambda: of_volume(sdk_of(server, "admin"), server)):
            with pytest.raises(DatabricksError, match="only stores that speak S3") as error:
                call()
            assert error.value.error_code == "INVALID_STATE"
    finally:
        server.stop()
