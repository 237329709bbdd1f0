"""`tracegate policy export --casbin`, read by another implementation of casbin: pycasbin decides as Tracegate does.

pycasbin goes through all rules for each request, so the large world is asked about a sample. `make prove` sets
CASBIN_RULES=200000 and CASBIN_SAMPLE; `make test` takes a tenth of that.
"""

import json
import logging
import os
import random
import re
import sqlite3
import subprocess
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import casbin
import pytest

from harness import processes, wire

pytestmark = pytest.mark.gate

SOURCES = Path(__file__).parents[2] / "src" / "access"
RULES = int(os.environ.get("CASBIN_RULES", "20000"))
SAMPLE = int(os.environ.get("CASBIN_SAMPLE", "12"))

# Names that readers of CSV files and of casbin models take apart, each in its own way.
ODD_PEOPLE = ["user:Zoë Müller", "user:a[b](c) | d", "user:100% sure", "service_principal:日本 agent", "user:#no comment"]
ODD_MODELS = ["registered_model:m, [x], 'y'", "registered_model:m%2C [x]", "registered_model:(open", "registered_model:# x"]
CATALOG = [
    "metastore:default", "catalog:main", "schema:main.agents", "table:main.agents.größe", "table:main.agents.(x",
    "view:main.agents.daily", "volume:main.agents.files", "external_location:lake",
]


def privileges():
    """Every privilege there is, from the one place where they are named."""
    names = re.findall(r'^    \w+ = "([\w.]+)",$', (SOURCES / "privilege.rs").read_text(), re.MULTILINE)
    assert "trace.read" in names and "EXTERNAL_USE_SCHEMA" in names and len(names) > 60
    return names


