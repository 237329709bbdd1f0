"""Everything is lost but a backup: what `docs/OPERATING.md` says to do then, done, with the real SDK before and after."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from harness import postgres, processes, wire

pytestmark = pytest.mark.gate
API = "/api/tracegate/v1"


def run(directory, *arguments, code=0, **environment):
    done = subprocess.run(
        [processes.tracegate_binary(), *map(str, arguments)],
        env=processes.clean_environment(TRACEGATE__SERVER__DATA_DIR=str(directory / "data"), **environment),
        capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done


def call(server, token, method, target, body=b"", headers=()):
    return wire.request(server.url, method, target, [("Authorization", f"Bearer {token}"), *headers], body)


def traces_of(server, token, experiment):
    answer = call(server, token, "POST", "/api/3.0/mlflow/traces/search", {
        "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}], "max_results": 500,
    })
    return {trace["trace_id"] for trace in answer.json().get("traces", [])} if answer.status == 200 else answer.status


WRITE = """
import sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment(experiment_id=sys.argv[2])
for number in range(int(sys.argv[3])):
    with mlflow.start_span("question") as span:
        span.set_inputs({"number": number})
        with mlflow.start_span("answer"):
            pass
mlflow.flush_trace_async_logging()
with mlflow.start_run() as run:
    mlflow.log_text("kept", "notes/a.txt")
print(run.info.run_id)
"""


def write(server, token, experiment, number=3):
    """Traces and a run with a file, by the SDK itself; the run's id."""
    return by_sdk(server, token, WRITE, server.url, experiment, number).split()[-1]


def by_sdk(server, token, program, *arguments):
    environment = processes.clean_environment(MLFLOW_TRACKING_TOKEN=token, MLFLOW_TRACKING_URI=server.url)
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, env=environment, check=True, timeout=120, stdout=subprocess.PIPE, text=True).stdout


