"""When MLflow is down, slow, cut off or mad, and when Tracegate itself is killed.

What must hold: a clear error in MLflow's shape, soon; an audit record of every call that was
answered; and nothing acknowledged that is not there.
"""

import secrets
import shutil
import signal
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
import requests

from harness import processes, wire
from harness.caller import Caller
from harness.chaos import Chaos
from test_bypasses import OTLP, into, new_trace_id, start_trace

pytestmark = pytest.mark.gate

# Short, so that the tests are; what they do is the same at the defaults.
TIMEOUTS = {
    "TRACEGATE__MLFLOW__RESPONSE_TIMEOUT_MS": "2000",
    "TRACEGATE__MLFLOW__IDLE_TIMEOUT_MS": "2000",
    "TRACEGATE__MLFLOW__LOOKUP_TIMEOUT_MS": "2000",
    "TRACEGATE__MLFLOW__BREAKER_OPEN_MS": "500",
}
# A generous multiple of the timeouts above: "no hang", not a measurement.
SOON = 20


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """An MLflow, a proxy that misbehaves on demand, and a Tracegate that knows only the proxy."""
    directory = tmp_path_factory.mktemp("failures")
    mlflow = processes.start_mlflow(directory / "mlflow")
    chaos = Chaos(mlflow.url)
    gate = processes.start_demo(directory, chaos.url, **TIMEOUTS)
    tokens = gate.details["tokens"]
    mine = str(gate.details["experiments"]["support-bot"])

    def call(who, method, target, body=b"", headers=(), seconds=SOON):
        return wire.request(gate.url, method, target, [("Authorization", wire.basic(who, tokens[who])), *headers], body, seconds)

    trace_id = new_trace_id()
    body = start_trace(trace_id, mine)
    assert call("alice", "POST", "/api/3.0/mlflow/traces", body).status == 200
    yield SimpleNamespace(
        mlflow=mlflow, chaos=chaos, gate=gate, tokens=tokens, mine=mine, trace=trace_id, call=call, directory=directory
    )
    gate.stop()
    chaos.stop()
    mlflow.stop()


@pytest.fixture(autouse=True)
def healed(system):
    """Each test starts and ends with an upstream that works, as Tracegate sees it."""
    yield
    system.chaos.set("pass")
    read = f"/api/3.0/mlflow/traces/{system.trace}"
    processes.wait_until(lambda: system.call("alice", "GET", read).status == 200, 30, "recovery of the upstream")


def recorded(system, answer):
    """The audit records of an answer's decision, by the id that it carried."""
    decision = answer.headers["x-tracegate-decision-id"]
    events = []

    def found():
        events[:] = processes.audit_query(system.gate.url, system.tokens["admin"], "--decision-id", decision)
        return any(event["kind"] == "complete" for event in events)

    processes.wait_until(found, 10, f"the audit record of decision {decision}")
    return events


# Stands before MLflow: what Tracegate sees is that nobody listens, or nobody answers, or nonsense.
MODES = [
    pytest.param("down", {502, 503}, id="down"),
    pytest.param("stall", {503, 504}, id="slow"),
    pytest.param("rubbish", {502, 503}, id="rubbish"),
]


def break_upstream(system, mode):
    system.chaos.set("closed" if mode == "down" else mode)