class Administrator:
    """Tracegate's own API and commands, as the administrator of a gateway."""

    def __init__(self, url, token):
        self.url, self.token = url, token

    def call(self, method, path, body=b"", who="admin", token=None):
        headers = [("Authorization", wire.basic(who, token or self.token))]
        answer = wire.request(self.url, method, path, headers, body, seconds=300)
        assert answer.status == 200, f"{method} {path}: {answer.status} {answer.text}"
        return answer.json()

    def own(self, method, path, body=b""):
        return self.call(method, f"/api/tracegate/v1/{path}", body)

    def grant(self, principal, privilege, on, **more):
        self.own("POST", "grants", {"principal": principal, "privilege": privilege, "securable": on, **more})

    def join(self, group, member):
        self.own("PUT", f"groups/{quote(group, safe='')}/members/{quote(member, safe='')}")

    def explain(self, principal, privilege, on):
        question = urlencode({"principal": principal, "privilege": privilege, "on": on}, quote_via=quote)
        return self.own("GET", f"explain?{question}")

    def tracegate(self, *arguments):
        environment = processes.clean_environment(TRACEGATE_URL=self.url, TRACEGATE_TOKEN=self.token)
        command = [processes.tracegate_binary(), *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def exported(self, directory):
        """An enforcer of pycasbin's own over what `policy export --casbin` wrote."""
        self.tracegate("policy", "export", "--casbin", directory)
        logging.getLogger("casbin").setLevel(logging.WARNING)
        return casbin.Enforcer(str(directory / "model.conf"), str(directory / "policy.csv"))


class Pycasbin:
    def __init__(self, enforcer):
        self.enforcer, self.answered = enforcer, {}

    def allows(self, requests):
        assert requests, "a check without a request would be allowed by nobody's word"
        return all([self.allows_one(tuple(request)) for request in requests])

    def allows_one(self, request):
        if request not in self.answered:
            self.answered[request] = self.enforcer.enforce(*request)
        return self.answered[request]


@pytest.fixture(scope="module")
def demo(tmp_path_factory, mlflow_server):
    """The demo, and beside it one of everything that a policy can hold."""
    server = processes.start_demo(tmp_path_factory.mktemp("casbin"), mlflow_server.url)
    try:
        yield peopled(server)
    finally:
        server.stop()


def peopled(server):
    admin = Administrator(server.url, server.details["tokens"]["admin"])
    name = f"/team (x), [y]/{time.time_ns()}"
    alice = server.details["tokens"]["alice"]
    body = {"name": name}
    admin.grant("user:alice", "CAN_MANAGE", "folder:/team (x), [y]")
    made = admin.call("POST", "/api/2.0/mlflow/experiments/create", body, "alice", alice)
    for person in [*ODD_PEOPLE, "user:gone"]:
        admin.own("POST", "principals", {"principal": person})
    admin.join("group:night shift", ODD_PEOPLE[0])
    admin.join("group:日本", "group:night shift")
    admin.join("group:日本", ODD_PEOPLE[3])
    admin.join("group:admins", ODD_PEOPLE[2])
    admin.join("group:日本", "user:gone")
    for principal, privilege, on, *more in [
        ("group:日本", "CAN_READ", "folder:/team (x), [y]"),
        (ODD_PEOPLE[0], "trace.read", f"experiment:{made['experiment_id']}", "deny"),
        ("group:night shift", "CAN_EDIT", ODD_MODELS[0]),
        (ODD_PEOPLE[1], "CAN_READ", ODD_MODELS[1]),
        (ODD_PEOPLE[1], "CAN_READ", ODD_MODELS[2]),
        (ODD_PEOPLE[4], "CAN_MANAGE", ODD_MODELS[3]),
        ("user:gone", "CAN_MANAGE", ODD_MODELS[0]),
        ("group:admins", "ALL", ODD_MODELS[0], "deny"),
        ("group:日本", "USE CATALOG", "catalog:main"),
        ("group:night shift", "ALL_PRIVILEGES", "schema:main.agents"),
        ("group:日本", "USE_SCHEMA", "schema:main.agents"),
        (ODD_PEOPLE[3], "SELECT", "table:main.agents.größe"),
        (ODD_PEOPLE[0], "MODIFY", "schema:main.agents", "deny"),
        (ODD_PEOPLE[1], "OWNER", "schema:main.agents"),
        (ODD_PEOPLE[4], "OWNER", "table:main.agents.(x"),
        (ODD_PEOPLE[4], "BROWSE", "catalog:main"),
        ("user:bob", "MANAGE", "catalog:main"),
        ("user:bob", "READ_FILES", "external_location:lake"),
    ]:
        admin.grant(principal, privilege, on, effect=more[0] if more else "allow")
    for ends, privilege in [(1_500, "CAN_EDIT"), (3_600_000, "CAN_ASSESS")]:
        at = int(time.time() * 1000) + ends
        admin.grant("user:carol", privilege, ODD_MODELS[0], expires_at_ms=at)
    admin.own("PUT", f"principals/{quote('user:gone', safe='')}/active", {"active": False})
    time.sleep(1.6)  # the grant that ends first has ended
    experiments = [*server.details["experiments"].values(), made["experiment_id"], "999999"]
    return admin, [f"experiment:{number}" for number in experiments]


def test_pycasbin_decides_the_demo_as_tracegate_does(demo, tmp_path):
    admin, experiments = demo
    pycasbin = Pycasbin(admin.exported(tmp_path))
    people = [entry["principal"] for entry in admin.own("GET", "principals")["principals"]]
    assert {*ODD_PEOPLE, "user:carol", "user:gone", "service_principal:agent"} <= set(people)
    callers = [person for person in people if not person.startswith("group:")]
    securables = ["workspace:default", "folder:/team (x), [y]", *experiments, *ODD_MODELS, *CATALOG]
    choose = random.Random(7)
    allowed = compared = 0
    for person in callers:
        for securable in securables:
            # Everything on what is granted most often, a sample on the rest: each question is a call.
            everything = privileges()
            asked = everything if securable in (experiments[0], "table:main.agents.größe") else choose.sample(everything, 14)
            for privilege in asked:
                answer = admin.explain(person, privilege, securable)
                ours, theirs = answer["decision"] == "allow", pycasbin.allows(answer["casbin_requests"])
                assert ours == theirs, f"{person} {privilege} on {securable}: {answer}"
                compared, allowed = compared + 1, allowed + ours
    print(f"{compared} decisions, {allowed} of them allowed, {len(pycasbin.answered)} requests to pycasbin")
    assert allowed > 100
    gone = [answer for request, answer in pycasbin.answered.items() if request[0] == "user:gone"]
    assert gone and not any(gone)


def test_the_command_explains_as_the_export_decides(demo, tmp_path):
    admin, experiments = demo
    pycasbin = Pycasbin(admin.exported(tmp_path))
    decisions = []
    for person in ["user:bob", "user:carol", *ODD_PEOPLE]:
        for privilege, securable in [("trace.read", experiments[0]), ("MODIFY", "table:main.agents.(x"), ("model.read", ODD_MODELS[1])]:
            answer = json.loads(admin.tracegate("explain", "--principal", person, "--privilege", privilege, "--on", securable, "--json"))
            assert (answer["decision"] == "allow") == pycasbin.allows(answer["casbin_requests"]), answer
            decisions.append(answer["decision"])
    assert {"allow", "deny"} == set(decisions)


def fill(database, rules):
    """A large policy, written into the state of a gateway that does not run."""
    choose = random.Random(11)
    people = [f"user:person {number}, größe" .replace(",", ";") for number in range(rules // 20)]
    groups = [f"group:team [{number}]" for number in range(max(rules // 200, 2))]
    connection = sqlite3.connect(database)
    with connection:
        connection.executemany(
            "INSERT INTO principals (id, created_at_ms, created_by) VALUES (?, 0, 'test')",
            [(name,) for name in people + groups],
        )
        edges = {(choose.choice(groups), person) for person in people for _ in range(2)}
        edges |= {(groups[number // 4], groups[number]) for number in range(1, len(groups)) if number // 4 != number}
        connection.executemany("INSERT INTO memberships (group_id, member_id) VALUES (?, ?)", sorted(edges))
        models = [f"registered_model:bot, [{number}]" for number in range(rules // 10)]
        connection.executemany(
            "INSERT INTO securables (id, parent, name) VALUES (?, ?, ?)",
            [(name, f"folder:/team, {number % 97}", f"/team, {number % 97}/{number}") for number, name in enumerate(models)],
        )
        tables = [f"table:c{number % 7}.s{number % 31}.t({number}" for number in range(rules // 40)]
        grants = set()
        while len(grants) < rules:
            principal = choose.choice(groups if choose.random() < 0.3 else people)
            if choose.random() < 0.8:
                on, privileges = choose.choice(models), ["CAN_READ", "CAN_EDIT", "CAN_LIST", "model.read", "ALL"]
            elif choose.random() < 0.5:
                on, privileges = choose.choice(tables), ["SELECT", "MODIFY", "MANAGE"]
            else:
                catalog, schema, _ = choose.choice(tables).removeprefix("table:").split(".")
                on = choose.choice([f"catalog:{catalog}", f"schema:{catalog}.{schema}"])
                privileges = ["ALL_PRIVILEGES", "SELECT", "USE_CATALOG" if on.startswith("catalog") else "USE_SCHEMA"]
            effect = "deny" if choose.random() < 0.1 else "allow"
            grants.add((principal, on, choose.choice(privileges), effect))
        connection.executemany(
            "INSERT INTO grants (principal, securable, privilege, effect, granted_by, granted_at_ms) VALUES (?, ?, ?, ?, 'test', 0)",
            sorted(grants),
        )
    connection.close()
    return sorted(grants), people, models, tables


def test_pycasbin_decides_a_large_world_as_tracegate_does(tmp_path):
    # Policy alone is asked about: no MLflow server is needed, and none is there.
    nobody = f"http://127.0.0.1:{processes.free_port()}"
    server = processes.start_serve(tmp_path, nobody, TRACEGATE__POLICY__FIRST_ADMINISTRATOR="admin")
    server.stop()
    token = re.search(r"tg_[\w-]+", server.log_text()).group()
    grants, people, models, tables = fill(tmp_path / "data" / "state.db", RULES)
    server = processes.start_serve(tmp_path, nobody)
    try:
        admin = Administrator(server.url, token)
        began = time.monotonic()
        directory = tmp_path / "exported"
        admin.tracegate("policy", "export", "--casbin", directory)
        wrote = time.monotonic() - began
        lines = sum(1 for _ in (directory / "policy.csv").open())
        assert lines > RULES
        began = time.monotonic()
        logging.getLogger("casbin").setLevel(logging.WARNING)
        pycasbin = Pycasbin(casbin.Enforcer(str(directory / "model.conf"), str(directory / "policy.csv")))
        loaded = time.monotonic() - began
        choose = random.Random(13)
        decisions, spent = [], 0.0
        for number in range(SAMPLE):
            # Half about what somebody was granted or denied, half about anything.
            principal, on, privilege, _ = choose.choice(grants)
            if principal.startswith("group:") or number % 2:
                principal = choose.choice(people)
            on = on if number % 4 != 3 else choose.choice(models + tables)
            if on.startswith("registered_model"):
                privilege = "model.read"
            elif privilege not in ("MODIFY", "MANAGE", "USE_CATALOG", "USE_SCHEMA"):
                privilege = "SELECT"
            answer = admin.explain(principal, privilege, on)
            began = time.monotonic()
            theirs = pycasbin.allows(answer["casbin_requests"])
            spent += time.monotonic() - began
            assert (answer["decision"] == "allow") == theirs, answer
            decisions.append(answer["decision"])
        print(
            f"{len(grants)} rules, {lines} lines: exported in {wrote:.1f} s, loaded by pycasbin in {loaded:.1f} s; "
            f"{len(decisions)} decisions, {decisions.count('allow')} of them allowed, {spent / len(pycasbin.answered):.2f} s a request"
        )
        assert {"allow", "deny"} == set(decisions)
    finally:
        server.stop()
