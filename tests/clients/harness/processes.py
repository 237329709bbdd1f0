"""The servers of a test run: a real MLflow, and Tracegate before it.

Each is stopped by its own process id, and each writes a log that is shown when it fails.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def clean_environment(**more):
    """This process's environment without any setting of MLflow, Tracegate or a proxy in it."""
    prefixes = ("MLFLOW_", "TRACEGATE_", "OTEL_", "DATABRICKS_")
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(prefixes) and key.lower() not in proxies
    }
    return {**kept, **QUIET, **more}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(ready, seconds, what, alive=lambda: True):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not alive():
            raise RuntimeError(f"{what}: the process ended")
        if ready():
            return
        time.sleep(0.05)
    raise RuntimeError(f"{what}: not ready after {seconds} s")


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


@dataclass
class Server:
    """A running process, its address and its log."""

    name: str
    url: str
    process: subprocess.Popen
    log: Path
    details: dict = field(default_factory=dict)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines=60):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def signal_all(self, number):
        """To the server and the processes it started: `mlflow server` is a parent of workers."""
        os.killpg(self.process.pid, number)

    def stop(self, number=signal.SIGTERM, seconds=20):
        if not self.alive():
            return
        self.signal_all(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal_all(signal.SIGKILL)
            self.process.wait(10)

    def memory_kib(self, field_name="VmRSS"):
        """Resident memory (`VmRSS`) or its highest value (`VmHWM`), from Linux's /proc."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field_name + ":"):
                return int(line.split()[1])
        raise RuntimeError(f"no {field_name} in /proc/{self.pid}/status")


def spawn(name, command, log, environment, directory):
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=directory,
            # A group of its own, so that stopping it stops its workers and nothing else.
            start_new_session=True,
        )


def start(name, command, url, log, environment, directory, ready, seconds):
    server = Server(name, url, spawn(name, command, log, environment, directory), log)
    try:
        wait_until(ready, seconds, name, server.alive)
    except Exception as error:
        server.stop()
        raise RuntimeError(f"{error}\n--- {name} log ---\n{server.log_tail()}") from None
    return server


def start_mlflow(directory, port=None, python=sys.executable, arguments=(), environment=None):
    """A tracking server over SQLite and a local artifact directory, on loopback."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        python, "-m", "mlflow", "server",
        "--host", "127.0.0.1", "--port", port,
        "--backend-store-uri", f"sqlite:///{directory}/mlflow.db",
        "--artifacts-destination", directory / "artifacts",
        # With more, each answer on a kept connection waits for a delayed acknowledgement.
        "--workers", "1",
        *arguments,
    ]
    return start(
        "mlflow", command, url, directory / "mlflow.log",
        clean_environment(**(environment or {})), directory,
        lambda: answers(url + "/health"), 120,
    )


def tracegate_binary():
    path = os.environ.get("TRACEGATE_BIN", "")
    if not path or not os.access(path, os.X_OK):
        raise RuntimeError("TRACEGATE_BIN must name the built tracegate (make test sets it)")
    return path


def start_demo(directory, mlflow_url, **environment):
    """`tracegate demo` before the given server, or with a store of its own if that is None.

    `details` holds what it wrote: url, tokens, experiments.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    report = directory / "demo.json"
    report.unlink(missing_ok=True)
    command = [
        tracegate_binary(), "demo", "--port", "0", "--data-dir", directory / "data",
        "--json", report, *(["--mlflow-url", mlflow_url] if mlflow_url else []),
    ]

    def ready():
        try:
            return bool(json.loads(report.read_text())["url"])
        except (OSError, ValueError, KeyError):
            return False

    server = start(
        "tracegate demo", command, "", directory / "tracegate.log",
        clean_environment(**environment), directory, ready, 60,
    )
    server.details = json.loads(report.read_text())
    server.url = server.details["url"].rstrip("/")
    return server


def start_serve(directory, mlflow_url, port=None, **environment):
    """`tracegate serve` on the data directory that a demo made in `directory`; its tokens stay good."""
    directory = Path(directory)
    port = port or free_port()
    state = directory / "data"
    config = directory / "serve.toml"
    config.write_text(
        f'[server]\nlisten = "127.0.0.1:{port}"\ndata_dir = "{state}"\n'
        + (f'\n[mlflow]\nurl = "{mlflow_url}"\n' if mlflow_url else "")
    )
    url = f"http://127.0.0.1:{port}"
    return start(
        "tracegate serve", [tracegate_binary(), "serve", "--config", config], url,
        directory / "serve.log", clean_environment(**environment), directory,
        # Its own health: MLflow may be down when it starts.
        lambda: answers(url + "/healthz"), 60,
    )


def audit_query(url, token, *arguments):
    """Every event that `tracegate audit query … --json` finds, newest first, all pages of it."""
    events, after = [], []
    while True:
        completed = subprocess.run(
            [tracegate_binary(), "audit", "query", *map(str, arguments), "--limit", "1000", *after, "--json"],
            env=clean_environment(TRACEGATE_URL=url, TRACEGATE_TOKEN=token),
            capture_output=True, text=True, timeout=60,
        )
        assert completed.returncode == 0, completed.stderr
        page = json.loads(completed.stdout)
        events += page["events"]
        if not page.get("next"):
            return events
        after = ["--after", page["next"]]
