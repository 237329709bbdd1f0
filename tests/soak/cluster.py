"""Three gateways with TLS, each on a loopback address of its own, one PostgreSQL and one MLflow; between each
gateway and each of those two a link that can be cut, and before the gateways a balancer.

The gateways start on a state that the version before wrote, so that their start is a migration with data.
"""

import ipaddress
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from cryptography import x509
from harness import postgres, processes
from network import Balancer, Link, Loop
from test_tls import Authority

import previous_state

NAMES = ("first", "second", "third")
ADDRESSES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
STALENESS_MS = 2000
TOKEN_CACHE_SECONDS = 3
SHUTDOWN_SECONDS = 5


@dataclass
class Replica:
    name: str
    directory: Path
    address: tuple
    database: Link
    mlflow: Link
    binary: str
    server: processes.Server | None = None

    @property
    def url(self):
        return f"https://{self.address[0]}:{self.address[1]}"

    @property
    def data(self):
        return self.directory / "data"

    @property
    def config(self):
        return self.directory / "tracegate.toml"


class Cluster:
    def __init__(self, directory):
        self.directory = Path(directory)
        self._stops = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        self.loop = Loop()
        self._stops.append(self.loop.stop)
        self.mlflow = processes.start_mlflow(self.directory / "mlflow")
        self._stops.append(self.mlflow.stop)
        # PostgreSQL's files must be reachable for its own user.
        self.database = postgres.start(self.directory / "postgres")
        self._stops.append(lambda: postgres.stop(self.database))
        self.tokens, self.experiments = previous_state.prepare(self)
        self.before = previous_state.contents(self)
        self.authority = Authority("soak")
        self.trusted = str(self.authority.pem(self.directory / "authority.pem"))
        self.rotate_certificate()
        new = processes.tracegate_binary()
        self.replicas = [
            self._replica(name, address, new) for name, address in zip(NAMES, ADDRESSES, strict=True)
        ]
        old = os.environ.get("TRACEGATE_OLD_BIN")
        if old:
            # The last one runs the version before until the rolling restart; it starts first, since the
            # others migrate under its feet.
            self.replicas[-1].binary = old
        for replica in reversed(self.replicas):
            self.start(replica)
        self.balancer = Balancer(self.loop, [replica.address for replica in self.replicas], self.trusted)
        self.url = "https://{}:{}".format(*self.balancer.address)

    def _replica(self, name, host, binary):
        database, mlflow = urlsplit(self.database.details["url"]), urlsplit(self.mlflow.url)
        directory = self.directory / name
        directory.mkdir()
        replica = Replica(
            name, directory, (host, processes.free_port()),
            Link(self.loop, (database.hostname, database.port)), Link(self.loop, (mlflow.hostname, mlflow.port)), binary,
        )
        database_at = "postgres://postgres@{}:{}/postgres".format(*replica.database.address)
        mlflow_at = "http://{}:{}".format(*replica.mlflow.address)
        replica.config.write_text(f"""
[server]
listen = "{host}:{replica.address[1]}"
data_dir = "{replica.data}"
tls_certificate = "{self.directory}/server.pem"
tls_key = "{self.directory}/server.key"
tls_reload_seconds = 1
shutdown_seconds = {SHUTDOWN_SECONDS}

[mlflow]
url = "{mlflow_at}"
response_timeout_ms = 5000
idle_timeout_ms = 5000
lookup_timeout_ms = 5000
breaker_open_ms = 500

[database]
url = "{database_at}"

[policy]
max_staleness_ms = {STALENESS_MS}
poll_ms = 250

[identity]
token_cache_seconds = {TOKEN_CACHE_SECONDS}

[audit]
replica = "{name}"
""")
        return replica

    # --- replicas ---------------------------------------------------------------------

    def start(self, replica):
        replica.server = processes.start(
            f"tracegate {replica.name}", [replica.binary, "serve", "--config", replica.config], replica.url,
            replica.directory / "serve.log", processes.clean_environment(), replica.directory,
            lambda: self.answers(replica, "/healthz"), 90,
        )

    def answers(self, replica, path):
        try:
            return requests.get(replica.url + path, verify=self.trusted, timeout=3).status_code == 200
        except requests.RequestException:
            return False

    def wait_ready(self, replicas=None, seconds=90):
        for replica in replicas or self.replicas:
            try:
                processes.wait_until(
                    lambda: self.answers(replica, "/readyz"), seconds, f"{replica.name} is ready", replica.server.alive  # noqa: B023
                )
            except RuntimeError as error:
                raise RuntimeError(f"{error}\n--- {replica.name} ---\n{replica.server.log_tail()}") from None

    def kill(self, replica):
        replica.server.signal_all(signal.SIGKILL)
        replica.server.process.wait(30)

    # --- what they stand on -----------------------------------------------------------

    def crash_database(self):
        """PostgreSQL ends at once, without a checkpoint, and starts again by its log of writes."""
        server = self.database
        server.signal_all(signal.SIGQUIT)
        server.process.wait(30)
        said = server.log_text().count("ready to accept connections")
        self.database = processes.start(
            "postgres", server.process.args, "", server.log, processes.clean_environment(), "/",
            lambda: server.log_text().count("ready to accept connections") > said, 90,
        )
        self.database.details = server.details

    def sql(self, statement):
        """The rows that a statement answers, as lists of texts."""
        program = Path(self.psql("psql"))
        done = subprocess.run(
            [program, self.database.details["url"], "-X", "-q", "-A", "-t", "-F", "\x1f", "-R", "\x1e", "-c", statement],
            capture_output=True, text=True, timeout=120, cwd="/",
        )
        assert done.returncode == 0, done.stderr
        text = done.stdout.removesuffix("\n").removesuffix("\x1e")
        return [row.split("\x1f") for row in text.split("\x1e")] if text else []

    def psql(self, program):
        return postgres.program(program)

    def rotate_certificate(self):
        """A new certificate for all replicas; each half takes its place by a rename. Its serial number."""
        names = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", *ADDRESSES)]
        certificate, _ = self.authority.write(self.directory, "server", names)
        return x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number

    def command(self, *arguments, replica=None, seconds=120):
        """Our own command line, as the administrator, at one replica."""
        replica = replica or self.replicas[0]
        environment = processes.clean_environment(
            TRACEGATE_URL=replica.url, TRACEGATE_TOKEN=self.tokens["admin"], SSL_CERT_FILE=self.trusted
        )
        return subprocess.run(
            [replica.binary, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=seconds
        )

    def admin(self, method, path, body=None, seconds=60):
        """Our API as the administrator, asked until a replica answers."""
        deadline = time.monotonic() + seconds
        while True:
            for replica in self.replicas:
                try:
                    answer = requests.request(
                        method, f"{replica.url}{path}", json=body, verify=self.trusted, timeout=10,
                        auth=("admin", self.tokens["admin"]),
                    )
                except requests.RequestException:
                    continue
                if answer.status_code < 500:
                    assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
                    return answer.json()
            assert time.monotonic() < deadline, f"{method} {path}: nobody answers"
            time.sleep(0.2)

    def stop(self):
        for replica in getattr(self, "replicas", []):
            if replica.server:
                # One that was frozen would not hear of it.
                if replica.server.alive():
                    replica.server.signal_all(signal.SIGCONT)
                replica.server.stop()
        while self._stops:
            self._stops.pop()()
