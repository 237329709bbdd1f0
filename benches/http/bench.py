"""What Tracegate costs: requests per second and latency, beside MLflow alone, its own basic-auth, and nginx.

`make bench` runs it. Two halves, in one run on one machine:

- before a real MLflow server: MLflow alone, Tracegate, MLflow's basic-auth without and with its cache;
- before a trivial fast upstream, where the gateway itself is what is measured: nothing between,
  nginx `proxy_pass`, nginx `auth_request`, Tracegate.

Each at 1, 16 and 64 connections: a trace read by id; spans written by OTLP into one trace again and
again; spans written under a new trace id each time (a claim in the store, so an fsync or two). At the
end, the memory of Tracegate with 64 connections carrying 20 MB bodies each way.

The load generator shares the machine with what it measures: read ratios, not absolutes.
"""

import argparse
import json
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "tests" / "clients"))

import nginx  # noqa: E402
import requests  # noqa: E402
from harness import processes, wire  # noqa: E402

CONNECTIONS = (1, 16, 64)
LARGE_MEGABYTES = 20


def say(*parts):
    print(*parts, flush=True)


# --- one cell -----------------------------------------------------------------------------


class Bench:
    def __init__(self, directory, seconds):
        self.directory = Path(directory)
        self.seconds = seconds
        self._files = 0

    def file(self, content):
        self._files += 1
        path = self.directory / f"input-{self._files}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def measure(self, url, method, headers, connections, body=None, offset=None, hexadecimal=False, seconds=None, timeout=10):
        """Runs wrk once; requests per second, p50 and p99 in microseconds, and what went wrong.

        `offset`: where in the body each request has another trace id; several with commas between.
        """
        arguments = [method, self.file("".join(f"{name}: {value}\n" for name, value in headers.items()))]
        if body is not None:
            arguments.append(self.file(body))
            if offset is not None:
                arguments += [str(offset), *(["hex"] if hexadecimal else [])]
        command = [
            "wrk", "-t", str(min(connections, 2)), "-c", str(connections), "-d", f"{seconds or self.seconds}s",
            "--timeout", f"{timeout}s", "-s", str(HERE / "request.lua"), url, "--", *map(str, arguments),
        ]
        completed = subprocess.run(command, capture_output=True, text=True, timeout=120)
        line = next((line for line in completed.stdout.splitlines() if line.startswith("{")), None)
        if line is None:
            raise RuntimeError(f"wrk said nothing useful:\n{completed.stdout}\n{completed.stderr}")
        result = json.loads(line)
        result["rate"] = result["requests"] / result["seconds"]
        return result


class Target:
    """Something to send to: a base URL, the headers that let one in, and where the traces are."""

    def __init__(self, name, url, experiment, trace_id, headers=None):
        self.name, self.url, self.experiment, self.trace_id = name, url.rstrip("/"), experiment, trace_id
        self.headers = headers or {}

    def workload(self, kind):
        if kind == "read":
            return {"url": f"{self.url}/api/3.0/mlflow/traces/{self.trace_id}", "method": "GET", "headers": self.headers}
        body = wire.otlp(self.trace_id, attributes={"gen_ai.prompt": "hello " * 30, "gen_ai.completion": "world " * 30})
        headers = {**self.headers, "Content-Type": "application/x-protobuf", "X-Mlflow-Experiment-Id": self.experiment}
        given = {"url": f"{self.url}/v1/traces", "method": "POST", "headers": headers, "body": body}
        if kind == "write, new id":
            given["offset"] = body.index(bytes.fromhex(self.trace_id.removeprefix("tr-")))
        return given

    def check(self):
        """One call of each kind must work before it is measured."""
        for kind in KINDS:
            given = self.workload(kind)
            response = requests.request(given["method"], given["url"], headers=given["headers"], data=given.get("body"), timeout=60)
            if response.status_code != 200:
                raise SystemExit(f"error: {self.name}: {kind} answered {response.status_code}: {response.text[:300]}")


    def settle(self, seconds=6):
        """Lets a server work off what it still has queued of a load that is over."""
        given = self.workload("read")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            start = time.monotonic()
            try:
                requests.get(given["url"], headers=given["headers"], timeout=seconds)
            except requests.RequestException:
                continue
            if time.monotonic() - start < 1:
                return


