"""The catalog through the unmodified databricks-sdk, as people with and without privileges, and what each could try
to get round them."""

import uuid

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import BadRequest, DatabricksError, NotFound, PermissionDenied, ResourceConflict
from databricks.sdk.service import catalog

from harness import processes

BASE = "/api/2.1/unity-catalog"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def lake(request, tmp_path_factory):
    """A gateway with a store of its own, and a directory in which external locations may lie."""
    directory = tmp_path_factory.mktemp("catalog")
    outside = directory / "outside"
    outside.mkdir()
    environment = {"TRACEGATE__LAKE__EXTERNAL_DIRECTORIES": f'["{outside}"]'}
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        environment["TRACEGATE__DATABASE__URL"] = server.details["url"]
    server = processes.start_demo(directory / "gate", None, **environment)
    server.outside = outside
    yield server
    server.stop()


@pytest.fixture(scope="module")
def sdk(lake):
    kept = {}

    def get(who):
        if who not in kept:
            token = lake.details["tokens"][who]
            kept[who] = WorkspaceClient(config=Config(host=lake.url, token=token, auth_type="pat", retry_timeout_seconds=20))
        return kept[who]

    return get


@pytest.fixture(scope="module")
def raw(lake):
    def call(who, method, path, **more):
        headers = {"Authorization": f"Bearer {lake.details['tokens'][who]}"}
        return requests.request(method, lake.url + BASE + path, headers=headers, timeout=30, **more)

    return call


def fresh(prefix="c"):
    return f"{prefix}_{uuid.uuid4().hex[:8]}"


def grant(client, kind, name, who, *privileges, remove=()):
    change = catalog.PermissionsChange(
        principal=who,
        add=[catalog.Privilege(one) for one in privileges],
        remove=[catalog.Privilege(one) for one in remove],
    )
    return client.grants.update(securable_type=kind, full_name=name, changes=[change])


def table(client, schema, name="spans", **more):
    catalog_name, schema_name = schema.split(".")
    body = {
        "name": name, "catalog_name": catalog_name, "schema_name": schema_name,
        "table_type": "MANAGED", "data_source_format": "DELTA",
        "columns": [
            {"name": "trace_id", "type_name": "STRING", "type_text": "string", "position": 0, "nullable": False, "comment": "whose"},
            {"name": "attributes", "type_name": "VARIANT", "type_text": "variant", "position": 1},
        ],
        **more,
    }
    return client.api_client.do("POST", f"{BASE}/tables", body=body)


@pytest.fixture
def main(sdk):
    """A catalog of the administrator's with a schema, two tables and a volume."""
    admin, name = sdk("admin"), fresh("main")
    admin.catalogs.create(name=name, comment="for tests", properties={"team": "a"})
    admin.schemas.create(name="agents", catalog_name=name)
    table(admin, f"{name}.agents")
    table(admin, f"{name}.agents", "other")
    admin.volumes.create(catalog_name=name, schema_name="agents", name="files", volume_type=catalog.VolumeType.MANAGED)
    yield name
    try:
        admin.catalogs.delete(name, force=True)
    except NotFound:
        pass


def open_way(sdk, main, who):
    grant(sdk("admin"), "catalog", main, who, "USE_CATALOG")
    grant(sdk("admin"), "SCHEMA", f"{main}.agents", who, "USE_SCHEMA")


