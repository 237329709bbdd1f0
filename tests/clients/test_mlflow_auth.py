"""MLflow's own auth client against Tracegate, beside a real server with basic-auth that answers the same calls."""

import json
import os
import sqlite3
import subprocess
from contextlib import contextmanager

import pytest
import requests

from harness import processes

PASSWORD = "correct horse, bättery"
OTHER = "another twelve letters"
ADMIN = "an administrator's password"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """`mlflow server --app-name basic-auth`, where nobody has anything by default."""
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
    server.details = {"database": f"{directory}/basic_auth.db"}
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["embedded", "upstream"])
def gateway(request, tmp_path_factory):
    upstream = request.getfixturevalue("mlflow_server").url if request.param == "upstream" else None
    server = processes.start_demo(tmp_path_factory.mktemp("gate"), upstream, TRACEGATE__IDENTITY__PASSWORDS="true")
    yield server
    server.stop()


@contextmanager
def signed_in(name, secret):
    """What the clients send is in the environment of this process."""
    kept = {key: os.environ.get(key) for key in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")}
    os.environ.update(MLFLOW_TRACKING_USERNAME=name, MLFLOW_TRACKING_PASSWORD=secret)
    try:
        yield
    finally:
        for key, value in kept.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})


class As:
    """MLflow's auth client, and its tracking client, as one caller."""

    def __init__(self, url, name, secret):
        from mlflow.server.auth.client import AuthServiceClient

        self.url, self.name, self.secret = url, name, secret
        self.client = AuthServiceClient(url)

    def __getattr__(self, method):
        def call(*arguments, **named):
            with signed_in(self.name, self.secret):
                return getattr(self.client, method)(*arguments, **named)

        return call

    def code(self, method, *arguments, **named):
        """The error code of what the client raises; `None` if it raises nothing."""
        from mlflow.exceptions import MlflowException

        try:
            getattr(self, method)(*arguments, **named)
        except MlflowException as error:
            return error.error_code
        return None

    def send(self, method, path, **more):
        return requests.request(
            method, self.url + path, auth=(self.name.encode(), self.secret.encode()), timeout=60, **more
        )

    def tracking(self, work):
        import mlflow

        with signed_in(self.name, self.secret):
            return work(mlflow.MlflowClient(self.url))


def admin_of(server):
    """The administrator, by a token at Tracegate and by a password at MLflow."""
    if "tokens" in server.details:
        return As(server.url, "admin", server.details["tokens"]["admin"])
    return As(server.url, "admin", ADMIN)


def caller(server, name):
    return As(server.url, name, server.details["tokens"][name])


def new_user(server, name, password=PASSWORD):
    admin_of(server).create_user(name, password)
    return As(server.url, name, password)


def reads(who, experiment):
    return who.send("GET", "/api/2.0/mlflow/experiments/get", params={"experiment_id": experiment}).status_code


def writes(who, experiment):
    body = {"experiment_id": experiment, "key": "k", "value": "v"}
    return who.send("POST", "/api/2.0/mlflow/experiments/set-experiment-tag", json=body).status_code


def new_experiment(server, name):
    return admin_of(server).tracking(lambda client: client.create_experiment(name))


# ------------------------------------------------------------------ every method