class TestAnUpstreamThatFails:
    @pytest.mark.parametrize("mode, statuses", MODES)
    @pytest.mark.parametrize("kind", ["read", "search", "write", "otlp", "new experiment"])
    def test_is_a_clear_error_and_is_audited(self, system, mode, statuses, kind):
        break_upstream(system, mode)
        fresh = new_trace_id()
        answer = {
            "read": lambda: system.call("alice", "GET", f"/api/3.0/mlflow/traces/{system.trace}"),
            "search": lambda: system.call("alice", "POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": [system.mine]}),
            "write": lambda: system.call("alice", "POST", "/api/3.0/mlflow/traces", start_trace(fresh, system.mine)),
            "otlp": lambda: system.call("alice", "POST", "/v1/traces", wire.otlp(fresh), [OTLP, into(system.mine)]),
            "new experiment": lambda: system.call("alice", "POST", "/api/2.0/mlflow/experiments/create", {"name": f"x-{fresh}"}),
        }[kind]()
        assert answer.status in statuses, f"{answer.status}: {answer.text[:300]}"
        if kind != "otlp":
            assert answer.error_code in ("TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED"), answer.text
            assert answer.json()["message"]
        events = recorded(system, answer)
        complete = next(event for event in events if event["kind"] == "complete")
        assert complete["outcome"] in ("failed", "interrupted"), complete
        assert complete["status"] == answer.status

    def test_a_write_that_failed_may_be_tried_again(self, system):
        """The claim on a trace id does not keep its own author out."""
        fresh = new_trace_id()
        break_upstream(system, "stall")
        first = system.call("alice", "POST", "/api/3.0/mlflow/traces", start_trace(fresh, system.mine))
        assert first.status >= 500
        system.chaos.set("pass")
        body = start_trace(fresh, system.mine)
        processes.wait_until(
            lambda: system.call("alice", "POST", "/api/3.0/mlflow/traces", body).status == 200, 20, "the second attempt"
        )

    def test_cut_off_in_the_middle_of_a_body(self, system):
        """Half an answer is never passed off as a whole one."""
        target = f"/api/3.0/mlflow/traces/{system.trace}"
        whole = wire.exchange(system.mlflow.url, f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        # Headers and all but the end of the body.
        system.chaos.set("cut", len(whole) - 60)
        payload = (f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                   f"Authorization: {wire.basic('alice', system.tokens['alice'])}\r\n\r\n").encode()
        received = wire.exchange(system.gate.url, payload, SOON)
        head, _, rest = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1]) if head else None
        if status == 200:
            text = head.decode().lower()
            if "transfer-encoding: chunked" in text:
                assert not rest.endswith(b"0\r\n\r\n"), "a truncated body was ended as if it were whole"
            else:
                length = next(int(line.split(":")[1]) for line in text.splitlines() if line.startswith("content-length"))
                assert len(rest) < length
        else:
            assert status in (None, 502, 503), received[:300]

    def test_an_answer_that_is_not_what_was_asked_for(self, system):
        system.chaos.set("lie")
        body = {"max_results": 10}
        answer = system.call("alice", "POST", "/api/2.0/mlflow/experiments/search", body)
        assert answer.status in (502, 503), f"{answer.status}: {answer.text[:300]}"
        answer = system.call("alice", "GET", f"/api/3.0/mlflow/traces/{new_trace_id()}")
        assert answer.status in (403, 404, 502, 503), answer.text

    def test_the_sdk_raises_a_clean_exception(self, system):
        settings = {
            "MLFLOW_TRACKING_URI": system.gate.url, "MLFLOW_TRACKING_USERNAME": "alice",
            "MLFLOW_TRACKING_PASSWORD": system.tokens["alice"], "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        }
        alice = Caller("alice", settings, "scenarios3", system.directory / "alice.log")
        try:
            break_upstream(system, "down")
            outcome = alice.run("get_experiment", experiment_id=system.mine)
        finally:
            alice.stop()
        assert outcome.error is not None
        assert outcome.error["type"].startswith("mlflow.exceptions."), outcome.error["traceback"]

    def test_refusals_do_not_need_the_upstream(self, system):
        break_upstream(system, "down")
        answer = system.call("carol", "GET", f"/api/2.0/mlflow/experiments/get?experiment_id={system.mine}")
        assert answer.status == 403, answer.text

    def test_its_own_health_says_so(self, system):
        break_upstream(system, "down")
        assert requests.get(system.gate.url + "/healthz", timeout=SOON).status_code == 200

    def test_a_stopped_process(self, system):
        """The real one, frozen: connections are accepted by the kernel and nobody answers."""
        system.mlflow.signal_all(signal.SIGSTOP)
        try:
            answer = system.call("alice", "GET", f"/api/3.0/mlflow/traces/{system.trace}")
        finally:
            system.mlflow.signal_all(signal.SIGCONT)
        assert answer.status in (503, 504), f"{answer.status}: {answer.text[:300]}"
        recorded(system, answer)


class Load:
    """Writers and readers that note every answer they got, until told to stop."""

    def __init__(self, url, tokens, experiment):
        self.url, self.tokens, self.experiment = url, tokens, experiment
        self.answered = []  # (decision id, method, target, trace id or None, status)
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(6)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def _run(self, number):
        session = requests.Session()
        session.auth = ("alice", self.tokens["alice"])
        session.trust_env = False
        last = None
        while not self.stopping.is_set():
            trace_id = "tr-" + secrets.token_hex(16)
            try:
                if number % 3 == 0 and last:
                    target, trace_id = f"/api/3.0/mlflow/traces/{last}", None
                    answer = session.get(self.url + target, timeout=30)
                elif number % 3 == 1:
                    target = "/v1/traces"
                    headers = {"Content-Type": "application/x-protobuf", "X-Mlflow-Experiment-Id": self.experiment}
                    answer = session.post(self.url + target, data=wire.otlp(trace_id), headers=headers, timeout=30)
                else:
                    target = "/api/3.0/mlflow/traces"
                    answer = session.post(self.url + target, json=start_trace(trace_id, self.experiment), timeout=30)
            except requests.RequestException:
                time.sleep(0.05)
                continue
            if answer.status_code == 200 and trace_id:
                last = trace_id
            decision = answer.headers.get("X-Tracegate-Decision-Id")
            self.answered.append((decision, answer.request.method, target, trace_id, answer.status_code))


class TestKillMinusNine:
    @pytest.fixture(scope="class")
    def killed(self, tmp_path_factory):
        """A Tracegate that was killed twice under load and started again: what it had answered, and itself."""
        directory = tmp_path_factory.mktemp("killed")
        mlflow = processes.start_mlflow(directory / "mlflow")
        gate = processes.start_demo(directory, mlflow.url)
        servers = [gate]
        try:
            tokens = gate.details["tokens"]
            experiment = str(gate.details["experiments"]["support-bot"])
            answered = []
            # Twice: the second kill meets a spool that was recovered once.
            for _ in range(2):
                load = Load(gate.url, tokens, experiment)
                load.start()
                try:
                    processes.wait_until(lambda: len(load.answered) >= 150, 60, "some load")  # noqa: B023
                    gate.signal_all(signal.SIGKILL)
                    gate.process.wait(10)
                finally:
                    load.stop()
                answered += load.answered
                gate = processes.start_serve(directory, mlflow.url)
                servers.append(gate)
            yield SimpleNamespace(
                gate=gate, mlflow=mlflow, tokens=tokens, experiment=experiment, answered=answered, directory=directory
            )
        finally:
            for server in servers:
                server.stop()
            mlflow.stop()

    def test_every_answer_was_a_good_one_with_a_decision_id(self, killed):
        assert all(decision for decision, *_ in killed.answered)
        assert {status for *_, status in killed.answered} == {200}
        writes = [trace_id for *_, trace_id, _ in killed.answered if trace_id]
        assert 50 < len(writes) < len(killed.answered), "the load was not mixed"

    def test_every_acknowledged_write_is_in_mlflow(self, killed):
        writes = [trace_id for *_, trace_id, _ in killed.answered if trace_id]
        missing = [
            trace_id
            for trace_id in writes
            if requests.get(f"{killed.mlflow.url}/api/3.0/mlflow/traces/{trace_id}", timeout=30).status_code != 200
        ]
        assert not missing, f"{len(missing)} of {len(writes)} acknowledged writes are not in MLflow"

    def test_every_answered_request_is_in_the_record(self, killed):
        records = {}
        for event in processes.audit_query(killed.gate.url, killed.tokens["admin"], "--principal", "user:alice"):
            records.setdefault(event["decision_id"], set()).update(event.get("trace_ids", []))
        for decision, method, target, trace_id, _ in killed.answered:
            asked = trace_id or target.rsplit("/", 1)[1]
            assert decision in records, f"{method} {target} was answered and has no audit record ({decision})"
            assert asked in records[decision], f"the record of {method} {target} does not name {asked}"

    def test_the_chain_of_the_record_is_whole(self, killed):
        spool = killed.directory / "copied-spool"
        shutil.copytree(killed.directory / "data" / "audit", spool)
        completed = subprocess.run(
            [processes.tracegate_binary(), "audit", "verify", str(spool)], capture_output=True, text=True, timeout=60
        )
        assert completed.returncode == 0, completed.stdout + completed.stderr

    @pytest.mark.parametrize("who, status", [("alice", 200), ("bob", 200), ("carol", 403), ("dave", 403)])
    def test_tokens_and_grants_are_what_they_were(self, killed, who, status):
        target = f"/api/2.0/mlflow/experiments/get?experiment_id={killed.experiment}"
        answer = wire.request(killed.gate.url, "GET", target, [("Authorization", wire.basic(who, killed.tokens[who]))])
        assert answer.status == status, answer.text