class TestObjects:
    def test_an_administrator_makes_reads_changes_and_ends_each_kind(self, sdk, main):
        admin = sdk("admin")
        info = admin.catalogs.get(main.upper())
        assert (info.name, info.owner, info.comment, info.properties) == (main, "admin", "for tests", {"team": "a"})
        assert info.created_by == "admin" and info.created_at > 0 and info.metastore_id
        assert admin.catalogs.update(main, comment="other", properties={}).comment == "other"
        schema = admin.schemas.get(f"{main}.agents")
        assert (schema.full_name, schema.catalog_name) == (f"{main}.agents", main) and uuid.UUID(schema.schema_id)
        spans = admin.tables.get(f"{main}.agents.spans")
        assert [(c.name, c.type_name.value, c.nullable, c.position, c.comment) for c in spans.columns] == [
            ("trace_id", "STRING", False, 0, "whose"), ("attributes", "VARIANT", True, 1, None)
        ]
        assert spans.table_type == catalog.TableType.MANAGED and spans.data_source_format == catalog.DataSourceFormat.DELTA
        assert spans.storage_location.endswith(f"/lake/tables/{spans.table_id}")
        assert admin.tables.exists(f"{main}.agents.spans").table_exists
        assert not admin.tables.exists(f"{main}.agents.none").table_exists
        assert {one.name for one in admin.tables.list(main, "agents")} == {"spans", "other"}
        assert all(not one.columns for one in admin.tables.list(main, "agents", omit_columns=True))
        names = {one.full_name for one in admin.tables.list_summaries(main, schema_name_pattern="ag%", table_name_pattern="s%")}
        assert names == {f"{main}.agents.spans"}
        volume = admin.volumes.update(f"{main}.agents.files", comment="said", new_name="Papers")
        assert (volume.name, volume.comment) == ("papers", "said")
        assert [one.name for one in admin.volumes.list(main, "agents")] == ["papers"]
        assert admin.volumes.read(f"{main}.agents.papers").volume_id == volume.volume_id
        admin.volumes.delete(f"{main}.agents.papers")
        admin.tables.delete(f"{main}.agents.spans")
        with pytest.raises(NotFound, match="does not exist"):
            admin.tables.get(f"{main}.agents.spans")
        with pytest.raises(BadRequest, match="not empty"):
            admin.schemas.delete(f"{main}.agents")
        admin.schemas.delete(f"{main}.agents", force=True)
        admin.catalogs.delete(main)

    def test_a_name_is_taken_once_in_whatever_case(self, sdk, main):
        admin = sdk("admin")
        for again in (main, main.upper()):
            with pytest.raises(ResourceConflict, match="exists already"):
                admin.catalogs.create(name=again)
        with pytest.raises(ResourceConflict):
            table(admin, f"{main}.agents", "SPANS")
        with pytest.raises(ResourceConflict):
            admin.api_client.do("POST", f"{BASE}/tables", body={
                "name": "spans", "catalog_name": main, "schema_name": "agents", "table_type": "VIEW", "view_definition": "SELECT 1",
            })
        for bad in ("a.b", "a b", "a/b", "information_schema", "__x", "\u200bx"):
            with pytest.raises(BadRequest):
                admin.schemas.create(name=bad, catalog_name=main)

    def test_errors_have_the_platforms_shape(self, raw):
        answer = raw("carol", "GET", "/catalogs/nowhere")
        body = answer.json()
        assert (answer.status_code, body["error_code"]) == (404, "CATALOG_DOES_NOT_EXIST")
        assert body["details"][0]["reason"] == "CATALOG_DOES_NOT_EXIST" and "nowhere" in body["message"]

    def test_functions_are_kept_as_names_with_their_definition(self, sdk, main):
        admin = sdk("admin")
        made = admin.functions.create(catalog.CreateFunction(
            name="Twice", catalog_name=main, schema_name="agents",
            input_params=catalog.FunctionParameterInfos(parameters=[catalog.FunctionParameterInfo(
                name="x", type_text="int", type_name=catalog.ColumnTypeName.INT, position=0)]),
            data_type=catalog.ColumnTypeName.INT, full_data_type="INT", routine_body=catalog.CreateFunctionRoutineBody.SQL,
            routine_definition="2 * x", parameter_style=catalog.CreateFunctionParameterStyle.S, is_deterministic=True,
            sql_data_access=catalog.CreateFunctionSqlDataAccess.NO_SQL, is_null_call=False,
            security_type=catalog.CreateFunctionSecurityType.DEFINER, specific_name="twice",
        ))
        assert (made.full_name, made.routine_definition, made.owner) == (f"{main}.agents.twice", "2 * x", "admin")
        open_way(sdk, main, "bob")
        assert list(sdk("bob").functions.list(main, "agents")) == []
        grant(admin, "function", made.full_name, "bob", "EXECUTE")
        assert sdk("bob").functions.get(made.full_name).name == "twice"
        with pytest.raises(PermissionDenied):
            sdk("bob").functions.delete(made.full_name)
        assert admin.functions.update(made.full_name, owner="alice").owner == "alice"
        admin.functions.delete(made.full_name)

    def test_the_metastore_is_one_and_everybody_may_know_which(self, sdk):
        ids = {sdk(who).metastores.summary().metastore_id for who in ("admin", "carol", "agent")}
        assert len(ids) == 1 and sdk("carol").metastores.current().metastore_id in ids
        assert [one.metastore_id for one in sdk("admin").metastores.list()] == list(ids)
        assert list(sdk("carol").metastores.list()) == []