def walk(server, tag):
    """Every method of the client, and what it answers, without numbers."""
    admin = admin_of(server)
    seen = []

    def note(what, value):
        seen.append((what, value))

    def permissions(entries):
        return sorted((p.resource_type, p.resource_pattern, p.permission) for p in entries)

    ann, bob = f"ann-{tag}", f"bob-{tag}"
    user = admin.create_user(ann, PASSWORD)
    note("created", (user.username == ann, user.is_admin, isinstance(user.id, int)))
    note("created twice", admin.code("create_user", ann, PASSWORD))
    note("too short", admin.code("create_user", bob, "eleven char"))
    admin.create_user(bob, PASSWORD)
    note("got", admin.get_user(ann).id == user.id)
    note("got nobody", admin.code("get_user", f"nobody-{tag}"))
    as_ann = As(server.url, ann, PASSWORD)
    note("ann sees bob", as_ann.code("get_user", bob))
    note("ann sees nobody", as_ann.code("get_user", f"nobody-{tag}"))
    note("ann sees ann", as_ann.get_user(ann).is_admin)
    experiment = new_experiment(server, f"walk-{tag}")
    note("ann reads", reads(as_ann, experiment))
    for permission in ("READ", "USE", "EDIT", "MANAGE", "DENY"):
        admin.grant_user_permission(ann, "experiment", experiment, permission)
        got = admin.get_user_permission(ann, "experiment", experiment)
        note(permission, (got.permission, got.allowed, reads(as_ann, experiment), writes(as_ann, experiment)))
        note("again", admin.code("grant_user_permission", ann, "experiment", experiment, "READ"))
        admin.revoke_user_permission(ann, "experiment", experiment)
        note("revoked", (reads(as_ann, experiment), admin.code("revoke_user_permission", ann, "experiment", experiment)))
    note("none", admin.get_user_permission(ann, "experiment", experiment).permission)
    note("bad permission", admin.code("grant_user_permission", ann, "experiment", experiment, "FLY"))
    note("bad type", admin.code("grant_user_permission", ann, "spaceship", "1", "READ"))
    note("workspace", admin.code("grant_user_permission", ann, "workspace", "*", "USE"))
    note("to nobody", admin.code("grant_user_permission", f"nobody-{tag}", "experiment", experiment, "READ"))
    note("ann grants", as_ann.code("grant_user_permission", bob, "experiment", experiment, "READ"))
    admin.grant_user_permission(ann, "experiment", experiment, "MANAGE")
    as_ann.grant_user_permission(bob, "experiment", experiment, "READ")
    note("delegated", (reads(As(server.url, bob, PASSWORD), experiment), as_ann.get_user_permission(ann, "experiment", experiment).permission))
    as_ann.revoke_user_permission(bob, "experiment", experiment)
    admin.revoke_user_permission(ann, "experiment", experiment)
    # Roles.
    role = admin.create_role("default", f"readers-{tag}", "who reads")
    note("role", (role.name == f"readers-{tag}", role.workspace, role.description, role.permissions))
    note("role twice", admin.code("create_role", "default", f"readers-{tag}"))
    note("reserved", admin.code("create_role", "default", "__user_7__"))
    note("role got", admin.get_role(role.id).name == role.name)
    note("no role", admin.code("get_role", 987654))
    note("ann makes roles", as_ann.code("create_role", "default", "x"))
    note("ann sees the role", as_ann.code("get_role", role.id))
    note("ann sees no role", as_ann.code("get_role", 987654))
    permission = admin.add_role_permission(role.id, "experiment", experiment, "READ")
    note("added", (permission.role_id == role.id, permission.resource_type, permission.resource_pattern == experiment, permission.permission))
    note("added twice", admin.code("add_role_permission", role.id, "experiment", experiment, "EDIT"))
    note("bad id", admin.code("add_role_permission", role.id, "workspace", "7", "USE"))
    note("bad level", admin.code("add_role_permission", role.id, "workspace", "*", "READ"))
    note("to no role", admin.code("add_role_permission", 987654, "experiment", experiment, "READ"))
    assigned = admin.assign_role(ann, role.id)
    note("assigned", (assigned.role_id == role.id, assigned.user_id == user.id))
    note("assigned twice", admin.code("assign_role", ann, role.id))
    note("by the role", (reads(as_ann, experiment), writes(as_ann, experiment)))
    note("ann sees her role", as_ann.get_role(role.id).name == role.name)
    note("her roles", f"readers-{tag}" in [one.name for one in as_ann.list_user_roles(ann)])
    note("bob sees her roles", As(server.url, bob, PASSWORD).code("list_user_roles", ann))
    note("its users", [one.user_id == user.id for one in admin.list_role_users(role.id)])
    permission = admin.update_role_permission(permission.id, "EDIT")
    note("updated", (permission.permission, writes(as_ann, experiment)))
    wide = admin.add_role_permission(role.id, "experiment", "*", "READ")
    note("wide", (wide.resource_pattern, permissions(admin.list_role_permissions(role.id)) == sorted([("experiment", "*", "READ"), ("experiment", experiment, "EDIT")])))
    other = new_experiment(server, f"walk-other-{tag}")
    note("reads all", (reads(as_ann, other), writes(as_ann, other)))
    admin.remove_role_permission(wide.id)
    note("reads no more", reads(as_ann, other))
    note("removed twice", admin.code("remove_role_permission", wide.id))
    member = admin.add_role_permission(role.id, "workspace", "*", "USE")
    note("member", member.permission)
    renamed = admin.update_role(role.id, name=f"writers-{tag}", description="who writes")
    note("renamed", (renamed.id == role.id, renamed.name == f"writers-{tag}", renamed.description, len(renamed.permissions)))
    note("still by the role", writes(as_ann, experiment))
    note("listed", [one.id == role.id for one in admin.list_roles("default") if one.name == f"writers-{tag}"])
    note("all listed", [one.id == role.id for one in admin.list_all_roles() if one.name == f"writers-{tag}"])
    note("bob lists all", As(server.url, bob, PASSWORD).code("list_all_roles"))
    admin.unassign_role(ann, role.id)
    note("unassigned", (reads(as_ann, experiment), admin.code("unassign_role", ann, role.id)))
    admin.assign_role(ann, role.id)
    admin.delete_role(role.id)
    note("deleted", (reads(as_ann, experiment), admin.code("get_role", role.id), admin.code("delete_role", role.id)))
    # Passwords and administrators.
    note("without the old one", as_ann.code("update_user_password", ann, OTHER))
    note("with a wrong old one", as_ann.code("update_user_password", ann, OTHER, "not it at all"))
    note("the same again", as_ann.code("update_user_password", ann, PASSWORD, PASSWORD))
    note("bob's", as_ann.code("update_user_password", bob, OTHER))
    as_ann.update_user_password(ann, OTHER, PASSWORD)
    note("old one", reads(as_ann, experiment))
    as_ann = As(server.url, ann, OTHER)
    note("new one", as_ann.get_user(ann).username == ann)
    admin.update_user_password(bob, OTHER)
    note("ann makes herself", as_ann.code("update_user_admin", ann, True))
    admin.update_user_admin(ann, True)
    note("ann is", (as_ann.get_user(bob).username == bob, admin.get_user(ann).is_admin, reads(as_ann, experiment)))
    admin.update_user_admin(ann, False)
    note("ann is not", (as_ann.code("get_user", bob), admin.get_user(ann).is_admin))
    note("admin of nobody", admin.code("update_user_admin", f"nobody-{tag}", True))
    note("deletes herself", admin.code("delete_user", "admin"))
    note("ann deletes", as_ann.code("delete_user", bob))
    admin.delete_user(bob)
    note("bob", (admin.code("get_user", bob), admin.code("delete_user", bob), reads(As(server.url, bob, OTHER), experiment)))
    return seen


