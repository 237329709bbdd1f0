"""Three gateways on one PostgreSQL before one MLflow, under the load of real clients, while what can happen to them
happens: nothing that was acknowledged is lost, nobody is let through or kept out who should not be.

Every event once, in about a minute with the start; or `TRACEGATE_SOAK_SECONDS` (`make soak`: ten of them). `TRACEGATE_SOAK_REPORT` names a file for the
figures; `TRACEGATE_SOAK_SEED` repeats the order of a longer run's events.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from chaos import EVENTS, Chaos
from cluster import TOKEN_CACHE_SECONDS, Cluster
from harness import processes
from sdk_clients import WHO
from verdict import LIMIT_PER_SECOND, Verdict

HERE = Path(__file__).resolve().parent
SHORT = 45
SECONDS = int(os.environ.get("TRACEGATE_SOAK_SECONDS", SHORT))
CLIENTS = ["sdk-writer", "sdk-agent", "sdk-reader", "sdk-lister", "sdk-exporter", "http"]


def say(text):
    print(text, flush=True)


def seed_rights(cluster):
    """Principals beside those of the demo, who come in after the migration."""
    for name in ("edith", "zoe", "tim"):
        cluster.admin("POST", "/api/tracegate/v1/principals", {"principal": f"user:{name}"})
        made = cluster.admin("POST", "/api/tracegate/v1/tokens", {"name": "soak", "principal": f"user:{name}"})
        cluster.tokens[name] = made["token"]
    cluster.experiments["limited"] = cluster.admin("POST", "/api/2.0/mlflow/experiments/create", {"name": "limited"})["experiment_id"]
    for name, level in (("support-bot", "CAN_EDIT"), ("limited", "CAN_READ")):
        grant = {"principal": "user:edith", "securable": f"experiment:{cluster.experiments[name]}", "privilege": level}
        cluster.admin("POST", "/api/tracegate/v1/grants", grant)
    limit = {"securable": f"experiment:{cluster.experiments['limited']}", "name": "requests_per_second", "value": LIMIT_PER_SECOND}
    made = cluster.admin("PUT", "/api/tracegate/v1/limits", limit)
    # Those that are asked first must not be asked by the policy before.
    for replica in cluster.replicas:
        processes.wait_until(
            lambda: knows(cluster, replica, made["policy_version"]), 60, f"{replica.name} knows everybody"  # noqa: B023
        )


def knows(cluster, replica, version):
    import requests

    answer = requests.get(f"{replica.url}/readyz", verify=cluster.trusted, timeout=5)
    return answer.status_code == 200 and answer.json()["policy_version"] >= version


class Load:
    """The client processes."""

    def __init__(self, cluster):
        self.directory = cluster.directory / "ledgers"
        self.directory.mkdir()
        secret = cluster.experiments["secret-lab"]
        settings = json.dumps({
            "url": cluster.url, "replicas": [replica.url for replica in cluster.replicas], "trusted": cluster.trusted,
            "tokens": cluster.tokens, "experiments": cluster.experiments, "ledgers": str(self.directory),
            "token_cache_seconds": TOKEN_CACHE_SECONDS,
            "foreign_traces": [row[0] for row in cluster.sql(f"SELECT trace FROM trace_claims WHERE experiment = '{secret}'")],
        })
        self.running = {}
        for kind in CLIENTS:
            environment = processes.clean_environment(PYTHONPATH=str(HERE), REQUESTS_CA_BUNDLE=cluster.trusted)
            if kind in WHO:
                environment |= {
                    "MLFLOW_TRACKING_URI": cluster.url, "MLFLOW_TRACKING_TOKEN": cluster.tokens[WHO[kind]],
                    "MLFLOW_TRACKING_SERVER_CERT_PATH": cluster.trusted, "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
                    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7",
                }
            log = self.directory / f"{kind}.log"
            self.running[kind] = (
                processes.spawn(kind, [sys.executable, HERE / "load.py", kind, settings], log, environment, self.directory), log
            )

    def wait_begun(self):
        for kind in CLIENTS:
            processes.wait_until(
                lambda: (self.directory / f"{kind}.begun").exists(), 180, f"the client {kind}", lambda: not self.ended(kind)  # noqa: B023
            )

    def ended(self, kind):
        return self.running[kind][0].poll() is not None

    def check(self):
        for kind, (process, log) in self.running.items():
            assert process.poll() is None, f"the client {kind} ended:\n{log.read_text()[-3000:]}"

    def stop(self):
        for process, _ in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        ends = {}
        for kind, (process, log) in self.running.items():
            try:
                ends[kind] = process.wait(90)
            except subprocess.TimeoutExpired:
                # In the middle of the SDK's own retries; what it was answered is written.
                process.kill()
                process.wait(10)
                ends[kind] = 0
            if ends[kind] != 0:
                say(f"the client {kind} ended with {ends[kind]}:\n{log.read_text()[-3000:]}")
        return ends


def order_of(generator):
    """All events, and in later rounds in an order of their own."""
    yield from EVENTS
    while True:
        yield from generator.sample(EVENTS, len(EVENTS))


def backlog(cluster, replica):
    import requests

    text = requests.get(f"{replica.url}/metrics", verify=cluster.trusted, timeout=10).text
    return int(float(next(line.split()[1] for line in text.splitlines() if line.startswith("tracegate_audit_backlog "))))


def test_nothing_is_lost_and_nobody_gets_by(tmp_path):
    seed = int(os.environ.get("TRACEGATE_SOAK_SEED", random.randrange(2**32)))
    generator = random.Random(seed)
    cluster = Cluster(tmp_path)
    load = None
    try:
        cluster.wait_ready()
        seed_rights(cluster)
        load = Load(cluster)
        load.wait_begun()
        began = time.monotonic()
        say(f"\n{SECONDS} s of load on {processes.tracegate_binary()}, seed {seed}")
        short = SECONDS <= SHORT
        chaos = Chaos(cluster, generator, hold=2.5 if short else 6)
        for done, event in enumerate(order_of(generator)):
            # Every event at least once, however slow the machine is.
            if done >= len(EVENTS) and time.monotonic() - began >= SECONDS:
                break
            chaos.run(event)
            load.check()
            happened = chaos.happened[-1]
            say(f"  {happened['began'] - began:6.1f} s  {event}: {happened['ended'] - happened['began']:.1f} s")
            time.sleep(0.5 if short else 4)
        while time.monotonic() - began < SECONDS:
            load.check()
            time.sleep(0.5)
        seconds = round(time.monotonic() - began)
        ends = load.stop()
        load = None
        cluster.wait_ready()
        for replica in cluster.replicas:
            processes.wait_until(lambda: backlog(cluster, replica) == 0, 120, f"the record of {replica.name} is in the index")  # noqa: B023
            replica.server.stop()
            assert replica.server.process.returncode == 0, replica.server.log_tail()
        verdict = Verdict(cluster, chaos.happened, seconds)
        verdict.count()
    finally:
        if load:
            load.stop()
        cluster.stop()
    say(verdict.table())
    report = os.environ.get("TRACEGATE_SOAK_REPORT")
    if report:
        Path(report).write_text(json.dumps(verdict.as_json(), indent=1) + "\n")
    wrong = {name: found for name, found in verdict.wrong.items() if found["count"]}
    assert not wrong, json.dumps(wrong, indent=1)
    assert set(ends.values()) == {0}, ends
    # A run in which nothing was asked would be no proof.
    told = verdict.told
    assert min(told["acknowledged writes"].values()) > 5, told
    assert told["changes of policy acknowledged"] > 5 and min(told["decisions while rights changed"].values()) > 5, told
    assert told["pages continued at another replica"] > 0 and told["tokens"]["revoked"] > 0, told
    assert min(told["under a limit"].values()) > 0 and told["decisions judged"]["deny"] > 20, told
    skipped = [event for event in chaos.happened if event.get("skipped")]
    assert short or not skipped, skipped