KINDS = ("read", "write, one id", "write, new id")


def row(target, connections, cell, ratio=""):
    wrong = ", ".join(f"{key} {cell[key]}" for key in ("bad_status", "broken", "timeouts") if cell[key])
    if not cell["requests"]:
        return f"{target.name:28} {connections:5} {'no answer in the time':>29} {ratio:>12}  {wrong}"
    p50, p99 = cell["p50_us"] / 1000, cell["p99_us"] / 1000
    return f"{target.name:28} {connections:5} {cell['rate']:9.0f} {p50:9.2f} {p99:9.2f} {ratio:>12}  {wrong}"


HEADER = f"{'':28} {'conns':>5} {'req/s':>9} {'p50 ms':>9} {'p99 ms':>9}"


def table(results, targets, reference):
    """One half: a block for each kind and number of connections, with ratios."""
    for kind in KINDS:
        say(f"\n{kind}\n{HEADER} {'of ' + reference.split()[-1]:>12}")
        for connections in CONNECTIONS:
            base = results[kind, connections, reference]["rate"]
            for target in targets:
                cell = results[kind, connections, target.name]
                say(row(target, connections, cell, f"{cell['rate'] / base:.2f}" if base else "-"))


def run_one(bench, target):
    """All cells of one target, alone on the machine but for its load; prints each as it is done."""
    target.check()
    say(f"\n{target.name}\n{HEADER}")
    results = {}
    for connections in CONNECTIONS:
        for kind in KINDS:
            results[kind, connections, target.name] = cell = bench.measure(connections=connections, **target.workload(kind))
            say(f"{row(target, connections, cell)}{kind}")
            target.settle()
    return results


def run_in_turn(bench, targets):
    """All cells, the targets one after the other in each: what the machine does meanwhile meets all alike."""
    for target in targets:
        target.check()
    results = {}
    for kind in KINDS:
        for connections in CONNECTIONS:
            for target in targets:
                results[kind, connections, target.name] = bench.measure(connections=connections, **target.workload(kind))
            say(f"measured: {kind}, {connections} connections")
    return results


# --- the servers --------------------------------------------------------------------------


def seed(url, experiment, headers=None):
    """One small trace with its span; its id."""
    trace_id = "tr-" + secrets.token_hex(16)
    info = json.loads(nginx.trace_info(trace_id, experiment))
    info["trace"]["trace_info"]["tags"].pop("mlflow.artifactLocation")
    for response in (
        requests.post(f"{url}/api/3.0/mlflow/traces", json=info, headers=headers, timeout=60),
        requests.post(
            f"{url}/v1/traces", data=wire.otlp(trace_id), timeout=60,
            headers={**(headers or {}), "Content-Type": "application/x-protobuf", "X-Mlflow-Experiment-Id": experiment},
        ),
    ):
        response.raise_for_status()
    return trace_id


def start_basic_auth(directory, cache_seconds):
    """MLflow's own access control, with a user that may edit one experiment; a target, and its server."""
    directory = Path(directory)
    directory.mkdir(parents=True)
    password = secrets.token_urlsafe(18)
    configuration = directory / "basic_auth.ini"
    configuration.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{directory}/auth.db\nadmin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "grant_default_workspace_access = false\n"
        f"auth_cache_ttl_seconds = {cache_seconds}\n"
    )
    server = processes.start_mlflow(
        directory, arguments=["--app-name", "basic-auth"],
        environment={
            "MLFLOW_AUTH_CONFIG_PATH": str(configuration),
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        },
    )
    admin = ("admin", password)

    def post(path, body):
        response = requests.post(server.url + path, json=body, auth=admin, timeout=60)
        response.raise_for_status()
        return response.json()

    post("/api/2.0/mlflow/users/create", {"username": "alice", "password": password})
    experiment = post("/api/2.0/mlflow/experiments/create", {"name": "bench"})["experiment_id"]
    post(
        "/api/3.0/mlflow/users/permissions/grant",
        {"username": "alice", "resource_type": "experiment", "resource_id": experiment, "permission": "EDIT"},
    )
    headers = {"Authorization": wire.basic("alice", password)}
    name = "MLflow basic-auth, cache" if cache_seconds else "MLflow basic-auth"
    return Target(name, server.url, experiment, seed(server.url, experiment, headers), headers), server


