"""Sends each call to two servers and compares what they say.

Callers speak in the first server's identifiers; for the second they are translated. So a scenario is
written as if there were one server, and even an SDK that knows nothing of this can be the caller (`proxy`).
"""

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, urlencode, urlsplit

import compare
import tolerated
from operations import operation


class Missing(str):
    """What an answer does not have, so that a scenario goes on and the comparison says what was wrong."""

    def __getitem__(self, _key):
        return self


class Found(dict):
    def __missing__(self, _key):
        return Missing()


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def media_type(self):
        return (self.headers.get("content-type") or "").split(";")[0].strip()

    @cached_property
    def json(self):
        try:
            return json.loads(self.body.decode("utf-8", "replace"), object_hook=Found) if self.body else None
        except ValueError:
            return None

    @property
    def error_code(self):
        content = self.json
        return content.get("error_code") if isinstance(content, dict) else None

    def __getitem__(self, key):
        return self.json[key] if isinstance(self.json, dict) else Missing()


class Server:
    """A server and the headers that let one in. Keeps a connection for each thread."""

    def __init__(self, name, url, headers=None):
        self.name, self.url, self.headers = name, url.rstrip("/"), dict(headers or {})
        # Whether it writes down who called, which a server that asks for no name cannot.
        self.stamps = bool(self.headers)
        self._address = urlsplit(self.url)
        self._local = threading.local()

    def send(self, method, target, headers, body):
        for attempt in (1, 2):
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = http.client.HTTPConnection(
                    self._address.hostname, self._address.port, timeout=120
                )
            try:
                connection.putrequest(method, target, skip_accept_encoding=True)
                for name, value in {**headers, **self.headers}.items():
                    connection.putheader(name, value)
                if body is not None:
                    connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body or None)
                answer = connection.getresponse()
                content = answer.read()
                if answer.will_close:
                    self._local.connection = None
                return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)
            except (http.client.HTTPException, OSError):
                connection.close()
                self._local.connection = None
                # A kept connection may have been closed meanwhile; one that fails anew is a finding.
                if attempt == 2:
                    raise


@dataclass
class Difference:
    operation: str
    method: str
    target: str
    sent: bytes
    first: Answer
    second: Answer
    places: list
    rule: object = None

    def describe(self, limit=600):
        lines = [f"{self.operation}: {self.method} {short(self.target, limit)}"]
        if self.sent:
            lines.append(f"  sent      {short(self.sent, limit)}")
        lines.append(f"  mlflow    {self.first.status} {short(self.first.body, limit)}")
        lines.append(f"  tracegate {self.second.status} {short(self.second.body, limit)}")
        lines += [f"  {path}: {short(repr(one), 200)} / {short(repr(other), 200)}" for path, one, other in self.places[:8]]
        return "\n".join(lines)


def short(text, limit):
    text = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)})"