@pytest.fixture(scope="module")
def as_mlflow_does(real):
    return walk(real, "real")


# What Tracegate means to answer otherwise: MLflow shows every role to whoever was ever granted anything.
OTHERWISE = {"ann sees the role": (None, "PERMISSION_DENIED")}


def test_every_method_answers_as_mlflows_server_does(gateway, as_mlflow_does):
    ours = walk(gateway, f"walk{os.urandom(3).hex()}")
    assert [what for what, _ in ours] == [what for what, _ in as_mlflow_does]
    different = {what: (theirs, mine) for (what, theirs), (_, mine) in zip(as_mlflow_does, ours) if theirs != mine}
    assert different == OTHERWISE


def shape(value):
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value[:1]]
    return type(value).__name__


def by_role(entries, name):
    return [one for one in entries if name in (one.get("name"), one.get("role_name"))]


def raw_shapes(server, tag):
    """The answers that no method of the client asks for: MLflow's pages do."""
    admin = admin_of(server)
    name = f"raw-{tag}"
    user = new_user(server, name)
    role = admin.create_role("default", f"raw-role-{tag}", "d")
    experiment = new_experiment(server, f"raw-{tag}")
    admin.assign_role(name, role.id)
    admin.add_role_permission(role.id, "experiment", experiment, "READ")
    admin.grant_user_permission(name, "experiment", experiment, "EDIT")
    shapes = {}
    for prefix in ("/api", "/ajax-api"):
        for path, params in [
            ("2.0/mlflow/users/current", {}),
            ("3.0/mlflow/users/current/permissions", {}),
            ("3.0/mlflow/users/permissions/list", {"username": name}),
            ("3.0/mlflow/users/roles/list", {"username": name}),
            ("3.0/mlflow/users/permissions/get", {"username": name, "resource_type": "experiment", "resource_id": experiment}),
        ]:
            answer = user.send("GET", f"{prefix}/{path}", params=params)
            told = answer.json()
            # Everybody has the role `users` at Tracegate.
            told.update({key: by_role(told[key], role.name) for key in ("roles", "permissions") if key in told})
            shapes[prefix, path] = (answer.status_code, shape(told))
    listed = admin.send("GET", "/api/2.0/mlflow/users/list").json()["users"]
    entry = next(one for one in listed if one["username"] == name)
    # Who has been granted something directly has a role of its own.
    direct = [one for one in entry["roles"] if one["name"] == f"__user_{entry['id']}__"]
    entry["roles"] = by_role(entry["roles"], role.name)
    shapes["list"] = (shape(entry), [shape(one) for one in direct], direct[0]["permissions"][0]["permission"])
    own = user.send("GET", "/api/3.0/mlflow/users/current/permissions").json()
    rows = {(r["role_name"], r["resource_type"], r["resource_pattern"], r["permission"]) for r in own["permissions"]}
    shapes["rows"] = (
        (f"raw-role-{tag}", "experiment", experiment, "READ") in rows,
        (f"__user_{entry['id']}__", "experiment", experiment, "EDIT") in rows,
    )
    for what, path, method, body in [
        ("missing", "/api/2.0/mlflow/users/create", "POST", {"username": "x"}),
        ("empty", "/api/2.0/mlflow/users/create", "POST", {"username": "", "password": ""}),
        ("not a number", "/api/3.0/mlflow/roles/update", "PATCH", {"role_id": "x", "name": "y"}),
        ("nothing to change", "/api/3.0/mlflow/roles/update", "PATCH", {"role_id": role.id}),
    ]:
        shapes[what] = admin.send(method, path, json=body).status_code
    # A DELETE may say it in its query.
    shapes["deleted by query"] = admin.send("DELETE", "/api/2.0/mlflow/users/delete", params={"username": name}).status_code
    return shapes