class TestWhoMay:
    def test_nothing_is_seen_without_the_way_there(self, sdk, main):
        bob, spans = sdk("bob"), f"{main}.agents.spans"
        needed = [("catalog", main, "USE_CATALOG"), ("schema", f"{main}.agents", "USE_SCHEMA"), ("table", spans, "SELECT")]
        for left_out in needed:
            for kind, name, privilege in needed:
                if (kind, name, privilege) != left_out:
                    grant(sdk("admin"), kind, name, "analysts", privilege)
            with pytest.raises(NotFound):
                bob.tables.get(spans)
            assert not bob.tables.exists(spans).table_exists
            for kind, name, privilege in needed:
                grant(sdk("admin"), kind, name, "analysts", remove=[privilege])
        for kind, name, privilege in needed:
            grant(sdk("admin"), kind, name, "analysts", privilege)
        assert bob.tables.get(spans).name == "spans"
        assert [one.name for one in bob.tables.list(main, "agents")] == ["spans"]
        assert [one.full_name for one in bob.tables.list_summaries(main)] == [spans]

    def test_lists_leave_out_silently_what_one_may_not_see(self, sdk, main):
        carol = sdk("carol")
        assert main not in {one.name for one in carol.catalogs.list()}
        grant(sdk("admin"), "catalog", main, "carol", "USE_CATALOG")
        assert [one.name for one in carol.catalogs.list()] == [main]
        assert list(carol.schemas.list(main)) == []
        grant(sdk("admin"), "schema", f"{main}.agents", "carol", "USE_SCHEMA")
        assert [one.name for one in carol.schemas.list(main)] == ["agents"]
        assert list(carol.tables.list(main, "agents")) == list(carol.volumes.list(main, "agents")) == []

    def test_browse_shows_that_something_is_there_when_asked_for(self, sdk, main):
        carol = sdk("carol")
        grant(sdk("admin"), "catalog", main, "carol", "BROWSE")
        with pytest.raises(NotFound):
            carol.tables.get(f"{main}.agents.spans")
        assert main not in {one.name for one in carol.catalogs.list()}
        shown = carol.tables.get(f"{main}.agents.spans", include_browse=True)
        assert (shown.name, shown.browse_only) == ("spans", True)
        assert not any((shown.columns, shown.owner, shown.storage_location, shown.properties, shown.table_id))
        assert {one.browse_only for one in carol.tables.list(main, "agents", include_browse=True)} == {True}
        with pytest.raises(PermissionDenied):
            carol.tables.delete(f"{main}.agents.spans")

    def test_creating_needs_the_privilege_and_gives_what_was_made(self, sdk, main):
        bob = sdk("bob")
        with pytest.raises(PermissionDenied):
            bob.catalogs.create(name=fresh())
        open_way(sdk, main, "bob")
        with pytest.raises(PermissionDenied):
            bob.schemas.create(name="mine", catalog_name=main)
        grant(sdk("admin"), "catalog", main, "bob", "CREATE_SCHEMA")
        assert bob.schemas.create(name="mine", catalog_name=main).owner == "bob"
        assert table(bob, f"{main}.mine")["owner"] == "bob"
        with pytest.raises(PermissionDenied):
            table(bob, f"{main}.agents", "bobs")
        with pytest.raises(PermissionDenied):
            bob.volumes.create(main, "agents", "bobs", catalog.VolumeType.MANAGED)
        metastore = sdk("admin").metastores.summary().metastore_id
        grant(sdk("admin"), "metastore", metastore, "bob", "CREATE_CATALOG")
        try:
            own = fresh("bobs")
            assert bob.catalogs.create(name=own).owner == "bob"
            bob.catalogs.delete(own)
        finally:
            grant(sdk("admin"), "metastore", metastore, "bob", remove=["CREATE_CATALOG"])

    def test_a_manager_manages_and_reads_no_data(self, sdk, main):
        alice, admin, spans = sdk("alice"), sdk("admin"), f"{main}.agents.spans"
        grant(admin, "schema", f"{main}.agents", "alice", "MANAGE")
        with pytest.raises(NotFound):
            grant(alice, "table", spans, "alice", "SELECT")
        grant(admin, "catalog", main, "alice", "USE_CATALOG")
        # The platform lets a manager give itself what it manages; that is on the record.
        grant(alice, "table", spans, "alice", "SELECT")
        rows = alice.grants.get("table", spans).privilege_assignments
        assert [(row.principal, [one.value for one in row.privileges]) for row in rows] == [("alice", ["SELECT"])]
        alice.tables.delete(f"{main}.agents.other")
        with pytest.raises(PermissionDenied):
            alice.catalogs.delete(main, force=True)

    def test_an_owner_gives_to_no_group_that_it_is_not_in(self, sdk, main):
        grant(sdk("admin"), "catalog", main, "bob", "USE_CATALOG", "CREATE_SCHEMA")
        bob = sdk("bob")
        bob.schemas.create(name="mine", catalog_name=main)
        with pytest.raises(PermissionDenied):
            bob.schemas.update(f"{main}.mine", owner="admins")
        with pytest.raises(NotFound):
            bob.schemas.update(f"{main}.mine", owner="nobody-of-this-name")
        assert bob.schemas.get(f"{main}.mine").owner == "bob"
        assert bob.schemas.update(f"{main}.mine", owner="analysts").owner == "analysts"
        bob.schemas.update(f"{main}.mine", owner="alice")
        with pytest.raises(NotFound):
            bob.schemas.get(f"{main}.mine")
        assert sdk("admin").schemas.get(f"{main}.mine").owner == "alice"


