"""The command line against a running gateway, as an administrator uses it."""

import json
import subprocess

import pytest

from harness import processes

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, mlflow_server):
    gate = processes.start_demo(tmp_path_factory.mktemp("commands"), mlflow_server.url)
    yield gate
    gate.stop()


@pytest.fixture
def tracegate(gateway):
    def run(*arguments, who="admin", code=0):
        environment = processes.clean_environment(TRACEGATE_URL=gateway.url, TRACEGATE_TOKEN=gateway.details["tokens"][who])
        done = subprocess.run(
            [processes.tracegate_binary(), *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done

    return run


def as_json(done):
    return json.loads(done.stdout)


COMMANDS = [
    "serve", "demo", "routes", "token", "service-principal", "session", "policy", "principal", "group", "access", "limits", "audit", "explain",
    "import", "adopt", "shadow", "keys", "migrate",
    "backup", "restore",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(tracegate, command):
    assert "Example:" in tracegate(command, "--help").stdout


def test_routes_are_listed_for_programs(tracegate):
    routes = as_json(tracegate("routes", "--json"))
    assert len(routes) > 545
    assert all({"method", "path", "operation"} <= set(route) for route in routes)


def test_explain_says_what_decides_and_what_would_help(tracegate, gateway):
    on = f"experiment:{gateway.details['experiments']['support-bot']}"
    allowed = as_json(tracegate("explain", "--principal", "user:bob", "--privilege", "trace.read", "--on", on, "--json"))
    assert allowed["decision"] == "allow"
    assert allowed["casbin_requests"] == [["user:bob", on, "trace.read"]]
    assert any("group:analysts" in step for step in allowed["steps"])
    denied = as_json(tracegate("explain", "--principal", "user:bob", "--privilege", "trace.write", "--on", on, "--json"))
    assert denied["decision"] == "deny" and "CAN_INGEST" in denied["remedy"]
    assert denied["policy_version"] > 0
    # About somebody else, only those may ask who manage the securable or may read policy.
    assert "403" in tracegate("explain", "--principal", "user:bob", "--privilege", "trace.read", "--on", on, who="carol", code=1).stderr
    own = as_json(tracegate("explain", "--privilege", "trace.read", "--on", on, "--json", who="carol"))
    assert own["decision"] == "deny"


def test_a_grant_is_made_explained_used_and_withdrawn(tracegate, gateway):
    on = f"experiment:{gateway.details['experiments']['secret-lab']}"
    question = ("explain", "--principal", "user:carol", "--privilege", "trace.read", "--on", on, "--json")
    assert as_json(tracegate(*question))["decision"] == "deny"
    made = as_json(tracegate("policy", "grant", "--principal", "user:carol", "--privilege", "CAN_READ", "--on", on,
                             "--reason", "incident 7", "--json", who="dave"))
    assert as_json(tracegate(*question))["decision"] == "allow"
    listed = as_json(tracegate("policy", "grants", "--on", on, "--json", who="dave"))["grants"]
    assert any(grant["id"] == made["grant"]["id"] and grant["reason"] == "incident 7" for grant in listed)
    assert "403" in tracegate("policy", "revoke", made["grant"]["id"], who="alice", code=1).stderr
    tracegate("policy", "revoke", made["grant"]["id"], who="dave")
    assert as_json(tracegate(*question))["decision"] == "deny"
    changes = as_json(tracegate("audit", "query", "--principal", "user:dave", "--json"))["events"]
    kinds = [event.get("policy_change", {}).get("action") for event in changes]
    assert "grant.add" in kinds and "grant.remove" in kinds


def test_nobody_grants_on_what_they_do_not_manage(tracegate, gateway):
    on = f"experiment:{gateway.details['experiments']['secret-lab']}"
    for who in ("alice", "carol", "bob"):
        for securable in (on, "workspace:default", "folder:/Users"):
            done = tracegate("policy", "grant", "--principal", f"user:{who}", "--privilege", "ALL", "--on", securable, who=who, code=1)
            assert "403" in done.stderr


def test_the_last_administrator_stays(tracegate):
    done = tracegate("policy", "remove-member", "--group", "group:admins", "--member", "user:admin", code=1)
    assert "last administrator" in done.stderr


def test_tokens_are_made_listed_without_their_secret_and_revoked(tracegate, gateway):
    made = as_json(tracegate("token", "create", "--name", "laptop", "--ttl-seconds", "600", "--json", who="bob"))
    listed = tracegate("token", "list", "--json", who="bob").stdout
    assert made["record"]["id"] in listed and made["token"] not in listed
    environment = processes.clean_environment(TRACEGATE_URL=gateway.url, TRACEGATE_TOKEN=made["token"])
    command = [processes.tracegate_binary(), "token", "list", "--json"]
    assert subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode == 0
    assert "403" in tracegate("token", "revoke", made["record"]["id"], who="alice", code=1).stderr
    tracegate("token", "revoke", made["record"]["id"], who="bob")
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "401" in refused.stderr
    assert "403" in tracegate("token", "create", "--principal", "user:admin", who="bob", code=1).stderr


def test_bad_input_names_the_field(tracegate):
    for arguments, named in [
        (("explain", "--privilege", "trace.fly", "--on", "experiment:1"), "trace.fly"),
        (("explain", "--privilege", "trace.read", "--on", "experiment:x"), "experiment"),
        (("policy", "grant", "--principal", "bob", "--privilege", "CAN_READ", "--on", "experiment:1"), "bob"),
        (("policy", "grant", "--principal", "user:bob", "--privilege", "CAN_FLY", "--on", "experiment:1"), "CAN_FLY"),
        (("audit", "query", "--limit", "0"), "limit"),
    ]:
        assert named in tracegate(*arguments, code=1).stderr


def test_the_audit_record_answers_and_is_for_those_who_may_read_it(tracegate, gateway):
    on = f"experiment:{gateway.details['experiments']['support-bot']}"
    events = as_json(tracegate("audit", "query", "--securable", on, "--limit", "5", "--json"))
    assert 0 < len(events["events"]) <= 5 and events["complete"]
    assert "403" in tracegate("audit", "query", who="alice", code=1).stderr


def test_the_chain_verifies_and_a_flipped_byte_is_found(tracegate, gateway, tmp_path):
    import shutil

    tracegate("audit", "query", "--limit", "1")
    spool = gateway.log.parent / "data" / "audit"
    copy = tmp_path / "audit"
    shutil.copytree(spool, copy)
    assert as_json(tracegate("audit", "verify", copy, "--json"))["last_seq"] > 10
    segment = sorted(copy.glob("*.seg"))[0]
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    assert "record" in tracegate("audit", "verify", copy, code=1).stderr


def test_calls_are_told_with_their_outcome(tracegate):
    tracegate("token", "list", who="alice")
    tracegate("audit", "query", who="alice", code=1)
    calls = as_json(tracegate("audit", "query", "--principal", "user:alice", "--calls", "--limit", "200", "--json"))["calls"]
    outcomes = {call["operation"]: (call["decision"], call["outcome"], call["status"]) for call in calls}
    assert outcomes["tracegate.token.list"] == ("allow", "success", 200)
    assert outcomes["tracegate.audit.events"] == ("deny", "refused", 403)


def test_databases_are_migrated_before_anything_serves_on_them(tmp_path):
    environment = processes.clean_environment(TRACEGATE__SERVER__DATA_DIR=str(tmp_path / "data"))
    def migrate(*arguments):
        return subprocess.run([processes.tracegate_binary(), "migrate", "--json", *arguments], env=environment, capture_output=True, text=True, timeout=60)

    # What is pending is said, and nothing is made by asking.
    done = migrate("--check")
    assert done.returncode == 3, done.stderr
    said = json.loads(done.stdout)
    assert said["checked_only"] and all(schema["pending"] for schema in said["schemas"])
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())
    for arguments in ([], [], ["--check"]):
        done = migrate(*arguments)
        assert done.returncode == 0, done.stderr
        schemas = json.loads(done.stdout)["schemas"]
        assert [schema["schema"] for schema in schemas] == ["state", "audit", "traces"]
    assert not any(schema["pending"] or schema["newer"] for schema in schemas)
    assert {"state.db", "audit.db", "traces.db"} <= {path.name for path in (tmp_path / "data").iterdir()}
    # Nobody is made by it: the first administrator is the first start's.
    assert "token" not in done.stdout + done.stderr
    missing = environment | {"TRACEGATE__DATABASE__URL": "postgres://nobody@127.0.0.1:1/none"}
    done = subprocess.run([processes.tracegate_binary(), "migrate"], env=missing, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "`state`" in done.stderr and not done.stdout