def test_answers_that_pages_ask_for_have_mlflows_shape(gateway, real):
    theirs = raw_shapes(real, f"r{os.urandom(3).hex()}")
    ours = raw_shapes(gateway, f"g{os.urandom(3).hex()}")
    assert {what for what in theirs if theirs[what] != ours[what]} == set()


# ------------------------------------------------------------------ ways round it


def make(gateway, name, *privileges):
    """A user whom administrators gave single privileges on the workspace."""
    user = new_user(gateway, name)
    for privilege in privileges:
        body = {"principal": f"user:{name}", "securable": "workspace:default", "privilege": privilege}
        answer = admin_of(gateway).send("POST", "/api/tracegate/v1/grants", json=body)
        assert answer.status_code == 200, answer.text
    return user


def unique(name):
    return f"{name}-{os.urandom(3).hex()}"


def is_admin(gateway, name):
    return admin_of(gateway).get_user(name).is_admin


def test_who_manages_identities_becomes_no_administrator(gateway):
    helper_name, chief = unique("helper"), unique("chief")
    helper = make(gateway, helper_name, "identity.manage")
    new_user(gateway, chief)
    admin = admin_of(gateway)
    admin.update_user_admin(chief, True)
    assert helper.code("update_user_admin", helper_name, True) == "PERMISSION_DENIED"
    assert helper.code("update_user_admin", chief, False) == "PERMISSION_DENIED"
    assert helper.code("update_user_password", chief, OTHER) == "PERMISSION_DENIED"
    assert helper.code("delete_user", chief) == "PERMISSION_DENIED"
    # A role within `admins` makes administrators of its users.
    role = admin.create_role("default", unique("ops"))
    path = f"/api/tracegate/v1/groups/group:admins/members/group:{role.name}"
    assert admin.send("PUT", path).status_code == 200
    for method, arguments in [
        ("assign_role", (helper_name, role.id)),
        ("unassign_role", (chief, role.id)),
        ("update_role", (role.id, "other")),
        ("delete_role", (role.id,)),
    ]:
        assert helper.code(method, *arguments) == "PERMISSION_DENIED", method
    # `admins` itself is no role, by none of the numbers there are.
    for number in range(1, 60):
        with signed_in("admin", admin.secret):
            answer = admin.send("GET", "/api/3.0/mlflow/roles/get", params={"role_id": number})
        assert answer.status_code == 404 or answer.json()["role"]["name"] != "admins"
    assert not is_admin(gateway, helper_name) and is_admin(gateway, chief)
    # What is not an administrator's it may do.
    plain = unique("plain")
    helper.create_user(plain, PASSWORD)
    helper.update_user_password(plain, OTHER)
    helper.delete_user(plain)
    # But grant it may not: that takes managing what is granted on.
    experiment = gateway.details["experiments"]["secret-lab"]
    mine = helper.create_role("default", unique("mine"))
    helper.assign_role(helper_name, mine.id)
    for resource, pattern in [("experiment", str(experiment)), ("experiment", "*"), ("workspace", "*")]:
        level = "MANAGE"
        assert helper.code("add_role_permission", mine.id, resource, pattern, level) == "PERMISSION_DENIED"
    assert helper.code("grant_user_permission", helper_name, "experiment", str(experiment), "READ") == "PERMISSION_DENIED"
    assert reads(helper, experiment) in (403, 404)


