"""Who saw what: real SDK traffic by several people, and what the record answers afterwards."""

import csv
import hashlib
import http.server
import json
import struct
import subprocess
import threading
import uuid

import pytest

from harness import processes, wire

pytestmark = pytest.mark.gate


def fresh(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def run_command(gateway, token, *arguments, code=0):
    done = subprocess.run(
        [processes.tracegate_binary(), *map(str, arguments)],
        env=processes.clean_environment(TRACEGATE_URL=gateway.url, TRACEGATE_TOKEN=token),
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def tracegate(gate):
    return lambda *arguments, who="admin", code=0: run_command(gate, gate.tokens[who], *arguments, code=code)


@pytest.fixture(scope="module")
def audit(tracegate):
    """The JSON that `tracegate audit … --json` answers."""
    return lambda *arguments, **how: json.loads(tracegate("audit", *arguments, "--json", **how).stdout)


def get(gate, who, target, token=None):
    authorization = wire.basic(who, token or gate.tokens[who])
    return wire.request(gate.url, "GET", target, [("Authorization", authorization)])


@pytest.fixture(scope="module")
def seen(gate, as_caller, tracegate, support_bot):
    """A trace of a session and an end user, and everybody who came near it."""
    session, user = fresh("session"), fresh("end-user")
    alice = as_caller("alice")
    trace = alice.run("write_trace_of", experiment_id=support_bot, session=session, user=user).value
    other = alice.run("write_trace_of", experiment_id=support_bot, session=session, user=fresh("other")).value
    # Those who get it, each in a way of his own.
    assert as_caller("bob").run("get_trace", trace_id=trace).value["id"] == trace
    for who in ("erin", "lena"):
        found = as_caller(who).run("search_traces", experiment_ids=[support_bot], full=False).value
        assert trace in [one["id"] for one in found]
    batch = get(gate, "admin", f"/api/3.0/mlflow/traces/batchGet?trace_ids={trace}&trace_ids={other}")
    assert batch.status == 200 and trace in batch.text
    tracegate("policy", "grant", "--principal", "user:artie", "--privilege", "CAN_READ", "--on", f"experiment:{support_bot}")
    artie = json.loads(tracegate("token", "create", "--principal", "user:artie", "--name", "test", "--json").stdout)["token"]
    artifact = get(gate, "artie", f"/ajax-api/3.0/mlflow/get-trace-artifact?request_id={trace}", artie)
    assert artifact.status == 200, artifact.text
    # Those who do not.
    for who in ("carol", "dave", "agent"):
        as_caller(who).run("get_trace", trace_id=trace).assert_refused()
        as_caller(who).run("search_traces", experiment_ids=[support_bot], full=False).assert_refused()
        assert get(gate, who, f"/ajax-api/3.0/mlflow/get-trace-artifact?request_id={trace}").status == 403
    return {"trace": trace, "session": session, "user": user}


READERS = {"user:bob": "read", "user:erin": "read", "user:admin": "read", "user:artie": "read", "user:lena": "listed"}


def levels(answer):
    return {reader["principal"]: reader["level"] for reader in answer["readers"]}


class TestWhoSaw:
    def test_a_trace_names_exactly_those_who_got_it(self, audit, seen):
        answer = audit("saw", "--trace-id", seen["trace"])
        assert answer["complete"] and not answer["truncated"]
        assert levels(answer) == READERS
        assert answer["people"] == sorted(READERS)
        by = {reader["principal"]: reader["operation"] for reader in answer["readers"]}
        assert by["user:erin"] == by["user:lena"] == "trace.search"
        assert by["user:admin"] == "trace.batch_get"
        assert by["user:artie"] == "trace.artifact"
        read = levels(audit("saw", "--trace-id", seen["trace"], "--level", "read"))
        assert set(read) == set(READERS) - {"user:lena"}

    def test_its_author_is_named_when_writers_are_asked_for(self, audit, seen):
        wrote = levels(audit("saw", "--trace-id", seen["trace"], "--level", "wrote"))
        assert set(wrote) == {*READERS, "user:alice"} and wrote["user:alice"] == "wrote"

    def test_a_session_and_an_end_user_are_found_by_what_the_trace_said(self, audit, seen):
        assert levels(audit("saw", "--session", seen["session"])) == READERS
        assert levels(audit("saw", "--user", seen["user"])) == READERS
        assert levels(audit("saw", "--subject", f"mlflow.trace.user={seen['user']}")) == READERS
        assert audit("subject", "--user", seen["user"])["trace_ids"] == [seen["trace"]]
        assert len(audit("subject", "--session", seen["session"])["trace_ids"]) == 2
        assert audit("saw", "--user", fresh("nobody"))["people"] == []

    def test_no_end_user_stands_in_the_record_itself_not_even_because_somebody_asked(self, gate, audit, seen):
        audit("saw", "--user", seen["user"])
        asked = audit("query", "--operation", "tracegate.audit.seen", "--limit", "20")["events"]
        questions = [event["question"] for event in asked]
        assert any(one.get("trace_id") == seen["trace"] for one in questions)
        hashed = [one["value"] for one in questions if one.get("key") == "mlflow.trace.user"]
        assert hashed and all(value.startswith("hmac:") for value in hashed)
        spool = b"".join(path.read_bytes() for path in (gate.server.log.parent / "data" / "audit").glob("*.seg"))
        assert seen["trace"].encode() in spool
        assert seen["user"].encode() not in spool and seen["session"].encode() not in spool

    def test_erasing_an_end_user_takes_away_whose_traces_these_were_and_nothing_else(self, gate, as_caller, audit, tracegate, support_bot):
        user, session = fresh("erased"), fresh("session")
        as_caller("alice").run("write_trace_of", experiment_id=support_bot, session=session, user=user)
        assert len(audit("subject", "--user", user)["trace_ids"]) == 1
        # Whoever may read the record may not take answers away from others.
        tracegate("policy", "grant", "--principal", "user:erin", "--privilege", "audit.read", "--on", "workspace:default")
        assert "403" in tracegate("audit", "subject", "--user", user, "--erase", who="erin", code=1).stderr
        assert audit("subject", "--user", user, "--erase")["erased"] == 1
        assert audit("subject", "--user", user)["trace_ids"] == []
        assert len(audit("subject", "--session", session)["trace_ids"]) == 1
        tracegate("audit", "verify", gate.server.log.parent / "data" / "audit")

    def test_an_otlp_exporter_says_whose_a_trace_is_by_attributes(self, gate, audit, support_bot):
        session, trace = fresh("otlp"), uuid.uuid4().hex
        export = wire.otlp(trace, attributes={"mlflow.trace.session": session})
        headers = [("Authorization", wire.basic("agent", gate.tokens["agent"])), ("x-mlflow-experiment-id", support_bot),
                   ("Content-Type", "application/x-protobuf")]
        assert wire.request(gate.url, "POST", "/v1/traces", headers, export).status == 200
        assert audit("subject", "--session", session)["trace_ids"] == [f"tr-{trace}"]

    def test_a_search_of_500_traces_leaves_500_ids(self, gate, as_caller, audit):
        alice = as_caller("alice")
        experiment = alice.run("create_experiment", name=fresh("many")).value
        ids = [uuid.uuid4().hex for _ in range(500)]
        headers = [("Authorization", wire.basic("alice", gate.tokens["alice"])), ("x-mlflow-experiment-id", experiment),
                   ("Content-Type", "application/x-protobuf")]
        assert wire.request(gate.url, "POST", "/v1/traces", headers, wire.otlp(*ids), seconds=120).status == 200
        found = alice.run("search_traces", experiment_ids=[experiment], full=False, max_results=500).value
        assert len(found) == 500
        events = audit("query", "--operation", "trace.search", "--securable", f"experiment:{experiment}", "--limit", "1000")["events"]
        recorded = {trace for event in events for trace in event.get("trace_ids", [])}
        assert recorded == {f"tr-{one}" for one in ids}
        answer = audit("saw", "--trace-id", f"tr-{ids[321]}")
        assert [(one["principal"], one["level"], one["times"]) for one in answer["readers"]] == [("user:alice", "read", 1)]


class TestTheOtherQuestions:
    def test_everything_that_one_person_did(self, audit, seen):
        events = audit("person", "user:bob", "--limit", "500")["events"]
        assert events and {event["principal"] for event in events} == {"user:bob"}
        assert any(seen["trace"] in event.get("trace_ids", []) for event in events)

    def test_denials_say_why(self, audit, seen):
        events = audit("denials", "--principal", "user:carol", "--limit", "50")["events"]
        of_trace = [event for event in events if seen["trace"] in event.get("trace_ids", [])]
        assert of_trace and all("trace.read" in event["reason"] for event in of_trace)
        assert {event["decision"] for event in events} == {"deny"}
        assert all(event["sight"] == "asked" for event in of_trace)

    def test_policy_changes_have_before_and_after(self, audit, tracegate, support_bot):
        on = f"experiment:{support_bot}"
        for reason in ("first", "second"):
            tracegate("policy", "grant", "--principal", "user:zoe", "--privilege", "CAN_READ", "--on", on, "--reason", reason)
        changes = [event["policy_change"] for event in audit("changes", "--limit", "50")["events"]]
        mine = [change for change in changes if (change["after"] or {}).get("principal") == "user:zoe"]
        assert [(change["before"] or {}).get("reason") for change in mine] == ["first", None]
        assert [change["after"]["reason"] for change in mine] == ["second", "first"]

    def test_first_access_from_an_address(self, audit, seen):
        found = audit("new-addresses")["addresses"]
        assert {"user:bob", "user:alice"} <= {one["principal"] for one in found}
        assert {one["address"] for one in found} == {"127.0.0.1"} and not any(one["known_elsewhere"] for one in found)
        assert len(found) == len({(one["principal"], one["address"]) for one in found})

    def test_who_may_not_read_the_record_gets_no_answer(self, tracegate, seen, tmp_path):
        for arguments in (
            ("saw", "--trace-id", seen["trace"]), ("saw", "--session", seen["session"]), ("person", "user:alice"), ("denials",),
            ("changes",), ("failed-logins",), ("new-addresses",), ("subject", "--user", seen["user"]),
            ("export", "--format", "jsonl"), ("review", "--from", "0", "--to", "1", "--output", tmp_path / "review"),
        ):
            assert "403" in tracegate("audit", *arguments, who="alice", code=1).stderr

    def test_bad_input_names_the_field(self, tracegate, seen):
        for arguments, named, code in [
            (("saw", "--subject", "mood=good"), "subject_keys", 1),
            (("saw", "--subject", "mood"), "KEY=VALUE", 1),
            (("saw", "--trace-id", seen["trace"], "--level", "all"), "level", 1),
            (("denials", "--from", "yesterday"), "yesterday", 2),
            (("export", "--format", "xml"), "xml", 1),
            (("query", "--status", "nothing"), "nothing", 2),
        ]:
            assert named in tracegate("audit", *arguments, code=code).stderr


class TestFailedLogins:
    def test_each_is_told_by_a_record_or_by_a_count_and_holds_no_secret(self, tmp_path_factory, mlflow_server):
        directory = tmp_path_factory.mktemp("logins")
        gateway = processes.start_demo(directory, mlflow_server.url)
        admin = gateway.details["tokens"]["admin"]
        secret = "tg_" + uuid.uuid4().hex * 2
        try:
            for number in range(40):
                who = "bob" if number == 0 else f"my-password-{number}"
                answer = wire.request(gateway.url, "GET", "/api/2.0/mlflow/experiments/search", [("Authorization", wire.basic(who, secret))])
                assert answer.status == 401
        finally:
            gateway.stop()
        gateway = processes.start_serve(directory, mlflow_server.url)
        try:
            events = json.loads(run_command(gateway, admin, "audit", "failed-logins", "--json").stdout)["events"]
        finally:
            gateway.stop()
        assert sum(event.get("repeated", 1) for event in events) == 40
        # Ten of an address and a minute have a record of their own; the minute may have turned meanwhile.
        assert len([event for event in events if "repeated" not in event]) <= 20
        assert events[-1]["claimed"] == "user:bob" and events[-1]["request"]["source_address"] == "127.0.0.1"
        assert "token" in events[-1]["reason"]
        assert not any("claimed" in event for event in events[:-1])
        text = json.dumps(events)
        assert secret not in text and "my-password" not in text
        spool = b"".join(path.read_bytes() for path in (directory / "data" / "audit").glob("*.seg"))
        assert secret.encode() not in spool and b"my-password" not in spool


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes OTLP logs as a collector does."""

    received = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, self.headers["Content-Type"], body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class TestExports:
    @pytest.fixture
    def export(self, tracegate, seen, tmp_path):
        def to_lines(form, *more):
            path = tmp_path / f"{form}.out"
            tracegate("audit", "export", "--format", form, "--output", path, *more)
            assert path.stat().st_mode & 0o077 == 0
            return path.read_text().splitlines()

        return to_lines

    def test_json_lines_hold_the_whole_chain(self, export, seen, tracegate, tmp_path):
        """As docs/AUDIT-FORMAT.md says how a hash is made, from the lines alone."""
        head, *lines = export("jsonl")
        records = [(json.loads(line), line) for line in lines]
        assert [record["seq"] for record, _ in records] == list(range(1, len(records) + 1))
        head = json.loads(head)
        assert (head["tracegate_audit_export"], head["first_seq"], head["last_seq"]) == (1, 1, len(records))
        last = hashlib.sha256(b"tracegate audit chain 1\n" + records[0][0]["replica"].encode()).digest()
        for record, line in records:
            payload = line.split('"payload":', 1)[1][:-1].encode()
            kind = {"event": 1, "recovered": 2, "closed": 3, "checkpoint": 4, "key": 5, "pruned": 6}[record["record"]]
            head = struct.pack("<IBQ", len(payload), kind, record["seq"])
            last = hashlib.sha256(last + head + payload).digest()
            assert record["hash"] == last.hex(), record["seq"]
        assert any(seen["trace"] in line for line in lines)
        (verified,) = json.loads(tracegate("audit", "verify", tmp_path / "jsonl.out", "--json").stdout)
        assert (verified["last_seq"], verified["last_hash"]) == (len(records), last.hex()) and verified["checkpoints"]

    def test_part_of_a_chain_verifies_and_an_edit_of_it_does_not(self, export, seen, tracegate, tmp_path):
        payload = next(record for record in map(json.loads, export("jsonl")) if seen["trace"] in json.dumps(record))["payload"]
        part = export("jsonl", "--from", str(payload["time_ms"]))
        assert json.loads(part[0])["first_seq"] > 1
        tracegate("audit", "verify", tmp_path / "jsonl.out")
        at = next(number for number, line in enumerate(part) if seen["trace"] in line)
        part[at] = part[at].replace(seen["trace"], "tr-" + "0" * 32)
        edited = tmp_path / "edited.jsonl"
        edited.write_text("\n".join(part) + "\n")
        assert f"audit record {json.loads(part[at])['seq']} " in tracegate("audit", "verify", edited, code=1).stderr

    def test_ocsf_is_api_activity(self, export, seen):
        events = [json.loads(line) for line in export("ocsf")]
        for event in events:
            required = {"activity_id", "actor", "api", "category_uid", "class_uid", "metadata", "severity_id", "src_endpoint", "time", "type_uid"}
            assert required <= set(event)
            assert (event["class_uid"], event["category_uid"]) == (6003, 6)
            assert event["type_uid"] == 600300 + event["activity_id"]
            assert event["metadata"]["version"] and event["metadata"]["product"]["name"] and event["api"]["operation"]
            assert None not in event.values()
        assert any(resource["uid"] == seen["trace"] for event in events for resource in event["resources"])

    def test_cef_has_its_header(self, export):
        for line in export("cef"):
            parts = line.split("|")
            assert parts[0] == "CEF:0" and len(parts) >= 8 and 0 <= int(parts[6]) <= 10
            assert "rt=" in parts[7]

    def test_databricks_has_exactly_the_columns_of_system_access_audit(self, export):
        columns = ["account_id", "workspace_id", "version", "event_time", "event_date", "source_ip_address", "user_agent", "session_id",
                   "user_identity", "service_name", "action_name", "request_id", "request_params", "response", "audit_level", "event_id",
                   "identity_metadata"]
        rows = [json.loads(line) for line in export("databricks")]
        assert rows and all(list(row) == columns for row in rows)
        actions = {(row["service_name"], row["action_name"]) for row in rows}
        assert {("mlflowExperiment", "searchTrace"), ("workspace", "changeWorkspaceAcl")} <= actions

    def test_otlp_reaches_a_collector_in_the_protocols_own_shape(self, tracegate, seen):
        from google.protobuf import json_format
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        Collector.received = []
        collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        try:
            endpoint = f"http://127.0.0.1:{collector.server_address[1]}/v1/logs"
            tracegate("audit", "export", "--format", "otlp", "--endpoint", endpoint)
        finally:
            collector.shutdown()
        records = []
        for path, media, body in Collector.received:
            assert (path, media) == ("/v1/logs", "application/json")
            # Unknown fields and wrong types are errors.
            request = json_format.Parse(body, ExportLogsServiceRequest())
            records += request.resource_logs[0].scope_logs[0].log_records
        traces = {
            value.string_value
            for record in records for attribute in record.attributes if attribute.key == "tracegate.trace_ids"
            for value in attribute.value.array_value.values
        }
        assert seen["trace"] in traces
        assert all(record.time_unix_nano and record.severity_number for record in records)

    def test_a_period_and_a_person_narrow_an_export(self, export, tracegate, tmp_path):
        lines = export("jsonl", "--principal", "user:bob")
        assert lines and {json.loads(line)["payload"]["principal"] for line in lines} == {"user:bob"}
        # Chosen records are no chain, and are not taken for one.
        assert "cannot be verified" in tracegate("audit", "verify", tmp_path / "jsonl.out", code=1).stderr
        assert export("ocsf", "--from", "1971-01-01", "--to", "1971-01-02") == []


class TestReview:
    def test_the_pack_says_who_has_what_and_who_used_it(self, tracegate, seen, support_bot, tmp_path):
        directory = tmp_path / "review"
        tracegate("policy", "grant", "--principal", "user:idle", "--privilege", "CAN_READ", "--on", f"experiment:{support_bot}",
                  "--reason", "=cmd|' /C calc'!A0")
        tracegate("audit", "review", "--from", "2020-01-01", "--to", "2100-01-01", "--output", directory)

        def table(name):
            with (directory / f"{name}.csv").open(newline="") as file:
                return list(csv.DictReader(file))

        on = f"experiment:{support_bot}"
        access = {(row["person"], row["through"], row["securable"]): row for row in table("access")}
        bob = access[("user:bob", "group:analysts", on)]
        assert bob["privilege"] == "CAN_READ" and bob["granted_by"] and bob["last_used_ms"]
        unused = {row["principal"]: row for row in table("unused_grants")}
        assert "user:idle" in unused and "user:artie" not in unused
        # What a caller wrote is no formula in a spreadsheet.
        assert unused["user:idle"]["reason"].startswith("'=")
        usage = {(row["principal"], row["operation"], row["decision"]): int(row["calls"]) for row in table("usage") if row["securable"] == on}
        assert usage[("user:erin", "trace.search", "allow")] >= 1
        assert any(row["principal"] == "user:carol" for row in table("denials"))
        assert any(row["action"] == "grant.add" for row in table("policy_changes"))
        text = (directory / "review.md").read_text()
        assert "# Review of access" in text and "user:idle" in text
        assert "not empty" in tracegate("audit", "review", "--from", "0", "--to", "1", "--output", directory, code=1).stderr