class TestGrants:
    def test_direct_and_effective_permissions_say_where_they_come_from(self, sdk, main):
        admin, spans = sdk("admin"), f"{main}.agents.spans"
        grant(admin, catalog.SecurableType.CATALOG, main, "analysts", "USE_CATALOG", "SELECT")
        grant(admin, "TABLE", spans, "analysts", "MODIFY")
        rows = admin.grants.get(catalog.SecurableType.TABLE.value, spans).privilege_assignments
        assert [(row.principal, [one.value for one in row.privileges]) for row in rows] == [("analysts", ["MODIFY"])]
        (row,) = admin.grants.get_effective("table", spans, principal="analysts").privilege_assignments
        shown = {(p.privilege.value, p.inherited_from_type and p.inherited_from_type.value, p.inherited_from_name) for p in row.privileges}
        assert shown == {("SELECT", "CATALOG", main), ("MODIFY", None, None)}

    def test_who_does_not_manage_sees_its_own_alone(self, sdk, main):
        open_way(sdk, main, "bob")
        open_way(sdk, main, "carol")
        assert {row.principal for row in sdk("bob").grants.get("catalog", main).privilege_assignments} == {"bob"}
        assert not sdk("bob").grants.get("catalog", main, principal="carol").privilege_assignments
        assert not sdk("bob").grants.get("catalog", main, principal="no-such-person").privilege_assignments
        with pytest.raises(NotFound):
            sdk("dave").grants.get("catalog", main)
        with pytest.raises(PermissionDenied):
            grant(sdk("bob"), "catalog", main, "bob", "SELECT")

    def test_a_batch_with_one_wrong_change_changes_nothing(self, sdk, main, raw):
        def rows():
            return raw("admin", "GET", f"/permissions/catalog/{main}").json()["privilege_assignments"]

        before = rows()
        for wrong in (
            {"principal": "nobody-of-this-name", "add": ["SELECT"]},
            {"principal": "bob", "add": ["FLY"]},
            {"principal": "bob", "add": ["CREATE_CATALOG"]},
            {"principal": "bob", "add": ["OWNER"]},
            {"principal": "bob", "add": ["CAN_MANAGE"]},
            {"principal": "bob", "add": ["SELECT"], "remove": ["SELECT"]},
            {"principal": "bob", "ad": ["SELECT"]},
            {"principal": "tracegate-shadow", "add": ["SELECT"]},
        ):
            body = {"changes": [{"principal": "carol", "add": ["SELECT"]}, wrong]}
            answer = raw("admin", "PATCH", f"/permissions/catalog/{main}", json=body)
            assert answer.status_code in (400, 404), (wrong, answer.text)
            assert rows() == before

    def test_access_from_outside_is_granted_by_the_catalogs_owner(self, sdk, main, lake):
        grant(sdk("admin"), "catalog", main, "alice", "USE_CATALOG", "MANAGE")
        with pytest.raises(PermissionDenied):
            grant(sdk("alice"), "schema", f"{main}.agents", "alice", "EXTERNAL_USE_SCHEMA")
        answer = requests.post(
            f"{lake.url}/api/tracegate/v1/grants",
            json={"principal": "user:alice", "securable": f"schema:{main}.agents", "privilege": "EXTERNAL_USE_SCHEMA"},
            headers={"Authorization": f"Bearer {lake.details['tokens']['alice']}"}, timeout=30,
        )
        assert answer.status_code == 403, answer.text
        grant(sdk("admin"), "schema", f"{main}.agents", "alice", "EXTERNAL_USE_SCHEMA")

    def test_all_users_are_named_as_the_platform_names_them(self, sdk, main):
        grant(sdk("admin"), "catalog", main, "account users", "USE_CATALOG")
        assert sdk("carol").catalogs.get(main).name == main
        grant(sdk("admin"), "catalog", main, "account users", remove=["USE_CATALOG"])
        with pytest.raises(NotFound):
            sdk("carol").catalogs.get(main)