def test_the_last_administrator_stays(gateway):
    admin = admin_of(gateway)
    second_name = unique("second")
    second = new_user(gateway, second_name)
    admin.update_user_admin(second_name, True)
    # A password alone does not count: passwords can be turned off, and the way back must stay.
    made = requests.post(
        f"{gateway.url}/api/tracegate/v1/tokens", json={"principal": f"user:{second_name}"}, timeout=20,
        headers={"Authorization": f"Bearer {gateway.details['tokens']['admin']}"},
    )
    assert made.status_code == 200, made.text
    others = [u["username"] for u in admin.send("GET", "/api/2.0/mlflow/users/list").json()["users"] if u["is_admin"]]
    # All but one go, whoever they are; then the last one must stay, by either way.
    for name in others:
        if name != second_name:
            second.update_user_admin(name, False)
    try:
        assert second.code("update_user_admin", second_name, False) == "INVALID_PARAMETER_VALUE"
        assert second.code("delete_user", second_name) == "BAD_REQUEST"
        assert second.get_user(second_name).is_admin
    finally:
        for name in others:
            second.update_user_admin(name, True)


def test_a_manager_of_one_experiment_grants_there_and_nowhere_else(gateway):
    alice = caller(gateway, "alice")
    support, secret = (str(gateway.details["experiments"][name]) for name in ("support-bot", "secret-lab"))
    alice.grant_user_permission("carol", "experiment", support, "READ")
    assert reads(caller(gateway, "carol"), support) == 200
    alice.revoke_user_permission("carol", "experiment", support)
    assert reads(caller(gateway, "carol"), support) != 200
    for resource, pattern in [
        ("experiment", secret), ("experiment", "*"), ("registered_model", "x"), ("prompt", "x"), ("experiment", "999999"),
    ]:
        # A resource that is not there, a foreign one and a user who is not there all sound the same.
        for user in ("carol", "nobody-at-all"):
            assert alice.code("grant_user_permission", user, resource, pattern, "READ") == "PERMISSION_DENIED"
            assert alice.code("revoke_user_permission", user, resource, pattern) == "PERMISSION_DENIED"
    # Not through a role either: roles are not hers to change, though she manages the experiment.
    role = admin_of(gateway).create_role("default", unique("everybody"))
    assert alice.code("add_role_permission", role.id, "experiment", support, "READ") == "PERMISSION_DENIED"
    row = admin_of(gateway).add_role_permission(role.id, "experiment", support, "READ")
    assert alice.code("remove_role_permission", row.id) == "PERMISSION_DENIED"
    assert alice.code("update_role_permission", row.id, "MANAGE") == "PERMISSION_DENIED"
    assert alice.code("remove_role_permission", 10**15) == "PERMISSION_DENIED"
    admin_of(gateway).delete_role(role.id)


