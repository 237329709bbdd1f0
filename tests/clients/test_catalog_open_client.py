"""The catalog through the unmodified open-source client of Unity Catalog, in an environment of its own."""

import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest

from harness import processes

WORKER = Path(__file__).parent / "harness" / "catalog_worker.py"


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    server = processes.start_demo(tmp_path_factory.mktemp("open-catalog"), None)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def as_caller(lake):
    """`as_caller(name)(api, call, **arguments)`: the status, and what came back."""
    python = os.environ.get("CATALOG_PYTHON")
    if not python:
        pytest.fail("CATALOG_PYTHON must name the Python of the catalog client's environment (make test sets it)")
    worker = subprocess.Popen([python, WORKER, lake.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def caller(name):
        def call(api, method, **arguments):
            request = {"token": lake.details["tokens"][name], "api": api, "call": method, "arguments": arguments}
            worker.stdin.write(json.dumps(request) + "\n")
            worker.stdin.flush()
            answer = json.loads(worker.stdout.readline())
            return answer["status"], answer.get("value", answer.get("body"))

        return call

    yield caller
    worker.stdin.close()
    worker.wait(timeout=20)


def model(kind, /, **fields):
    return {"model": kind, **fields}


def change(principal, add=(), remove=()):
    return model("UpdatePermissions", changes=[model("PermissionsChange", principal=principal, add=list(add), remove=list(remove))])


@pytest.fixture(scope="module")
def main(as_caller):
    name, admin = f"open_{uuid.uuid4().hex[:8]}", as_caller("admin")

    def made(api, call, **arguments):
        status, value = admin(api, call, **arguments)
        assert status == 200, value
        return value

    catalog = made("CatalogsApi", "create_catalog", create_catalog=model("CreateCatalog", name=name, comment="open", properties={"k": "v"}))
    assert (catalog["owner"], catalog["properties"]) == ("admin", {"k": "v"}) and uuid.UUID(catalog["id"])
    made("SchemasApi", "create_schema", create_schema=model("CreateSchema", name="s", catalog_name=name))
    column = model("ColumnInfo", name="a", type_text="int", type_json="{}", type_name="INT", position=0)
    table = made("TablesApi", "create_table", create_table=model(
        "CreateTable", name="t", catalog_name=name, schema_name="s", table_type="MANAGED", data_source_format="DELTA", columns=[column]))
    assert table["columns"][0]["type_name"] == "INT" and table["storage_location"].startswith("file://")
    made("VolumesApi", "create_volume", create_volume_request_content=model(
        "CreateVolumeRequestContent", name="v", catalog_name=name, schema_name="s", volume_type="MANAGED"))
    made("FunctionsApi", "create_function", create_function_request=model("CreateFunctionRequest", function_info=model(
        "CreateFunction", name="f", catalog_name=name, schema_name="s", data_type="INT", full_data_type="INT", routine_body="SQL",
        routine_definition="1", parameter_style="S", is_deterministic=True, sql_data_access="NO_SQL", is_null_call=False,
        security_type="DEFINER", specific_name="f", properties="{}",
        input_params=model("FunctionParameterInfos", parameters=[]))))
    return name


def test_objects_are_listed_read_changed_and_ended(as_caller, main):
    admin = as_caller("admin")
    for api, call, key, arguments in (
        ("CatalogsApi", "list_catalogs", "catalogs", {}),
        ("SchemasApi", "list_schemas", "schemas", {"catalog_name": main}),
        ("TablesApi", "list_tables", "tables", {"catalog_name": main, "schema_name": "s"}),
        ("VolumesApi", "list_volumes", "volumes", {"catalog_name": main, "schema_name": "s"}),
        ("FunctionsApi", "list_functions", "functions", {"catalog_name": main, "schema_name": "s"}),
    ):
        status, value = admin(api, call, **arguments)
        assert status == 200 and len(value[key]) >= 1, (call, value)
    status, value = admin("SchemasApi", "update_schema", full_name=f"{main}.s", update_schema=model("UpdateSchema", comment="c"))
    assert (status, value["comment"]) == (200, "c")
    status, value = admin("VolumesApi", "update_volume", name=f"{main}.s.v",
                          update_volume_request_content=model("UpdateVolumeRequestContent", new_name="w"))
    assert (status, value["full_name"]) == (200, f"{main}.s.w")
    assert admin("VolumesApi", "delete_volume", name=f"{main}.s.w")[0] == 200
    status, value = admin("MetastoresApi", "summary")
    assert status == 200 and uuid.UUID(value["metastore_id"])


def test_privileges_with_spaces_go_in_and_come_back(as_caller, main):
    admin, bob = as_caller("admin"), as_caller("bob")
    permissions = {"securable_type": "catalog", "full_name": main}
    assert bob("CatalogsApi", "get_catalog", name=main)[0] == 404
    status, value = admin("GrantsApi", "update", **permissions, update_permissions=change("bob", ["USE CATALOG"]))
    assert (status, value["privilege_assignments"]) == (200, [{"principal": "bob", "privileges": ["USE CATALOG"]}])
    assert bob("CatalogsApi", "get_catalog", name=main)[0] == 200
    assert bob("SchemasApi", "get_schema", full_name=f"{main}.s")[0] == 404
    status, value = bob("GrantsApi", "update", **permissions, update_permissions=change("bob", ["SELECT"]))
    assert (status, value["error_code"]) == (403, "PERMISSION_DENIED")
    admin("GrantsApi", "update", **permissions, update_permissions=change("bob", remove=["USE CATALOG"]))
    assert bob("CatalogsApi", "get_catalog", name=main)[0] == 404


def test_what_the_client_does_not_know_does_not_break_its_answers(as_caller, main, lake):
    import requests

    url = f"{lake.url}/api/2.1/unity-catalog/permissions/catalog/{main}"
    headers = {"Authorization": f"Bearer {lake.details['tokens']['admin']}"}
    body = {"changes": [{"principal": "carol", "add": ["MANAGE", "BROWSE", "ALL_PRIVILEGES", "WRITE_VOLUME", "SELECT"]}]}
    assert requests.patch(url, json=body, headers=headers, timeout=30).status_code == 200
    status, value = as_caller("admin")("GrantsApi", "get", securable_type="catalog", full_name=main)
    assert (status, value["privilege_assignments"]) == (200, [{"principal": "carol", "privileges": ["SELECT"]}])
    body = {"changes": [{"principal": "carol", "remove": ["MANAGE", "BROWSE", "ALL PRIVILEGES", "WRITE VOLUME", "SELECT"]}]}
    answer = requests.patch(url, json=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["privilege_assignments"]) == (200, [])


def test_lists_are_narrowed_and_hidden_is_missing(as_caller, main):
    carol = as_caller("carol")
    status, value = carol("CatalogsApi", "list_catalogs")
    assert status == 200 and main not in {one["name"] for one in value["catalogs"]}
    for name in (f"{main}.s.t", "nowhere.s.t"):
        status, value = carol("TablesApi", "get_table", full_name=name)
        assert (status, value["error_code"]) == (404, "TABLE_DOES_NOT_EXIST")
    status, value = carol("CatalogsApi", "create_catalog", create_catalog=model("CreateCatalog", name="mine"))
    assert (status, value["error_code"]) == (403, "PERMISSION_DENIED")
