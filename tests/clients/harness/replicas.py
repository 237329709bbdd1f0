"""Two gateways over one PostgreSQL, before an upstream that knows every experiment and answers at once.

The second gateway reaches PostgreSQL through a proxy that can be cut, so what it still allows without its
database, and what it knows again afterwards, can be asked of it.
"""

import http.client
import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from . import postgres, processes, wire
from .chaos import Chaos


class Everything(BaseHTTPRequestHandler):
    """As much of MLflow as a demo asks for when nothing is new: any experiment exists."""

    protocol_version = "HTTP/1.1"
    # Else each answer on a kept connection waits for a delayed acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self):
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        if address.path.endswith("/experiments/get-by-name"):
            name = query["experiment_name"]
            self._answer({"experiment": self._experiment("1" if name == "support-bot" else "2", name)})
        elif address.path.endswith("/experiments/get"):
            self._answer({"experiment": self._experiment(query["experiment_id"], f"number {query['experiment_id']}")})
        elif address.path.endswith("/experiments/search"):
            self._answer({"experiments": [self._experiment("1", "support-bot"), self._experiment("2", "secret-lab")]})
        elif address.path in ("/health", "/version"):
            self._answer("3.17.2" if address.path == "/version" else "OK")
        else:
            self._answer({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not here"}, 404)

    def _experiment(self, number, name):
        return {
            "experiment_id": number, "name": name, "artifact_location": f"mlflow-artifacts:/{number}", "lifecycle_stage": "active",
        }

    def _answer(self, content, status=200):
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Upstream:
    """Serves `Everything` at `url`, on loopback."""

    def __init__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Everything)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Said:
    """One answer of a gateway, with when it was asked for and when it came, in seconds of a monotonic clock."""

    status: int
    version: int | None
    asked: float
    came: float

    @property
    def allowed(self):
        return self.status == 200


class Connection:
    """A kept connection of one caller to one gateway."""

    def __init__(self, url, name, token):
        self._address = urlsplit(url).netloc
        self._headers = {"Authorization": wire.basic(name, token)}
        self._connection = None

    def call(self, method, target, body=None, headers=None):
        """Status, headers and body. Asked again once if the gateway had closed the kept connection."""
        for attempt in (1, 2):
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._address, timeout=30)
            try:
                content = json.dumps(body) if body is not None else None
                more = {"Content-Type": "application/json"} if body is not None else {}
                self._connection.request(method, target, content, {**self._headers, **more, **(headers or {})})
                answer = self._connection.getresponse()
                return answer.status, answer.headers, answer.read()
            except (http.client.HTTPException, ConnectionError):
                self._connection.close()
                self._connection = None
                if attempt == 2:
                    raise

    def may_see(self, experiment, minimum_version=None):
        headers = {"X-Tracegate-Minimum-Policy-Version": str(minimum_version)} if minimum_version is not None else None
        asked = time.monotonic()
        status, answered, _ = self.call("GET", f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}", headers=headers)
        version = answered.get("X-Tracegate-Policy-Version")
        return Said(status, int(version) if version else None, asked, time.monotonic())

    def change(self, method, target, body=None):
        """A change of policy: what was answered, and when the answer came."""
        status, _, answered = self.call(method, f"/api/tracegate/v1/{target}", body)
        came = time.monotonic()
        if status != 200:
            raise RuntimeError(f"{method} {target} answered {status}: {answered[:300]!r}")
        return json.loads(answered), came

    def grant(self, principal, experiment):
        """The grant's id, the version from which it holds, and when that was answered."""
        wanted = {"principal": principal, "securable": f"experiment:{experiment}", "privilege": "CAN_READ"}
        made, came = self.change("POST", "grants", wanted)
        return made["grant"]["id"], made["policy_version"], came

    def revoke(self, grant):
        """The version from which it is gone, and when that was answered."""
        gone, came = self.change("DELETE", f"grants/{grant}")
        return gone["policy_version"], came


class Pair:
    """`first` and `second` are the gateways; `link` is what stands between the second and PostgreSQL."""

    def __init__(self, directory, **environment):
        directory = Path(directory)
        self._upstream = Upstream()
        upstream = self._upstream.url
        self._running = []
        self.link = None
        try:
            self.database = postgres.start(directory / "postgres")
            direct = self.database.details["url"]
            self.link = Chaos(direct)
            through = direct.replace(urlsplit(direct).netloc, f"postgres@{urlsplit(self.link.url).netloc}")
            self.first = processes.start_demo(directory / "first", upstream, TRACEGATE__DATABASE__URL=direct, **environment)
            self._running.append(self.first)
            self.second = processes.start_serve(
                self._place(directory / "second"), upstream, TRACEGATE__DATABASE__URL=through, **environment
            )
            self._running.append(self.second)
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def _place(directory):
        directory.mkdir()
        return directory

    def connect(self, replica, name):
        return Connection(replica.url, name, self.first.details["tokens"][name])

    def stop(self):
        while self._running:
            self._running.pop().stop()
        if self.link:
            self.link.stop()
        if hasattr(self, "database"):
            postgres.stop(self.database)
        self._upstream.stop()


def until(question, seconds, what):
    """Asks until the answer is as wanted; every answer on the way. `question` gives an answer and whether it is it."""
    deadline = time.monotonic() + seconds
    answers = []
    while True:
        answer, is_it = question()
        answers.append(answer)
        if is_it:
            return answers
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not after {seconds} s; last: {answer}")