class TestAttacks:
    def test_hidden_and_missing_are_told_apart_by_no_call(self, main, raw):
        there, missing = main, fresh("none")
        calls = [
            ("GET", "/catalogs/{c}", None),
            ("PATCH", "/catalogs/{c}", {"comment": "x"}),
            ("PATCH", "/catalogs/{c}", {"new_name": "taken"}),
            ("PATCH", "/catalogs/{c}", {"owner": "carol"}),
            ("DELETE", "/catalogs/{c}?force=true", None),
            ("DELETE", "/catalogs/{c}", None),
            ("POST", "/schemas", {"name": "agents", "catalog_name": "{c}"}),
            ("POST", "/schemas", {"name": "new", "catalog_name": "{c}"}),
            ("GET", "/schemas?catalog_name={c}", None),
            ("GET", "/schemas/{c}.agents", None),
            ("PATCH", "/schemas/{c}.agents", {"new_name": "x"}),
            ("DELETE", "/schemas/{c}.agents", None),
            ("GET", "/tables?catalog_name={c}&schema_name=agents", None),
            ("GET", "/table-summaries?catalog_name={c}", None),
            ("GET", "/tables/{c}.agents.spans", None),
            ("GET", "/tables/{c}.agents.spans?include_browse=true", None),
            ("GET", "/tables/{c}.agents.spans/exists", None),
            ("PATCH", "/tables/{c}.agents.spans", {"owner": "carol"}),
            ("DELETE", "/tables/{c}.agents.spans", None),
            ("POST", "/tables", {
                "name": "spans", "catalog_name": "{c}", "schema_name": "agents", "table_type": "MANAGED", "data_source_format": "DELTA",
            }),
            ("POST", "/volumes", {"name": "files", "catalog_name": "{c}", "schema_name": "agents", "volume_type": "MANAGED"}),
            ("GET", "/volumes/{c}.agents.files", None),
            ("PATCH", "/volumes/{c}.agents.files", {"comment": "x"}),
            ("GET", "/permissions/catalog/{c}", None),
            ("GET", "/permissions/TABLE/{c}.agents.spans", None),
            ("GET", "/effective-permissions/table/{c}.agents.spans", None),
            ("PATCH", "/permissions/catalog/{c}", {"changes": [{"principal": "carol", "add": ["SELECT"]}]}),
            ("PATCH", "/permissions/table/{c}.agents.spans", {"changes": [{"principal": "who-is-this", "add": ["FLY"]}]}),
        ]

        def answered(name, method, path, body):
            text = {key: (name if value == "{c}" else value) for key, value in body.items()} if body else None
            answer = raw("carol", method, path.replace("{c}", name), json=text)
            shown = answer.json()
            if "message" in shown:
                shown["message"] = shown["message"].split(" (decision")[0]
                del shown["details"][0]["metadata"]
            return answer.status_code, str(shown).replace(name, "{c}")

        for method, path, body in calls:
            hidden, none = answered(there, method, path, body), answered(missing, method, path, body)
            assert hidden == none, (method, path)
            assert hidden[0] == 404 or path.endswith("/exists"), (method, path, hidden)

    def test_an_explanation_does_not_name_the_owner_of_what_is_hidden(self, sdk, main, lake):
        sdk("admin").catalogs.update(main, owner="alice")

        def helpers(name, who):
            answer = requests.get(
                f"{lake.url}/api/tracegate/v1/explain", params={"privilege": "USE_CATALOG", "on": f"catalog:{name}"},
                headers={"Authorization": f"Bearer {lake.details['tokens'][who]}"}, timeout=30,
            )
            assert answer.status_code == 200, answer.text
            return answer.json()["who_can_help"]

        assert helpers(main, "carol") == helpers("none", "carol") == ["group:admins"]
        grant(sdk("admin"), "catalog", main, "carol", "BROWSE")
        assert "user:alice" in helpers(main, "carol")

    def test_access_from_outside_is_not_got_by_asking_a_manager(self, sdk, main, lake):
        def call(who, path, body):
            headers = {"Authorization": f"Bearer {lake.details['tokens'][who]}"}
            return requests.post(f"{lake.url}/api/tracegate/v1/access-requests{path}", json=body, headers=headers, timeout=30)

        grant(sdk("admin"), "catalog", main, "alice", "USE_CATALOG", "MANAGE")
        body = {"securable": f"schema:{main}.agents", "privilege": "EXTERNAL_USE_SCHEMA", "reason": "asked by a test"}
        asked = call("bob", "", body)
        assert asked.status_code == 200, asked.text
        path = f"/{asked.json()['request']['id']}/approve"
        assert call("alice", path, {"without_end": True}).status_code == 403
        assert call("admin", path, {"without_end": True}).status_code == 200

    def test_a_schema_that_is_hidden_is_missing_within_an_open_catalog(self, sdk, main, raw):
        grant(sdk("admin"), "catalog", main, "carol", "USE_CATALOG")
        for schema in ("agents", "none"):
            body = {"name": "t", "catalog_name": main, "schema_name": schema, "table_type": "MANAGED", "data_source_format": "DELTA"}
            answer = raw("carol", "POST", "/tables", json=body)
            assert (answer.status_code, answer.json()["error_code"]) == (404, "SCHEMA_DOES_NOT_EXIST")

    def test_a_name_that_is_used_again_inherits_nothing(self, sdk, main):
        admin, spans = sdk("admin"), f"{main}.agents.spans"
        open_way(sdk, main, "bob")
        grant(admin, "table", spans, "bob", "SELECT")
        assert sdk("bob").tables.get(spans)
        admin.tables.delete(spans)
        table(admin, f"{main}.agents")
        with pytest.raises(NotFound):
            sdk("bob").tables.get(spans)
        grant(admin, "table", spans, "bob", "SELECT")
        admin.catalogs.delete(main, force=True)
        admin.catalogs.create(name=main)
        admin.schemas.create(name="agents", catalog_name=main)
        table(admin, f"{main}.agents")
        assert not admin.grants.get_effective("table", spans).privilege_assignments
        with pytest.raises(NotFound):
            sdk("bob").catalogs.get(main)

    def test_what_was_granted_on_a_name_in_advance_goes_to_nobody_who_takes_it(self, sdk, main, lake):
        open_way(sdk, main, "bob")
        for name in ("later", "renamed"):
            answer = requests.post(
                f"{lake.url}/api/tracegate/v1/grants",
                json={"principal": "user:bob", "securable": f"volume:{main}.agents.{name}", "privilege": "READ_VOLUME"},
                headers={"Authorization": f"Bearer {lake.details['tokens']['admin']}"}, timeout=30,
            )
            assert answer.status_code == 200, answer.text
        sdk("admin").volumes.create(main, "agents", "later", catalog.VolumeType.MANAGED)
        sdk("admin").volumes.update(f"{main}.agents.files", new_name="renamed")
        for name in ("later", "renamed"):
            with pytest.raises(NotFound):
                sdk("bob").volumes.read(f"{main}.agents.{name}")

    def test_a_rename_takes_its_own_grants_along_and_no_others(self, sdk, main):
        admin, new = sdk("admin"), fresh("renamed")
        open_way(sdk, main, "bob")
        grant(admin, "table", f"{main}.agents.spans", "bob", "SELECT")
        before = admin.tables.get(f"{main}.agents.spans")
        admin.catalogs.update(main, new_name=new)
        try:
            with pytest.raises(NotFound):
                sdk("bob").tables.get(f"{main}.agents.spans")
            after = sdk("bob").tables.get(f"{new}.agents.spans")
            assert (after.table_id, after.storage_location) == (before.table_id, before.storage_location)
            assert [one.name for one in sdk("bob").tables.list(new, "agents")] == ["spans"]
            # The old name is free, and opens nothing.
            admin.catalogs.create(name=main)
            with pytest.raises(NotFound):
                sdk("bob").catalogs.get(main)
        finally:
            admin.catalogs.delete(new, force=True)

    def test_a_rename_needs_the_right_to_make(self, sdk, main):
        grant(sdk("admin"), "catalog", main, "bob", "USE_CATALOG", "CREATE_SCHEMA")
        bob = sdk("bob")
        bob.schemas.create(name="mine", catalog_name=main)
        grant(sdk("admin"), "catalog", main, "bob", remove=["CREATE_SCHEMA"])
        with pytest.raises(PermissionDenied):
            bob.schemas.update(f"{main}.mine", new_name="agents2")
        grant(sdk("admin"), "catalog", main, "bob", "CREATE_SCHEMA")
        with pytest.raises(ResourceConflict):
            bob.schemas.update(f"{main}.mine", new_name="AGENTS")
        assert bob.schemas.update(f"{main}.mine", new_name="yours").full_name == f"{main}.yours"

    def test_a_page_token_is_its_callers_and_its_questions(self, sdk, main, raw):
        for who in ("bob", "carol"):
            open_way(sdk, main, who)
            grant(sdk("admin"), "catalog", main, who, "SELECT")
        path = f"/tables?catalog_name={main}&schema_name=agents&max_results=1"
        first = raw("bob", "GET", path).json()
        token = first["next_page_token"]
        assert len(first["tables"]) == 1
        assert [one["name"] for one in raw("bob", "GET", f"{path}&page_token={token}").json()["tables"]] == ["spans"]
        assert raw("carol", "GET", f"{path}&page_token={token}").status_code == 400
        assert raw("bob", "GET", f"/volumes?catalog_name={main}&schema_name=agents&page_token={token}").status_code == 400
        assert raw("bob", "GET", f"{path}&page_token={token[:-2]}xx").status_code == 400
        assert [one.name for one in sdk("bob").tables.list(main, "agents", max_results=1)] == ["other", "spans"]

    def test_pages_are_full_whatever_is_hidden_between(self, sdk, main):
        admin = sdk("admin")
        for number in range(12):
            table(admin, f"{main}.agents", f"t{number:02}")
        open_way(sdk, main, "bob")
        for number in (3, 7, 11):
            grant(admin, "table", f"{main}.agents.t{number:02}", "bob", "SELECT")
        names = [one.name for one in sdk("bob").tables.list(main, "agents", max_results=2)]
        assert names == ["t03", "t07", "t11"]
        assert [one.full_name.split(".")[2] for one in sdk("bob").tables.list_summaries(main, max_results=2)] == names

    def test_a_deny_is_not_gone_round_by_removing_the_container(self, sdk, main, lake):
        grant(sdk("admin"), "catalog", main, "alice", "USE_CATALOG", "MANAGE")
        answer = requests.post(
            f"{lake.url}/api/tracegate/v1/grants",
            json={"principal": "user:alice", "securable": f"table:{main}.agents.other", "privilege": "MANAGE", "effect": "deny"},
            headers={"Authorization": f"Bearer {lake.details['tokens']['admin']}"}, timeout=30,
        )
        assert answer.status_code == 200, answer.text
        for kind, name in (("schemas", f"{main}.agents"), ("catalogs", main)):
            with pytest.raises(PermissionDenied):
                getattr(sdk("alice"), kind).delete(name, force=True)
        assert sdk("admin").tables.exists(f"{main}.agents.other").table_exists

    def test_what_would_be_left_out_is_refused(self, main, raw):
        body = {"name": "masked", "catalog_name": main, "schema_name": "agents", "table_type": "MANAGED", "data_source_format": "DELTA"}
        for more in (
            {"columns": [{"name": "a", "mask": {"function_name": "f"}}]},
            {"row_filter": {"function_name": "f", "input_column_names": []}},
            {"owner": "bob"},
            {"storage_location": "s3://somewhere/x"},
            {"view_definition": "SELECT 1"},
        ):
            answer = raw("admin", "POST", "/tables", json={**body, **more})
            assert answer.status_code == 400, (more, answer.text)

    def test_an_actor_for_somebody_sees_what_both_see(self, sdk, main, lake, raw):
        headers = {"Authorization": f"Bearer {lake.details['tokens']['agent']}", "X-Tracegate-On-Behalf-Of": "user:bob"}
        answer = requests.get(f"{lake.url}{BASE}/catalogs/{main}", headers=headers, timeout=30)
        assert answer.status_code in (403, 404)
        answer = requests.post(f"{lake.url}{BASE}/catalogs", json={"name": fresh()}, headers=headers, timeout=30)
        assert answer.status_code == 403