def fsync_microseconds(directory):
    """The median of one small append with fsync, which a durable write cannot be faster than."""
    times = []
    with open(Path(directory) / "fsync-probe", "ab", buffering=0) as file:
        for _ in range(200):
            start = time.perf_counter()
            file.write(b"x" * 512)
            os.fsync(file.fileno())
            times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times)


# --- the two halves -----------------------------------------------------------------------


def before_mlflow(bench, directory, running):
    """One server at a time, each with the machine for itself."""
    mlflow = processes.start_mlflow(directory / "mlflow")
    running.append(mlflow)
    gate = processes.start_demo(directory / "tracegate", mlflow.url)
    running.append(gate)
    experiment = str(gate.details["experiments"]["support-bot"])
    headers = {"Authorization": wire.basic("alice", gate.details["tokens"]["alice"])}
    trace_id = seed(gate.url, experiment, headers)
    targets = [Target("MLflow", mlflow.url, experiment, trace_id), Target("Tracegate", gate.url, experiment, trace_id, headers)]
    results = {}
    for target in targets:
        results |= run_one(bench, target)
    stop_all(running)
    for cache_seconds in (300, 0):
        target, server = start_basic_auth(directory / f"basic-auth-{cache_seconds}", cache_seconds)
        running.append(server)
        targets.append(target)
        results |= run_one(bench, target)
        stop_all(running)
    table(results, targets, "MLflow")
    return results, gate.details, trace_id


def stop_all(running):
    while running:
        running.pop().stop()


def before_fast_upstream(bench, directory, running, details, trace_id):
    experiment = str(details["experiments"]["support-bot"])
    ports = {name: processes.free_port() for name in ("upstream", "judge", "plain", "asking")}
    folder = directory / "nginx"
    nginx.write_large_trace(folder, trace_id, experiment, LARGE_MEGABYTES)
    servers = nginx.UPSTREAM.format(
        port=ports["upstream"], directory=folder, trace_id=trace_id, trace=nginx.trace_info(trace_id, experiment),
        experiment=nginx.experiment_info(experiment),
    )
    upstream = nginx.start(processes, "fast-upstream", folder, ports["upstream"], servers, 1)
    running.append(upstream)
    proxies = nginx.start(processes, "proxies", folder, ports["plain"], nginx.PROXIES.format(**ports), "auto")
    running.append(proxies)
    # The demo's state: the trace is known to be support-bot's, and alice manages that.
    gate = processes.start_serve(directory / "tracegate", upstream.url)
    running.append(gate)
    headers = {"Authorization": wire.basic("alice", details["tokens"]["alice"])}
    local = "http://127.0.0.1:{}".format
    targets = [
        Target("nothing between", upstream.url, experiment, trace_id),
        Target("nginx proxy_pass", local(ports["plain"]), experiment, trace_id),
        Target("nginx auth_request", local(ports["asking"]), experiment, trace_id),
        Target("Tracegate", gate.url, experiment, trace_id, headers),
    ]
    results = run_in_turn(bench, targets)
    table(results, targets, "nginx proxy_pass")
    return results, gate, Target("Tracegate", gate.url, experiment, trace_id, headers)


