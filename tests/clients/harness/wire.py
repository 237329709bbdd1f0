"""HTTP without a helpful library in between: raw paths, doubled headers, bodies of bytes."""

import base64
import gzip
import json
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def text(self):
        return self.body.decode(errors="replace")

    def json(self):
        return json.loads(self.body)

    @property
    def error_code(self):
        try:
            return self.json().get("error_code")
        except (ValueError, AttributeError):
            return None


def basic(name, token):
    return "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()


def exchange(url, payload, seconds=20):
    """Sends bytes, reads until the peer closes or is silent. What came back, as bytes."""
    address = urlsplit(url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=seconds) as connection:
        try:
            connection.sendall(payload)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it answered and closed before it had read everything
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionResetError):
            pass
    return received


def parse(received):
    """The first answer in the bytes, and whatever follows it."""
    head, separator, rest = received.partition(b"\r\n\r\n")
    assert separator, f"no answer: {received[:200]!r}"
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size.split(b";")[0], 16)
            body, rest = body + rest[:length], rest[length + 2 :]
            if length == 0:
                break
    else:
        length = int(headers.get("content-length", len(rest)))
        body, rest = rest[:length], rest[length:]
    return Answer(int(lines[0].split(" ")[1]), headers, body), rest


def request(url, method, target, headers=(), body=b"", seconds=30):
    """One request with exactly this target and these headers, in this order; closes after it."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers = [*headers, ("Content-Type", "application/json")]
    names = {name.lower() for name, _ in headers}
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"Host: {urlsplit(url).netloc}")
    lines += [f"{name}: {value}" for name, value in headers]
    if not names & {"content-length", "transfer-encoding"} and (body or method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close")
    head = "\r\n".join(lines).encode("utf-8", "surrogateescape")
    return parse(exchange(url, head + b"\r\n\r\n" + body, seconds))[0]


# --- OTLP ---------------------------------------------------------------------------------


def otlp(*trace_ids, attributes=None, resource=None, parent=None):
    """An export request with one root span for each trace id (`tr-…` or hex)."""
    import os
    import time

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    export = ExportTraceServiceRequest()
    resource_spans = export.resource_spans.add()
    for key, value in (resource or {}).items():
        resource_spans.resource.attributes.add(key=key).value.string_value = value
    scope = resource_spans.scope_spans.add()
    for trace_id in trace_ids:
        span = scope.spans.add()
        span.trace_id = bytes.fromhex(trace_id.removeprefix("tr-"))
        span.span_id = os.urandom(8)
        if parent:
            span.parent_span_id = parent
        span.name = "sent-by-hand"
        span.start_time_unix_nano = time.time_ns()
        span.end_time_unix_nano = span.start_time_unix_nano + 1000
        for key, value in (attributes or {}).items():
            span.attributes.add(key=key).value.string_value = value
    return export.SerializeToString()


def gzip_of(chunk, times):
    """`chunk` over and over, compressed without ever being whole in memory."""
    import io

    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6) as stream:
        for _ in range(times):
            stream.write(chunk)
    return packed.getvalue()
