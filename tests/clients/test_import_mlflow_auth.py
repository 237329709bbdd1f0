"""`tracegate import mlflow-auth`: accounts of a real server with basic-auth, and what their owners can do afterwards."""

import json
import os
import sqlite3
import subprocess

import pytest

from harness import processes
from test_mlflow_auth import ADMIN, As, PASSWORD, admin_of, reads, writes

USERS = ["ann", "bob", "cas", "dan"]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A server with users, roles and grants, and the traffic that made them."""
    directory = tmp_path_factory.mktemp("basic-auth")
    ini = directory / "basic_auth.ini"
    ini.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{directory}/basic_auth.db\nadmin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    server = processes.start_mlflow(
        directory,
        arguments=["--app-name", "basic-auth"],
        environment={
            "MLFLOW_AUTH_CONFIG_PATH": str(ini),
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key for tests",
        },
    )
    admin = admin_of(server)
    for name in USERS:
        admin.create_user(name, f"{PASSWORD} of {name}")
    experiments = [admin.tracking(lambda client, name=name: client.create_experiment(name)) for name in ("one", "two", "three")]
    one, two, three = experiments
    admin.grant_user_permission("ann", "experiment", one, "MANAGE")
    admin.grant_user_permission("bob", "experiment", one, "READ")
    admin.grant_user_permission("bob", "experiment", two, "EDIT")
    admin.grant_user_permission("bob", "gateway_endpoint", "*", "USE")
    readers = admin.create_role("default", "readers", "who reads everything")
    admin.add_role_permission(readers.id, "experiment", "*", "READ")
    admin.assign_role("cas", readers.id)
    admin.assign_role("ann", readers.id)
    # A name that means something at Tracegate, and a denial.
    named = admin.create_role("default", "admins")
    admin.add_role_permission(named.id, "experiment", three, "EDIT")
    admin.assign_role("bob", named.id)
    shut = admin.create_role("default", "shut out")
    admin.add_role_permission(shut.id, "experiment", three, "DENY")
    admin.assign_role("cas", shut.id)
    server.details = {"database": str(directory / "basic_auth.db"), "experiments": experiments}
    yield server
    server.stop()


@pytest.fixture(scope="module")
def plain(real, tmp_path_factory):
    """The same experiments without accounts, for Tracegate to stand before."""
    directory = tmp_path_factory.mktemp("plain")
    server = processes.start_mlflow(directory)
    import requests

    made = []
    for name in ("one", "two", "three"):
        url = f"{server.url}/api/2.0/mlflow/experiments/create"
        made.append(requests.post(url, json={"name": name}, timeout=60).json()["experiment_id"])
    assert made == real.details["experiments"]
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(plain, tmp_path_factory):
    server = processes.start_demo(tmp_path_factory.mktemp("gate"), plain.url, TRACEGATE__IDENTITY__PASSWORDS="true")
    yield server
    server.stop()


def imported(gateway, *arguments, who="admin", code=0):
    environment = processes.clean_environment(TRACEGATE_URL=gateway.url, TRACEGATE_TOKEN=gateway.details["tokens"][who])
    done = subprocess.run(
        [processes.tracegate_binary(), "import", "mlflow-auth", *arguments],
        env=environment, capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done


def policy(gateway):
    answer = admin_of(gateway).send("GET", "/api/tracegate/v1/policy").json()
    return answer["policy_version"], answer["grants"], answer["memberships"]


def test_accounts_come_over_with_a_plan_first_and_can_do_what_they_could(real, gateway):
    source = f"sqlite:///{real.details['database']}"
    before = policy(gateway)
    accounts_before = sorted(u["username"] for u in admin_of(gateway).send("GET", "/api/2.0/mlflow/users/list").json()["users"])
    file_before = open(real.details["database"], "rb").read()
    text = imported(gateway, "--database", source).stdout
    assert "nothing was changed" in text and "mlflow-admins" in text and "gateway_endpoint" in text
    plan = json.loads(imported(gateway, "--database", source, "--json").stdout)
    assert plan["applied"] is None and plan["wider"] == []
    assert any("default_permission" in line for line in plan["notes"])
    assert any("gateway_endpoint" in line for line in plan["not_carried"])
    assert "scrypt" not in json.dumps(plan) and "scrypt" not in text
    assert policy(gateway) == before
    assert sorted(u["username"] for u in admin_of(gateway).send("GET", "/api/2.0/mlflow/users/list").json()["users"]) == accounts_before
    # Somebody who may not is refused, and nothing is half done.
    imported(gateway, "--database", source, "--apply", "--with-passwords", who="alice", code=1)
    assert policy(gateway) == before

    done = json.loads(imported(gateway, "--database", real.details["database"], "--apply", "--with-passwords", "--json").stdout)
    assert sorted(done["applied"]["passwords_set"]) == ["admin", *USERS]
    # Each may do what it could, with its old password.
    for name in USERS:
        there, here = (As(server.url, name, f"{PASSWORD} of {name}") for server in (real, gateway))
        for experiment in real.details["experiments"]:
            for ask in (reads, writes):
                mine, theirs = ask(here, experiment), ask(there, experiment)
                assert (mine == 200) == (theirs == 200), f"{name} {ask.__name__} {experiment}: {mine}, {theirs}"
        listed = {user["username"]: user for user in admin_of(gateway).send("GET", "/api/2.0/mlflow/users/list").json()["users"]}
        assert not listed[name]["is_admin"], name
        # A wrong one is as wrong as it was.
        wrong = As(gateway.url, name, f"{PASSWORD} of somebody else")
        assert reads(wrong, real.details["experiments"][0]) == 401
    chief = As(gateway.url, "admin", ADMIN)
    assert chief.get_user("bob").username == "bob"

    # Again: nothing changes, and a password that was changed here stays.
    admin_of(gateway).update_user_password("ann", "a new password of ann")
    settled = policy(gateway)
    again = json.loads(imported(gateway, "--database", source, "--apply", "--with-passwords", "--json").stdout)
    assert again["applied"]["passwords_set"] == [] and again["new_grants"] == [] and again["new_memberships"] == []
    assert policy(gateway) == settled
    assert reads(As(gateway.url, "ann", "a new password of ann"), real.details["experiments"][0]) == 200
    assert open(real.details["database"], "rb").read() == file_before

    # Half of it taken away: the rest is brought again, and only that.
    role = next(one for one in admin_of(gateway).list_roles("default") if one.name == "readers")
    admin_of(gateway).unassign_role("cas", role.id)
    resumed = json.loads(imported(gateway, "--database", source, "--apply", "--json").stdout)
    assert resumed["new_memberships"] == [{"group": "group:readers", "member": "user:cas"}]
    assert resumed["new_grants"] == []


def test_a_denial_that_has_no_word_here_stops_the_import(gateway, tmp_path, real):
    copy = tmp_path / "copy.db"
    copy.write_bytes(open(real.details["database"], "rb").read())
    database = sqlite3.connect(copy)
    role = database.execute("SELECT id FROM roles WHERE name = 'readers'").fetchone()[0]
    database.execute(
        "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission) VALUES (?, 'mcp_server', '*', 'DENY')",
        (role,),
    )
    database.commit()
    database.close()
    before = policy(gateway)
    refused = imported(gateway, "--database", str(copy), "--apply", code=1)
    assert "nothing was applied" in refused.stderr and "mcp_server" in refused.stdout
    assert policy(gateway) == before


def test_the_older_schema_and_the_default_permission(gateway, tmp_path, real):
    older = tmp_path / "older.db"
    database = sqlite3.connect(older)
    database.executescript(
        """
        CREATE TABLE users (id INTEGER PRIMARY KEY, username VARCHAR(255), password_hash VARCHAR(255), is_admin BOOLEAN);
        CREATE TABLE experiment_permissions (id INTEGER PRIMARY KEY, experiment_id VARCHAR(255), user_id INTEGER, permission VARCHAR(255));
        CREATE TABLE registered_model_permissions (id INTEGER PRIMARY KEY, name VARCHAR(255), user_id INTEGER, permission VARCHAR(255));
        CREATE TABLE scorer_permissions (id INTEGER PRIMARY KEY, experiment_id INTEGER, scorer_name VARCHAR(255), user_id INTEGER, permission VARCHAR(255));
        INSERT INTO users VALUES (1, 'old-ann', 'pbkdf2:sha256:1000$salt$00', 0), (2, 'old-root', 'x', 1);
        INSERT INTO experiment_permissions VALUES (1, '1', 1, 'EDIT'), (2, '2', 1, 'NO_PERMISSIONS');
        INSERT INTO registered_model_permissions VALUES (1, 'churn', 1, 'MANAGE');
        INSERT INTO scorer_permissions VALUES (1, 1, 's', 1, 'READ');
        """
    )
    database.close()

    def grants(*more):
        plan = json.loads(imported(gateway, "--database", str(older), "--json", *more).stdout)
        told = {(g["effect"], g["principal"], g["privilege"], g["securable"]) for g in plan["new_grants"]}
        return plan, told

    plan, told = grants()
    assert told == {
        ("allow", "user:old-ann", "CAN_EDIT", "experiment:1"),
        ("allow", "user:old-ann", "CAN_MANAGE", "registered_model:churn"),
    }
    assert {"group": "group:admins", "member": "user:old-root"} in plan["new_memberships"]
    assert any("scorer_permissions" in line for line in plan["not_carried"])
    assert any("password of `old-ann`" in line for line in plan["not_carried"])
    _, told = grants("--default-permission", "READ")
    assert ("deny", "user:old-ann", "ALL", "experiment:2") in told
    assert ("allow", "group:users", "CAN_READ", "workspace:default") in told


def test_what_is_no_such_database_is_said_and_left_alone(gateway, tmp_path):
    missing = tmp_path / "missing.db"
    assert "no file" in imported(gateway, "--database", str(missing), code=1).stderr
    assert not missing.exists()
    empty = tmp_path / "empty.db"
    sqlite3.connect(empty).close()
    empty.touch()
    assert "no basic-auth database" in imported(gateway, "--database", str(empty), code=1).stderr
    url = "mysql://root:hunter2@127.0.0.1/auth"
    assert "hunter2" not in imported(gateway, "--database", url, code=1).stderr
    unreachable = "postgresql://root:hunter2@127.0.0.1:1/auth"
    assert "hunter2" not in imported(gateway, "--database", unreachable, code=1).stderr


def test_a_database_in_postgresql_is_read_alike(gateway, real, postgres_server):
    psql = ["psql", "-v", "ON_ERROR_STOP=1", "-q", "-d", postgres_server.details["url"]]
    database = sqlite3.connect(real.details["database"])
    statements = [
        "CREATE SCHEMA IF NOT EXISTS public",
        "CREATE TABLE users (id SERIAL PRIMARY KEY, username VARCHAR(255), password_hash VARCHAR(255), is_admin BOOLEAN)",
        "CREATE TABLE roles (id SERIAL PRIMARY KEY, name VARCHAR(255), workspace VARCHAR(63), description VARCHAR(1024))",
        "CREATE TABLE role_permissions (id SERIAL PRIMARY KEY, role_id INTEGER, resource_type VARCHAR(64), resource_pattern VARCHAR(255), permission VARCHAR(255))",
        "CREATE TABLE user_role_assignments (id SERIAL PRIMARY KEY, user_id INTEGER, role_id INTEGER)",
    ]

    def literal(value):
        return "NULL" if value is None else str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"

    for table in ("users", "roles", "role_permissions", "user_role_assignments"):
        for row in database.execute(f"SELECT * FROM {table}"):
            values = [literal(value) for value in row]
            if table == "users":
                values[3] = "true" if row[3] else "false"
            statements.append(f"INSERT INTO {table} VALUES ({', '.join(values)})")
    subprocess.run([*psql, "-c", "; ".join(statements)], check=True, timeout=60)
    url = postgres_server.details["url"].replace("postgres://", "postgresql+psycopg2://").replace("postgresql://", "postgresql+psycopg2://")
    ours = json.loads(imported(gateway, "--database", url, "--json").stdout)
    theirs = json.loads(imported(gateway, "--database", real.details["database"], "--json").stdout)
    assert ours == theirs