class TestPlaces:
    @pytest.fixture
    def location(self, sdk):
        """An external location in an object store."""
        name, bucket = fresh("loc"), fresh("bucket").replace("_", "-")
        made = sdk("admin").external_locations.create(name=name, url=f"s3://{bucket}/data", credential_name="role")
        yield made
        sdk("admin").external_locations.delete(name, force=True)

    def test_external_locations_are_made_listed_changed_and_ended(self, sdk, location):
        admin = sdk("admin")
        assert (location.owner, location.credential_name, location.read_only) == ("admin", "role", False)
        assert location.name in {one.name for one in admin.external_locations.list()}
        assert list(sdk("bob").external_locations.list()) == []
        with pytest.raises(NotFound):
            sdk("bob").external_locations.get(location.name)
        with pytest.raises(PermissionDenied):
            sdk("bob").external_locations.create(name=fresh(), url="s3://mine/x", credential_name="r")
        moved = admin.external_locations.update(location.name, url=location.url + "-moved", read_only=True, comment="c")
        assert (moved.url, moved.read_only, moved.comment) == (location.url + "-moved", True, "c")
        grant(admin, "external_location", location.name, "bob", "MANAGE")
        with pytest.raises(PermissionDenied):
            sdk("bob").external_locations.update(location.name, url="s3://elsewhere/x")

    def test_an_external_table_needs_both_privileges_and_a_place_of_its_own(self, sdk, main, location):
        admin, bob = sdk("admin"), sdk("bob")
        open_way(sdk, main, "bob")
        grant(admin, "schema", f"{main}.agents", "bob", "CREATE_TABLE", "CREATE_VOLUME")

        def external(client, name, place):
            return table(client, f"{main}.agents", name, table_type="EXTERNAL", storage_location=place)

        with pytest.raises(PermissionDenied):
            external(bob, "ext", f"{location.url}/t")
        grant(admin, "external_location", location.name, "bob", "CREATE_EXTERNAL_TABLE")
        assert external(bob, "ext", f"{location.url}/t/")["storage_location"] == f"{location.url}/t"
        taken = location.url.replace("s3://", "S3A://")
        for place in (f"{location.url}/t", f"{taken}/t/", f"{taken}/t/below", location.url):
            with pytest.raises(BadRequest, match="overlaps"):
                external(bob, "more", place)
        for place in (f"{location.url}/t/../u", f"{location.url}//t", f"{location.url}/%74", f"{location.url}/t?x", f"{location.url}/__unitystorage/x"):
            with pytest.raises(BadRequest, match="storage_location"):
                external(bob, "more", place)
        with pytest.raises(PermissionDenied):
            external(bob, "more", location.url + "2/t")
        with pytest.raises(PermissionDenied):
            bob.volumes.create(main, "agents", "ext", catalog.VolumeType.EXTERNAL, storage_location=f"{location.url}/v")
        grant(admin, "external_location", location.name, "bob", "CREATE_EXTERNAL_VOLUME")
        with pytest.raises(BadRequest, match="overlaps"):
            bob.volumes.create(main, "agents", "ext", catalog.VolumeType.EXTERNAL, storage_location=f"{location.url}/t/v")
        bob.volumes.create(main, "agents", "ext", catalog.VolumeType.EXTERNAL, storage_location=f"{location.url}/v")
        with pytest.raises(BadRequest):
            admin.external_locations.delete(location.name)
        with pytest.raises(BadRequest):
            admin.external_locations.update(location.name, url="s3://elsewhere/y")
        for inside in ("/t", "/t/deep", "", "/else"):
            with pytest.raises(BadRequest, match="overlaps"):
                admin.external_locations.create(name=fresh(), url=location.url + inside, credential_name="r")

    def test_managed_data_with_a_root_of_its_own_keeps_others_out(self, sdk, main, location):
        admin, bob, own = sdk("admin"), sdk("bob"), fresh("rooted")
        metastore = admin.metastores.summary().metastore_id
        grant(admin, "metastore", metastore, "bob", "CREATE_CATALOG")
        with pytest.raises(PermissionDenied):
            bob.catalogs.create(name=own, storage_root=f"{location.url}/base")
        grant(admin, "metastore", metastore, "bob", remove=["CREATE_CATALOG"])
        made = admin.catalogs.create(name=own, storage_root=f"{location.url}/base")
        assert made.storage_location.startswith(f"{location.url}/base/__unitystorage/catalogs/")
        admin.schemas.create(name="s", catalog_name=own)
        assert table(admin, f"{own}.s")["storage_location"].startswith(made.storage_location + "/tables/")
        with pytest.raises(BadRequest, match="overlaps"):
            table(admin, f"{own}.s", "ext", table_type="EXTERNAL", storage_location=f"{location.url}/base/x")
        admin.catalogs.delete(own, force=True)

    def test_this_machines_files_are_nobodys(self, sdk, lake):
        admin = sdk("admin")
        for url in ("file:///etc", "/", f"file://{lake.outside.parent}", f"{lake.outside.parent}/gate/data", f"{lake.outside}/../gate/data", f"{lake.outside.parent}/gate/data/lake/x"):
            with pytest.raises(BadRequest):
                admin.external_locations.create(name=fresh(), url=url, credential_name="r")
        name = fresh()
        assert admin.external_locations.create(name=name, url=f"{lake.outside}/a", credential_name="r").url == f"file://{lake.outside}/a"
        admin.external_locations.delete(name)