def test_nobody_learns_who_else_there_is(gateway):
    carol = caller(gateway, "carol")
    listed = carol.send("GET", "/api/2.0/mlflow/users/list").json()["users"]
    assert [one["username"] for one in listed] == ["carol"]
    for path, params in [
        ("2.0/mlflow/users/get", {"username": "alice"}),
        ("2.0/mlflow/users/get", {"username": "nobody-at-all"}),
        ("3.0/mlflow/users/permissions/list", {"username": "alice"}),
        ("3.0/mlflow/users/permissions/list", {"username": "nobody-at-all"}),
        ("3.0/mlflow/users/roles/list", {"username": "alice"}),
        ("3.0/mlflow/roles/list", {}),
        ("3.0/mlflow/roles/get", {"role_id": 987654}),
        ("3.0/mlflow/roles/users/list", {"role_id": 987654}),
        ("3.0/mlflow/users/permissions/get", {"username": "alice", "resource_type": "experiment", "resource_id": "1"}),
    ]:
        for prefix in ("/api", "/ajax-api"):
            answer = carol.send("GET", f"{prefix}/{path}", params=params)
            assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED"), path
    role = admin_of(gateway).create_role("default", unique("hidden"))
    assert carol.send("GET", "/api/3.0/mlflow/roles/get", params={"role_id": role.id}).status_code == 403
    names = [one["name"] for one in carol.send("GET", "/api/3.0/mlflow/roles/list?workspace=default").json()["roles"]]
    assert role.name not in names
    admin_of(gateway).delete_role(role.id)


def test_other_spellings_and_places_say_nothing(gateway):
    admin = admin_of(gateway)
    name = unique("spelled")
    new_user(gateway, name)
    base = "/api/2.0/mlflow/users"
    # A body and a query that name different users; twice the same parameter; another type; camelCase.
    both = admin.send("DELETE", f"{base}/delete", params={"username": name}, json={"username": "carol"})
    assert both.status_code == 400
    assert admin.send("DELETE", f"{base}/delete?username={name}&username=carol").status_code == 400
    twice = admin.send("DELETE", f"{base}/delete", data='{"username": "carol", "username": "dave"}', headers={"content-type": "application/json"})
    assert twice.status_code == 400
    assert admin.send("PATCH", f"{base}/update-admin", json={"username": name, "is_admin": "false"}).status_code == 400
    assert admin.send("PATCH", f"{base}/update-admin", json={"username": name, "isAdmin": True}).status_code == 400
    assert admin.send("PATCH", f"{base}/update-admin", json={"username": [name], "is_admin": True}).status_code == 400
    # In a POST and a PATCH the query says nothing.
    assert admin.send("PATCH", f"{base}/update-admin?username={name}", json={"is_admin": True}).status_code == 400
    assert not is_admin(gateway, name)
    assert admin.get_user("carol").username == "carol"
    other = {"x-mlflow-workspace": "lab"}
    assert admin.send("GET", f"{base}/list", headers=other).status_code == 400
    # Nobody signs up by himself.
    for path in ("/signup", "/api/2.0/mlflow/users/create-ui"):
        for who in (admin, caller(gateway, "carol")):
            answer = who.send("POST" if "create" in path else "GET", path)
            assert answer.status_code in (403, 404), path


