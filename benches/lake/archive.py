"""From the end of a trace to its row in the archive, as SQL shows it.

`make bench-lake` runs it. One gateway with its own store; traces of eight spans come at a steady rate into an archived
experiment, each in one export that holds its root span. The time runs from the acknowledgement of the export to the
end of the first statement that shows the row. Statements come one after another, so what they take is part of it.
"""

import argparse
import os
import secrets
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "http"), str(HERE.parents[1] / "tests" / "clients")]

import requests  # noqa: E402
from ingest import Gateway, say  # noqa: E402

SPANS = 8
TABLE = "bench.agents.kept"


def export(trace):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    now, sent = time.time_ns(), ExportTraceServiceRequest()
    scope = sent.resource_spans.add().scope_spans.add()
    for number in range(SPANS):
        span = scope.spans.add(trace_id=bytes.fromhex(trace), span_id=secrets.token_bytes(8), name=f"step {number}")
        span.parent_span_id = b"" if number == 0 else scope.spans[0].span_id
        span.start_time_unix_nano, span.end_time_unix_nano = now + number, now + number + 1_000_000
        span.attributes.add(key="gen_ai.prompt").value.string_value = "words " * 20
    return sent.SerializeToString()


class Load:
    """Exports at a steady rate, by several connections, and when each was acknowledged."""

    def __init__(self, gateway, rate, seconds, connections=4):
        self.acknowledged = {}
        path, headers = gateway.door("experiment")
        self.url, self.headers = gateway.server.url + path, headers
        self.begin, self.step, self.count = time.perf_counter() + 0.2, 1 / rate, rate * seconds
        self.threads = [threading.Thread(target=self.run, args=(first, connections)) for first in range(connections)]
        for thread in self.threads:
            thread.start()

    def run(self, first, every):
        session = requests.Session()
        for number in range(first, self.count, every):
            wait = self.begin + number * self.step - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            trace = secrets.token_hex(16)
            session.post(self.url, data=export(trace), headers=self.headers, timeout=60).raise_for_status()
            self.acknowledged[f"tr-{trace}"] = time.perf_counter()

    def running(self):
        return any(thread.is_alive() for thread in self.threads)


def shown(gateway, since):
    """Ids of rows that were archived since, and the latest time of one."""
    statement = f"SELECT trace_id, CAST(archived_at AS STRING) FROM {TABLE} WHERE archived_at > TIMESTAMP '{since}'"
    sent = {"statement": statement, "warehouse_id": "tracegate", "wait_timeout": "50s"}
    answer = gateway.post("/api/2.0/sql/statements", sent)
    if answer["status"]["state"] != "SUCCEEDED":
        raise SystemExit(f"error: {answer['status']}")
    rows = answer["result"].get("data_array", [])
    return [row[0] for row in rows], max([since, *(row[1].replace("T", " ").rstrip("Z") for row in rows)])


def measure(gateway, rate, seconds):
    load, seen, since = Load(gateway, rate, seconds), {}, "1970-01-01 00:00:00"
    deadline = time.perf_counter() + seconds + 120
    while time.perf_counter() < deadline:
        ids, since = shown(gateway, since)
        now = time.perf_counter()
        for one in ids:
            seen.setdefault(one, now)
        if not load.running() and load.acknowledged.keys() <= seen.keys():
            break
    missing = load.acknowledged.keys() - seen.keys()
    if missing:
        raise SystemExit(f"error: {len(missing)} of {len(load.acknowledged)} traces are not in the archive")
    times = [seen[one] - at for one, at in load.acknowledged.items()]
    cuts = statistics.quantiles(times, n=100)
    sent = len(times) / (max(load.acknowledged.values()) - load.begin)
    say(f"{rate:5} traces/s for {seconds} s, {sent:.0f} sent: p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, longest {max(times):.2f} s, "
        f"{len(times):,} traces of {SPANS} spans")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30, help="how long each rate is measured")
    parser.add_argument("--rates", type=int, nargs="+", default=[10, 100, 300], help="traces a second")
    given = parser.parse_args()
    say(f"\nfrom the end of a trace to its row in the archive, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="bench-archive-") as directory:
        gateway = Gateway(Path(directory) / "gateway")
        try:
            gateway.make_table()
            experiment = gateway.server.details["experiments"]["support-bot"]
            path = f"{gateway.server.url}/api/tracegate/v1/archives/{experiment}"
            gateway.session.put(path, json={"table": TABLE}, timeout=60).raise_for_status()
            for rate in given.rates:
                measure(gateway, rate, given.seconds)
        finally:
            gateway.server.stop()


if __name__ == "__main__":
    main()