READ = "import sys, mlflow; print(mlflow.artifacts.load_text('runs:/' + sys.argv[1] + '/notes/a.txt'))"


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A gateway with a store of its own, backed up while it was written to, and then lost altogether."""
    first, place = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("backups")
    gateway = processes.start_demo(first, None)
    tokens, experiments = gateway.details["tokens"], gateway.details["experiments"]
    mine, secret = experiments["support-bot"], experiments["secret-lab"]
    run_id = write(gateway, tokens["alice"], mine)
    before = traces_of(gateway, tokens["alice"], mine)
    acknowledged, stop = [], threading.Event()

    def load():
        number = 0
        while not stop.is_set():
            number += 1
            answer = call(gateway, tokens["alice"], "POST", "/api/2.0/mlflow/experiments/create", {"name": f"under-load-{number}"})
            if answer.status == 200:
                acknowledged.append(f"under-load-{number}")

    worker = threading.Thread(target=load)
    worker.start()
    processes.wait_until(lambda: len(acknowledged) > 5, 30, "the first writes")
    count = len(acknowledged)
    done = run(first, "backup", "--to", place / "monday", "--with-signing-key", "--json")
    stop.set()
    worker.join()
    # Made after it, and lost.
    later = call(gateway, tokens["bob"], "POST", f"{API}/tokens", {"name": "after"})
    gateway.signal_all(signal.SIGKILL)
    gateway.process.wait(20)
    shutil.rmtree(first / "data")
    return {
        "backup": place / "monday", "told": json.loads(done.stdout), "tokens": tokens, "mine": mine, "secret": secret,
        "before": before, "sure": acknowledged[:count], "later": later.json()["token"], "place": place, "run": run_id,
    }


def test_a_backup_says_what_it_holds_and_is_private(lost):
    told, backup = lost["told"], lost["backup"]
    assert told["rows"]["grants"] > 0 and told["rows"]["sessions"] == 0 and told["files"] > 10
    assert not any("MLflow" in left for left in told["left_out"])
    assert not (lost["place"] / "monday.unfinished").exists()
    for path in [backup, *backup.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    checked = json.loads(run(lost["place"], "backup", "verify", backup, "--id", told["id"], "--json").stdout)
    assert checked["id"] == told["id"] and checked["record"] == told["record"]
    # No token stands in it as it is: hashes do.
    everything = b"".join(path.read_bytes() for path in backup.rglob("*") if path.is_file())
    assert not [name for name, token in lost["tokens"].items() if token.encode() in everything]


def test_after_the_disaster_it_is_as_it_was(lost, tmp_path):
    done = run(tmp_path, "restore", "--from", lost["backup"], "--id", lost["told"]["id"], "--json")
    told = json.loads(done.stdout)
    assert told["policy_version"] > lost["told"]["policy_version"] and told["credentials"] >= len(lost["tokens"])
    verified = json.loads(run(tmp_path, "audit", "verify", tmp_path / "data" / "audit", "--json").stdout)
    verified = verified[0] if isinstance(verified, list) else verified
    assert verified.get("last_seq", 0) >= told["noted_at_seq"], verified

    gateway = processes.start_serve(tmp_path, None)
    try:
        tokens, mine, secret = lost["tokens"], lost["mine"], lost["secret"]
        for name, token in tokens.items():
            assert call(gateway, token, "GET", f"{API}/whoami").status == 200, name
        assert traces_of(gateway, tokens["alice"], mine) >= lost["before"]
        assert traces_of(gateway, tokens["bob"], mine) >= lost["before"]
        assert traces_of(gateway, tokens["carol"], mine) == traces_of(gateway, tokens["alice"], secret) == 403
        for trace in lost["before"]:
            assert call(gateway, tokens["bob"], "GET", f"/api/3.0/mlflow/traces/get?trace_id={trace}").status == 200
            assert call(gateway, tokens["carol"], "GET", f"/api/3.0/mlflow/traces/get?trace_id={trace}").status == 403
        assert by_sdk(gateway, tokens["bob"], READ, lost["run"]).strip() == "kept"
        # What was answered before the backup began is in it.
        for name in lost["sure"]:
            assert call(gateway, tokens["alice"], "GET", f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}").status == 200, name
        assert call(gateway, lost["later"], "GET", f"{API}/whoami").status == 401
        # A trace stays whose it was.
        trace = next(iter(lost["before"]))
        assert call(gateway, tokens["dave"], "PATCH", f"/api/3.0/mlflow/traces/{trace}/tags", {"key": "a", "value": "b"}).status == 403
        # It goes on, and nothing that is given twice must not be.
        write(gateway, tokens["alice"], mine)
        assert len(traces_of(gateway, tokens["alice"], mine)) >= len(lost["before"]) + 3
        grant = {"principal": "user:carol", "securable": f"experiment:{mine}", "privilege": "CAN_LIST"}
        assert call(gateway, tokens["alice"], "POST", f"{API}/grants", grant).status == 200
        # The record says that it happened, and whoever asks finds it.
        events = processes.audit_query(gateway.url, tokens["admin"], "--operation", "tracegate.restore")
        (event,) = events
        change = event["policy_change"]
        assert change["action"] == "restore" and change["before"]["backup"] == lost["told"]["id"]
        assert call(gateway, tokens["bob"], "GET", f"{API}/whoami", headers=[("X-Tracegate-Minimum-Policy-Version", str(told["policy_version"]))]).status == 200
    finally:
        gateway.stop()
    run(tmp_path, "audit", "verify", tmp_path / "data" / "audit")


def test_nothing_is_overwritten(lost, tmp_path):
    run(tmp_path, "restore", "--from", lost["backup"])
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    refused = run(tmp_path, "restore", "--from", lost["backup"], code=1)
    assert "overwrites nothing" in refused.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == before
    assert "already" in run(tmp_path, "backup", "--to", lost["backup"], code=1).stderr


def test_what_cannot_be_noted_is_not_restored(lost, tmp_path):
    """The record is of another replica than the configuration says: nothing may take its place."""
    refused = run(tmp_path, "restore", "--from", lost["backup"], code=1, TRACEGATE__AUDIT__REPLICA="somebody-else")
    assert "somebody-else" in refused.stderr
    assert not list((tmp_path / "data").iterdir())


def test_of_two_at_once_one_restores(lost, tmp_path):
    command = [processes.tracegate_binary(), "restore", "--from", str(lost["backup"])]
    environment = processes.clean_environment(TRACEGATE__SERVER__DATA_DIR=str(tmp_path / "data"))
    both = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [one.communicate(timeout=120) for one in both]
    assert sorted(one.returncode for one in both) == [0, 1], told
    assert not (tmp_path / "data" / ".restore").exists()
    run(tmp_path, "audit", "verify", tmp_path / "data" / "audit")
    gateway = processes.start_serve(tmp_path, None)
    try:
        assert traces_of(gateway, lost["tokens"]["bob"], lost["mine"]) >= lost["before"]
    finally:
        gateway.stop()


def test_revoked_with_everything_else_nobody_has_a_token_but_one_administrator(lost, tmp_path):
    told = json.loads(run(tmp_path, "restore", "--from", lost["backup"], "--revoke-tokens", "--json").stdout)
    assert told["credentials"] == 0
    gateway = processes.start_serve(tmp_path, None)
    try:
        assert {call(gateway, token, "GET", f"{API}/whoami").status for token in lost["tokens"].values()} == {401}
        (fresh,) = set(re.findall(r"\btg_[\w-]{20,}", gateway.log.read_text()))
        assert call(gateway, fresh, "GET", f"{API}/whoami").json()["principal"] == "user:admin"
    finally:
        gateway.stop()


def test_a_record_that_survived_is_kept(lost, tmp_path):
    run(tmp_path, "restore", "--from", lost["backup"])
    newer = tmp_path / "data" / "audit"
    kept = tmp_path / "other"
    (kept / "data").mkdir(parents=True)
    shutil.copytree(newer, kept / "data" / "audit")
    shutil.copy(tmp_path / "data" / "audit-signing-key.pem", kept / "data")
    noted = json.loads(run(kept, "restore", "--from", lost["backup"], "--keep-record", "--json").stdout)["noted_at_seq"]
    gateway = processes.start_serve(kept, None)
    try:
        # Both restores stand in the one record.
        token = lost["tokens"]["admin"]
        processes.wait_until(lambda: len(processes.audit_query(gateway.url, token, "--operation", "tracegate.restore")) == 2, 30, "the index")
    finally:
        gateway.stop()
    assert noted > lost["told"]["record"]["last_seq"] + 1


def test_what_was_touched_is_refused_and_nothing_is_written(lost, tmp_path):
    def attempt(name, touch, why, *arguments):
        place = tmp_path / name
        shutil.copytree(lost["backup"], place / "backup")
        touch(place / "backup")
        for command in (["backup", "verify", place / "backup"], ["restore", "--from", place / "backup"]):
            refused = run(place, *command, *arguments, code=1)
            assert why in refused.stderr, refused.stderr
        assert not (place / "data").exists() or not list((place / "data").iterdir())

    def flip(path):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    parts = ["state/grants.jsonl", "traces.db", "audit.db", "audit/replica", "audit-signing-key.pem"]
    for number, part in enumerate(parts):
        attempt(f"flip-{number}", lambda backup, part=part: flip(backup / part), "not as it was written")
    segment = next((lost["backup"] / "audit").glob("*.seg")).name
    attempt("short", lambda backup: os.truncate(backup / "audit" / segment, 200), "not as it was written")
    attempt("gone", lambda backup: (backup / "state" / "tokens.jsonl").unlink(), "is missing")
    attempt("more", lambda backup: (backup / "state" / "more.jsonl").write_text("{}\n"), "does not belong")
    attempt("no-manifest", lambda backup: (backup / "manifest.json").unlink(), "is this a backup?")

    def link(backup):
        (backup / "state" / "grants.jsonl").unlink()
        (backup / "state" / "grants.jsonl").symlink_to("/etc/passwd")

    attempt("link", link, "neither a file nor a directory")

    def manifest(change):
        def touch(backup):
            path = backup / "manifest.json"
            listed = json.loads(path.read_text())
            change(listed)
            path.write_text(json.dumps(listed))

        return touch

    def climb(listed):
        listed["files"]["../../outside"] = listed["files"].pop("state/grants.jsonl")

    attempt("climb", manifest(climb), "no path within a backup")
    attempt("later", manifest(lambda listed: listed.update(format=2)), "the program that made it")

    # Who rewrites both a file and its hash is found by the id that was noted.
    def forge(backup):
        grants = backup / "state" / "grants.jsonl"
        grants.write_text(grants.read_text().replace("CAN_READ", "CAN_EDIT"))
        manifest(lambda listed: listed["files"]["state/grants.jsonl"].update(
            bytes=grants.stat().st_size, sha256=hashlib.sha256(grants.read_bytes()).hexdigest()
        ))(backup)

    attempt("forged", forge, "not the one that was expected", "--id", lost["told"]["id"])


def test_without_its_signing_key_it_says_where_to_put_it(lost, tmp_path):
    gateway = processes.start_demo(tmp_path / "one", None)
    try:
        run(tmp_path / "one", "backup", "--to", tmp_path / "backup")
        key = (tmp_path / "one" / "data" / "audit-signing-key.pem").read_text()
    finally:
        gateway.stop()
    refused = run(tmp_path / "two", "restore", "--from", tmp_path / "backup", code=1)
    assert "audit-signing-key.pem" in refused.stderr
    assert not [path for path in (tmp_path / "two" / "data").rglob("*")]
    (tmp_path / "two" / "data" / "audit-signing-key.pem").write_text(key)
    os.chmod(tmp_path / "two" / "data" / "audit-signing-key.pem", 0o600)
    run(tmp_path / "two", "restore", "--from", tmp_path / "backup")


def test_state_in_postgresql_goes_into_another_and_into_a_file(lost, tmp_path_factory):
    place = tmp_path_factory.mktemp("postgres-backup")
    server, mlflow = postgres.start(place / "server"), processes.start_mlflow(place / "mlflow")
    try:
        url = server.details["url"]
        other = url.rsplit("/", 1)[0] + "/restored"
        gateway = processes.start_demo(place / "old", mlflow.url, TRACEGATE__DATABASE__URL=url)
        tokens, mine = gateway.details["tokens"], gateway.details["experiments"]["support-bot"]
        write(gateway, tokens["alice"], mine)
        seen = traces_of(gateway, tokens["bob"], mine)
        environment = {"TRACEGATE__DATABASE__URL": url, "TRACEGATE__MLFLOW__URL": mlflow.url}
        told = json.loads(run(place / "old", "backup", "--to", place / "backup", "--with-signing-key", "--json", **environment).stdout)
        assert any("MLflow server keeps them" in left for left in told["left_out"])
        gateway.stop()
        psql = postgres.program("psql")
        subprocess.run([psql, url, "-c", "CREATE DATABASE restored"], check=True, capture_output=True, cwd="/")
        for number, database in enumerate([{"TRACEGATE__DATABASE__URL": other}, {}]):
            new = place / f"new-{number}"
            new.mkdir()
            run(new, "restore", "--from", place / "backup", **{"TRACEGATE__MLFLOW__URL": mlflow.url, **database})
            if database:
                refused = run(new, "restore", "--from", place / "backup", code=1, **{"TRACEGATE__MLFLOW__URL": mlflow.url, **database})
                assert "overwrites nothing" in refused.stderr
                # A database that is in use is no target either, whatever lies beside it.
                elsewhere = place / "elsewhere"
                elsewhere.mkdir()
                refused = run(elsewhere, "restore", "--from", place / "backup", code=1, **{"TRACEGATE__MLFLOW__URL": mlflow.url, **database})
                assert "holds rows already" in refused.stderr and not list((elsewhere / "data").iterdir())
            restored = processes.start_serve(new, mlflow.url, **database)
            try:
                assert traces_of(restored, tokens["bob"], mine) == seen
                assert traces_of(restored, tokens["carol"], mine) == 403
                trace = next(iter(seen))
                tag = {"key": "a", "value": "b"}
                assert call(restored, tokens["dave"], "PATCH", f"/api/3.0/mlflow/traces/{trace}/tags", tag).status == 403
                grant = {"principal": "user:carol", "securable": f"experiment:{mine}", "privilege": "CAN_LIST"}
                assert call(restored, tokens["alice"], "POST", f"{API}/grants", grant).status == 200
            finally:
                restored.stop()
    finally:
        mlflow.stop()
        postgres.stop(server)