def test_resources_that_are_nothing_here_are_refused_with_the_reason(gateway):
    admin = admin_of(gateway)
    name = unique("odd")
    new_user(gateway, name)
    for kind, pattern in [
        ("gateway_endpoint", "e"), ("gateway_secret", "*"), ("mcp_server", "m"), ("scorer", "1/x"), ("trace", "*"),
        ("registered_model", "*"), ("prompt", "*"),
    ]:
        body = {"username": name, "resource_type": kind, "resource_id": pattern, "permission": "READ"}
        answer = admin.send("POST", "/api/3.0/mlflow/users/permissions/grant", json=body)
        assert answer.status_code == 400 and answer.json()["error_code"] == "INVALID_PARAMETER_VALUE", answer.text
    assert admin.send("GET", "/api/tracegate/v1/grants", params={"principal": f"user:{name}"}).json()["grants"] == []


def test_a_permission_that_gives_more_than_it_says_is_not_split(gateway):
    admin = admin_of(gateway)
    name = unique("wide")
    new_user(gateway, name)
    body = {"principal": f"user:{name}", "securable": "workspace:default", "privilege": "CAN_READ"}
    admin.send("POST", "/api/tracegate/v1/grants", json=body).raise_for_status()
    assert admin.get_user_permission(name, "experiment", "*").permission == "READ"
    assert admin.code("revoke_user_permission", name, "experiment", "*") == "INVALID_PARAMETER_VALUE"
    assert admin.code("grant_user_permission", name, "experiment", "*", "EDIT") == "RESOURCE_ALREADY_EXISTS"
    assert admin.get_user_permission(name, "registered_model", "*").permission == "READ"


def test_two_who_grant_at_once_leave_one_permission(gateway):
    from concurrent.futures import ThreadPoolExecutor

    admin = admin_of(gateway)
    name, experiment = unique("raced"), str(gateway.details["experiments"]["support-bot"])
    new_user(gateway, name)
    body = {"username": name, "resource_type": "experiment", "resource_id": experiment}

    def grant(permission):
        return admin.send("POST", "/api/3.0/mlflow/users/permissions/grant", json={**body, "permission": permission}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(grant, ["READ", "EDIT", "MANAGE", "DENY"] * 2))
    assert statuses.count(200) == 1, statuses
    held = admin.send("GET", "/api/tracegate/v1/grants", params={"principal": f"user:{name}"}).json()["grants"]
    assert len(held) == 1
    admin.revoke_user_permission(name, "experiment", experiment)


# ------------------------------------------------------------------ passwords


def test_a_password_logs_in_through_the_sdk_and_is_recorded_as_one(gateway):
    name, experiment = unique("login"), str(gateway.details["experiments"]["support-bot"])
    user = new_user(gateway, name)
    admin_of(gateway).grant_user_permission(name, "experiment", experiment, "READ")
    assert user.tracking(lambda client: client.get_experiment(experiment).name) == "support-bot"
    for _ in range(20):
        assert reads(user, experiment) == 200
    current = user.send("GET", "/api/2.0/mlflow/users/current").json()
    assert current["is_basic_auth"] is True and current["user"]["username"] == name
    assert caller(gateway, "alice").send("GET", "/api/2.0/mlflow/users/current").json()["is_basic_auth"] is False
    events = processes.audit_query(gateway.url, gateway.details["tokens"]["admin"], "--principal", f"user:{name}")
    assert events and all(event["proof"].startswith("password:") for event in events)
    # Made by an administrator, before and after, with nothing of the password in it.
    changes = processes.audit_query(gateway.url, gateway.details["tokens"]["admin"], "--operation", "mlflow_auth.users.create")
    text = json.dumps(changes)
    assert f"user:{name}" in text and "password.set" in text and "scrypt" not in text and PASSWORD not in text
    assert PASSWORD not in gateway.log_text() and "scrypt:" not in gateway.log_text()
    admin_of(gateway).delete_user(name)
    assert reads(user, experiment) == 401
    # Somebody else who gets the name has nothing of it.
    again = new_user(gateway, name, OTHER)
    assert reads(user, experiment) == 401 and reads(again, experiment) in (403, 404)