def memory(bench, gate, target):
    """Resident memory of Tracegate: idle, and its highest while 64 connections carry large bodies."""
    say(f"\nmemory of Tracegate, MiB resident\n{'idle':44} {gate.memory_kib() / 1024:8.1f}")
    body = wire.otlp(target.trace_id, attributes={"text": "x" * (LARGE_MEGABYTES * 1024 * 1024)})
    headers = {**target.headers, "Content-Type": "application/x-protobuf", "X-Mlflow-Experiment-Id": target.experiment}
    sent = {"url": f"{target.url}/v1/traces", "method": "POST", "headers": headers, "body": body}
    read = {"url": f"{target.url}/api/3.0/mlflow/traces/get?trace_id={target.trace_id}", "method": "GET", "headers": target.headers}
    highest = {}
    for name, given in (("written", sent), ("read", read)):
        # Linux: sets the recorded maximum back to the present size.
        Path(f"/proc/{gate.pid}/clear_refs").write_text("5")
        cell = bench.measure(connections=64, seconds=10, timeout=60, **given)
        highest[name] = gate.memory_kib("VmHWM") / 1024
        rate = cell["rate"] * LARGE_MEGABYTES
        wrong = ", ".join(f"{key} {cell[key]}" for key in ("bad_status", "broken", "timeouts") if cell[key])
        label = f"64 connections, {LARGE_MEGABYTES} MB bodies {name}"
        say(f"{label:44} {highest[name]:8.1f}   {cell['requests']} bodies, {rate:.0f} MB/s  {wrong}")
    return highest


def summary(fast, fsync, highest):
    """The aims, each beside what was reached."""

    def rate(kind, connections, name):
        return fast[kind, connections, name]["rate"]

    def added(kind):
        return fast[kind, 1, "Tracegate"]["p50_us"] - fast[kind, 1, "nothing between"]["p50_us"]

    say("\naims, and what was reached (fast upstream)")
    for kind in KINDS:
        for connections in CONNECTIONS:
            ours = rate(kind, connections, "Tracegate")
            say(
                f"  {kind:14} {connections:3} connections: {ours / rate(kind, connections, 'nginx proxy_pass'):.2f} of proxy_pass (aim 0.70), "
                f"{ours / rate(kind, connections, 'nginx auth_request'):.2f} of auth_request (aim 2.50)"
            )
    say(f"  read: {added('read')} µs added to the median with one connection (aim 150)")
    say(f"  one fsync here: {fsync:.0f} µs")
    for kind in KINDS[1:]:
        say(f"  {kind}: {added(kind)} µs added to the median with one connection (aim 150 and the fsyncs)")
    for name, value in highest.items():
        say(f"  20 MB bodies {name} on 64 connections: {value:.0f} MiB resident at most (aim 80)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3, help="of load for each cell")
    parser.add_argument("--only", choices=["mlflow", "fast"], help="one half alone (`fast` needs a short start of MLflow all the same)")
    parser.add_argument("--json", type=Path, help="also write every cell to this file")
    arguments = parser.parse_args()
    say(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.seconds} s a cell; the load generator runs on the same machine")
    started = time.monotonic()
    running = []
    with tempfile.TemporaryDirectory(prefix="tracegate-bench-") as directory:
        directory = Path(directory)
        bench = Bench(directory, arguments.seconds)
        try:
            if arguments.only == "fast":
                mlflow, details, trace_id = {}, *prepare(directory)
            else:
                say("\n=== before a real MLflow server (one worker, SQLite)")
                mlflow, details, trace_id = before_mlflow(bench, directory, running)
            fast = {}
            if arguments.only != "mlflow":
                say("\n=== before a trivial fast upstream (nginx, one worker)")
                fast, gate, target = before_fast_upstream(bench, directory, running, details, trace_id)
                highest = memory(bench, gate, target)
                summary(fast, fsync_microseconds(directory), highest)
        finally:
            stop_all(running)
    if arguments.json:
        rows = [
            {"upstream": upstream, "kind": kind, "connections": connections, "target": name, **cell}
            for upstream, results in (("mlflow", mlflow), ("fast", fast))
            for (kind, connections, name), cell in results.items()
        ]
        arguments.json.write_text(json.dumps(rows, indent=1))
    say(f"\nbench: done in {time.monotonic() - started:.0f} s")


def prepare(directory):
    """Just the state that the second half needs."""
    mlflow = processes.start_mlflow(directory / "mlflow")
    gate = processes.start_demo(directory / "tracegate", mlflow.url)
    try:
        headers = {"Authorization": wire.basic("alice", gate.details["tokens"]["alice"])}
        return gate.details, seed(gate.url, str(gate.details["experiments"]["support-bot"]), headers)
    finally:
        gate.stop()
        mlflow.stop()


if __name__ == "__main__":
    main()
