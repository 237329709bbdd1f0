"""What each client process was answered, written down at once.

A line is one JSON object. `kind` is `call` (one attempt of one request and its answer, or that none came) or
`fact` (something that was acknowledged: a trace, a tag, a grant, a revoked token). Times are of the monotonic
clock, which all processes of a machine share, so lines of different processes can be compared.
"""

import json
import os
import re
import threading
import time
from urllib.parse import urlsplit

from urllib3.connectionpool import HTTPConnectionPool

START_TRACE = "/api/3.0/mlflow/traces"
TAG = re.compile(r"^/api/[23]\.0/mlflow/traces/([^/]+)/tags$")


class Ledger:
    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, kind, **content):
        line = (json.dumps({"kind": kind, **content}) + "\n").encode()
        if os.write(self._file, line) != len(line):
            raise RuntimeError("the ledger cannot be written")

    def fact(self, what, **content):
        self.write("fact", what=what, at=time.monotonic(), **content)


class Expectation(threading.local):
    """What the calls of this thread may be answered: `allow`, `deny`, or a label that the verdict knows."""

    value = "allow"
    details = {}


expected = Expectation()


def watch(ledger, who):
    """From now on every attempt of every HTTP client of this process is in the ledger, also those that the
    client's own retries swallow."""
    original = HTTPConnectionPool._make_request

    def watched(pool, conn, method, url, body=None, headers=None, **more):
        line = {
            "who": who, "method": method, "path": urlsplit(url).path, "port": pool.port, "host": pool.host,
            "expect": expected.value, **expected.details, "asked": time.monotonic(), "asked_wall": time.time(),
        }
        try:
            answer = original(pool, conn, method, url, body=body, headers=headers, **more)
        except BaseException as error:
            ledger.write("call", **line, came=time.monotonic(), error=type(error).__name__)
            raise
        version = answer.headers.get("X-Tracegate-Policy-Version")
        ledger.write(
            "call", **line, came=time.monotonic(), came_wall=time.time(), status=answer.status,
            decision=answer.headers.get("X-Tracegate-Decision-Id"), version=int(version) if version else None,
        )
        if answer.status == 200:
            for fact in acknowledged(method, urlsplit(url).path, body, headers or {}):
                ledger.fact(**fact)
        return answer

    HTTPConnectionPool._make_request = watched


def acknowledged(method, path, body, headers):
    """What a 200 to this request promises."""
    body = body.encode() if isinstance(body, str) else body
    if method == "POST" and path == START_TRACE:
        info = json.loads(body)["trace"]["trace_info"]
        experiment = info["trace_location"]["mlflow_experiment"]["experiment_id"]
        yield {"what": "trace", "trace": info["trace_id"], "experiment": experiment}
    elif method == "POST" and path == "/v1/traces":
        experiment = next(value for name, value in headers.items() if name.lower() == "x-mlflow-experiment-id")
        experiment = experiment.decode() if isinstance(experiment, bytes) else experiment
        for trace, span in spans(body, headers):
            yield {"what": "span", "trace": trace, "span": span, "experiment": experiment}
    elif method == "PATCH" and (tagged := TAG.match(path)):
        content = json.loads(body)
        yield {"what": "tag", "trace": tagged[1], "key": content["key"], "value": content["value"]}


def spans(body, headers):
    import gzip
    import zlib

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    encoding = {name.lower(): value for name, value in headers.items()}.get("content-encoding")
    encoding = encoding.decode() if isinstance(encoding, bytes) else encoding
    if encoding == "gzip":
        body = gzip.decompress(body)
    elif encoding == "deflate":
        body = zlib.decompress(body)
    export = ExportTraceServiceRequest.FromString(body)
    for resource in export.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield "tr-" + span.trace_id.hex(), span.span_id.hex()


def read(directory):
    """All lines of all processes. Only the last of a file may be half a line: its process was killed."""
    for path in sorted(directory.glob("*.ledger")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            try:
                yield json.loads(line)
            except ValueError:
                if number + 1 < len(lines):
                    raise