def test_every_change_is_on_the_record_with_before_and_after(sdk, main, lake):
    admin = sdk("admin")
    admin.catalogs.update(main, comment="for the record")
    grant(admin, "catalog", main, "bob", "USE_CATALOG")
    admin.catalogs.delete(main, force=True)
    changes = [
        event["policy_change"]
        for event in processes.audit_query(lake.url, lake.details["tokens"]["admin"])
        if event.get("policy_change")
    ]
    ours = [change for change in changes if main in str(change)]
    assert {"catalog.create", "catalog.update", "catalog.delete", "policy.apply"} <= {change["action"] for change in ours}
    update = next(change for change in ours if change["action"] == "catalog.update")
    assert update["before"]["object"]["comment"] == "for tests" and update["after"]["object"]["comment"] == "for the record"
    deletion = next(change for change in ours if change["action"] == "catalog.delete")
    assert any(one["privilege"] == "USE_CATALOG" for one in deletion["before"]["grants"])


def test_wrong_pages_and_types_are_named(raw, main):
    for path in ("/catalogs?max_results=-1", "/catalogs?max_results=x", f"/permissions/catalog/{main}?max_results=149", f"/permissions/experiment/{main}", f"/permissions/catalog/{main}?max_results=1"):
        answer = raw("admin", "GET", path)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), path
    assert raw("admin", "GET", f"/permissions/catalog/{main}?max_results=150").status_code == 200
    assert raw("admin", "GET", "/models").status_code == 404


def test_no_door_answers_without_a_caller(lake):
    for method, path in (("GET", "/catalogs"), ("GET", "/metastore_summary"), ("PATCH", "/permissions/catalog/x")):
        assert requests.request(method, lake.url + BASE + path, timeout=30).status_code == 401


def test_the_sdk_reads_every_error(sdk):
    with pytest.raises(DatabricksError) as caught:
        sdk("carol").catalogs.get("nowhere")
    assert caught.value.error_code == "CATALOG_DOES_NOT_EXIST"
    assert caught.value.get_error_details().error_info.reason == "CATALOG_DOES_NOT_EXIST"