def test_wrong_passwords_answer_alike_and_are_slowed(gateway):
    name = unique("guessed")
    user = new_user(gateway, name)
    answers = {}
    for who in (name, unique("nobody")):
        guesses = [As(gateway.url, who, f"guess {n} at a password").send("GET", "/api/2.0/mlflow/users/current") for n in range(8)]
        answers[who] = [(g.status_code, g.json()["error_code"], g.json()["message"].split(" (decision")[0]) for g in guesses]
        assert [g.status_code for g in guesses].count(401) <= 6
        assert guesses[-1].status_code == 429 and int(guesses[-1].headers["retry-after"]) >= 1
    known, unknown = answers.values()
    assert set(known) == set(unknown)
    # Who is in already stays in.
    admin_of(gateway).update_user_password(name, OTHER)
    assert reads(user, "0") in (401, 429)


def test_a_token_does_not_change_a_password_without_knowing_it(gateway):
    name = unique("owner")
    user = new_user(gateway, name)
    made = user.send("POST", "/api/tracegate/v1/tokens", json={"name": "t"}).json()
    thief = As(gateway.url, name, made["token"])
    assert thief.code("update_user_password", name, OTHER) == "INVALID_PARAMETER_VALUE"
    assert thief.code("update_user_password", name, OTHER, "guess at a password") == "INVALID_PARAMETER_VALUE"
    # A token for less is for nothing here.
    assert user.send("GET", "/api/2.0/mlflow/users/current").status_code == 200


def test_only_administrators_bring_passwords_along(gateway):
    helper = make(gateway, unique("importer"), "identity.manage", "policy.manage", "policy.read")
    victim = unique("victim")
    new_user(gateway, victim)
    body = {"passwords": [{"user": victim, "hash": "scrypt:32768:8:1$salt$" + "00" * 64}]}
    assert helper.send("POST", "/api/tracegate/v1/passwords/import", json=body).status_code == 403
    # And never over one that is there.
    answer = admin_of(gateway).send("POST", "/api/tracegate/v1/passwords/import", json=body)
    assert answer.json() == {"set": [], "kept": [victim]}
    assert As(gateway.url, victim, PASSWORD).send("GET", "/api/2.0/mlflow/users/current").status_code == 200
    costly = {"passwords": [{"user": victim, "hash": "pbkdf2:sha256:999999999$salt$" + "00" * 32}]}
    assert admin_of(gateway).send("POST", "/api/tracegate/v1/passwords/import", json=costly).status_code == 400


def test_without_passwords_nothing_is_made_and_nobody_gets_in(tmp_path):
    server = processes.start_demo(tmp_path, None)
    try:
        admin = admin_of(server)
        answer = admin.send("POST", "/api/2.0/mlflow/users/create", json={"username": "ann", "password": PASSWORD})
        assert answer.status_code == 400 and "identity.passwords" in answer.json()["message"]
        assert admin.code("get_user", "ann") == "RESOURCE_DOES_NOT_EXIST"
        assert admin.code("update_user_password", "alice", PASSWORD) == "INVALID_PARAMETER_VALUE"
        assert As(server.url, "alice", PASSWORD).send("GET", "/api/2.0/mlflow/users/current").status_code == 401
        # All else works with tokens alone.
        role = admin.create_role("default", "readers")
        admin.assign_role("carol", role.id)
        experiment = str(server.details["experiments"]["support-bot"])
        admin.add_role_permission(role.id, "experiment", experiment, "READ")
        assert reads(caller(server, "carol"), experiment) == 200
    finally:
        server.stop()