class Mirror:
    """`first` is a real MLflow, `second` the store under test."""

    def __init__(self, first, second, rules=None):
        self.first, self.second = first, second
        self.names = compare.Names()
        self.rules = tolerated.rules() if rules is None else rules
        self.differences = []
        self.calls = 0
        # Whether one alone took the last call: what the call would have made is there on that one only.
        self.parted = False
        self.seen = {}
        self._pool = ThreadPoolExecutor(1)
        self._lock = threading.Lock()

    # --- calls as scenarios make them -----------------------------------------------------

    def get(self, path, query=None, /, **fields):
        return self.call("GET", path, query=query if query is not None else fields)

    def post(self, path, body=None, /, **fields):
        return self.call("POST", path, body=body if body is not None else fields)

    def patch(self, path, body=None, /, **fields):
        return self.call("PATCH", path, body=body if body is not None else fields)

    def delete(self, path, body=None, /, **fields):
        return self.call("DELETE", path, body=body if body is not None else fields)

    def call(self, method, path, query=None, body=None, headers=None):
        """`path` without a slash before it is MLflow's 2.0 API. A body of bytes or text goes as it is."""
        target = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
        if query:
            target += "?" + (query if isinstance(query, str) else urlencode(query, doseq=True))
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).encode("utf-8", "surrogatepass")
            headers.setdefault("Content-Type", "application/json")
        return self.send(method, target, headers, body)

    def undo(self, method, path, body):
        """What the first server did and the second refused to do is taken back there."""
        target = f"/api/2.0/mlflow/{path}"
        answer = self.first.send(method, target, {"Content-Type": "application/json"}, json.dumps(body).encode())
        assert answer.status == 200, answer.body

    # --- sending and comparing ------------------------------------------------------------

    def send(self, method, target, headers, body):
        """The first server's answer."""
        with self._lock:
            other_body = body
            if body and is_text(headers):
                other_body = self.names.translate(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            other = self._pool.submit(
                self.second.send, method, self.names.translate(target),
                {name: self.names.translate(value) for name, value in headers.items()}, other_body,
            )
            first = self.first.send(method, target, headers, body)
            second = other.result()
            self._note(method, target, body, first, second)
            if target.split("?")[0].endswith("/experiments/create") and (first.status == 200) != (second.status == 200):
                # Numbers of experiments stay the same on both: see `align`.
                (self.second if first.status == 200 else self.first).send(
                    "POST", "/api/2.0/mlflow/experiments/create", {"Content-Type": "application/json"}, json.dumps({"name": f"filler {self.calls}"}).encode()
                )
            return first

    def _note(self, method, target, body, first, second):
        self.calls += 1
        self.parted = (first.status < 400) != (second.status < 400)
        name = operation(method, target)
        self.seen[name] = self.seen.get(name, 0) + 1
        places = list(self._compare(method, first, second))
        if not places:
            return
        found = Difference(name, method, target, body or b"", first, second, places)
        paths = [path for path, _, _ in places]
        found.rule = next((rule for rule in self.rules if rule.covers(name, first, second, paths)), None)
        if found.rule:
            found.rule.used += 1
        self.differences.append(found)

    def _compare(self, method, first, second):
        if first.status != second.status:
            yield "status", first.status, second.status
        one, other = first.json, second.json
        if isinstance(one, (dict, list)) and isinstance(other, (dict, list)):
            if self.second.stamps:
                one, other = compare.without_callers(one), compare.without_callers(other)
            yield from compare.differences(one, other, self.names)
            return
        if first.media_type != second.media_type:
            yield "media_type", first.media_type, second.media_type
        if first.headers.get("content-disposition") != second.headers.get("content-disposition"):
            yield "disposition", first.headers.get("content-disposition"), second.headers.get("content-disposition")
        if first.body != second.body:
            texts = [answer.body.decode("utf-8", "replace") for answer in (first, second)]
            if not self.names.same(*texts):
                yield "body", *texts

    @property
    def unlisted(self):
        return [difference for difference in self.differences if difference.rule is None]

    def since(self, mark):
        return [difference for difference in self.differences[mark:] if difference.rule is None]


def is_text(headers):
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    packed = any(name.lower() == "content-encoding" for name in headers)
    return not packed and ("json" in kind or "text" in kind)


def part(text):
    """One segment of a path, with whatever is in it."""
    return quote(text, safe="")


def align(first, second):
    """Makes the next experiment have the same number on both, by making those that one of them lacks.

    Then experiments need no translation: a number is too short a text to be recognised in a message.
    """

    def known(server):
        found, token = {}, None
        while True:
            body = {"max_results": 1000, "view_type": "ALL", **({"page_token": token} if token else {})}
            answer = server.send(
                "POST", "/api/2.0/mlflow/experiments/search", {"Content-Type": "application/json"}, json.dumps(body).encode()
            )
            if answer.status != 200:
                raise RuntimeError(f"{server.name}: {answer.status} {answer.body[:300]!r}")
            found |= {int(one["experiment_id"]): one["name"] for one in answer.json.get("experiments", [])}
            token = answer.json.get("next_page_token")
            if not token:
                return found

    def make(server, name):
        body = json.dumps({"name": name}).encode()
        return server.send("POST", "/api/2.0/mlflow/experiments/create", {"Content-Type": "application/json"}, body)

    while True:
        one, other = known(first), known(second)
        behind, ahead, server = (one, other, first) if max(one) < max(other) else (other, one, second)
        if max(behind) == max(ahead):
            return
        for number in range(max(behind) + 1, max(ahead) + 1):
            name = ahead.get(number, f"filler-{number}")
            if make(server, name).status != 200:
                make(server, f"filler-{number}")
