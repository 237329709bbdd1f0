"""OTLP into a Delta table, acknowledged after its commit: spans per second, and how soon SQL shows them.

`make bench-lake` runs it. One gateway with its own store; the same encoded exports of 512 spans, a trace of its own
in each, sent into a table and, beside it, into an experiment of the embedded store, at 1 and 16 connections. Then
single spans into the table, each asked for by SQL from the moment it was acknowledged.

The load generator (wrk, bodies encoded beforehand) shares the machine with what it measures; its share of the
processors is printed. Read ratios, not absolutes.
"""

import argparse
import importlib.util
import os
import platform
import resource
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "http"), str(HERE.parents[1] / "tests" / "clients")]

import requests  # noqa: E402
from harness import processes, wire  # noqa: E402

specification = importlib.util.spec_from_file_location("http_bench", HERE.parent / "http" / "bench.py")
http_bench = importlib.util.module_from_spec(specification)
specification.loader.exec_module(http_bench)

SPANS = 512
CONNECTIONS = (1, 16)
TABLE = "bench.agents.load_otel_spans"
say = http_bench.say


def body():
    """An export of one trace with texts that differ from span to span, and where its trace id stands."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    trace, now = secrets.token_bytes(16), time.time_ns()
    export = ExportTraceServiceRequest()
    scope = export.resource_spans.add().scope_spans.add()
    for number in range(SPANS):
        span = scope.spans.add(trace_id=trace, span_id=secrets.token_bytes(8), name=f"step {number % 7}")
        span.parent_span_id = b"" if number == 0 else scope.spans[0].span_id
        span.start_time_unix_nano, span.end_time_unix_nano = now + number, now + number + 1_000_000
        for key in ("gen_ai.prompt", "gen_ai.completion"):
            span.attributes.add(key=key).value.string_value = f"{key} of {secrets.token_hex(24)}, " + "words " * 10
    encoded, offsets = export.SerializeToString(), []
    while (found := encoded.find(trace, offsets[-1] + 16 if offsets else 0)) >= 0:
        offsets.append(found)
    return encoded, ",".join(map(str, offsets))


class Gateway:
    def __init__(self, directory):
        self.server = processes.start_demo(directory, None)
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {self.server.details['tokens']['admin']}"

    def post(self, path, json):
        answer = self.session.post(self.server.url + path, json=json, timeout=120)
        if answer.status_code != 200:
            raise SystemExit(f"error: POST {path} answered {answer.status_code}: {answer.text[:300]}")
        return answer.json()

    def make_table(self):
        self.post("/api/2.1/unity-catalog/catalogs", {"name": "bench"})
        self.post("/api/2.1/unity-catalog/schemas", {"name": "agents", "catalog_name": "bench"})
        place = {"catalog_name": "bench", "schema_name": "agents", "table_prefix": "load"}
        self.post("/api/5.0/mlflow/tracing/locations", {"uc_table_prefix": place})

    def door(self, name):
        """Where exports go, and the headers that let them in."""
        headers = {**self.session.headers, "Content-Type": "application/x-protobuf"}
        kept = {key: headers[key] for key in ("Authorization", "Content-Type")}
        if name == "table":
            return "/api/2.0/otel/v1/traces", {**kept, "X-Databricks-UC-Table-Name": TABLE}
        return "/v1/traces", {**kept, "X-Mlflow-Experiment-Id": str(self.server.details["experiments"]["support-bot"])}

    def count(self, where=""):
        statement = {"statement": f"SELECT count(*) FROM {TABLE} {where}", "warehouse_id": "tracegate", "wait_timeout": "50s"}
        answer = self.post("/api/2.0/sql/statements", statement)
        if answer["status"]["state"] != "SUCCEEDED":
            raise SystemExit(f"error: {answer['status']}")
        return int(answer["result"]["data_array"][0][0])

    def processor_seconds(self):
        fields = Path(f"/proc/{self.server.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rates(bench, gateway):
    encoded, offsets = body()
    say(f"\nspans a second: exports of {SPANS} spans, {len(encoded):,} bytes each, acknowledged after the commit")
    say(f"{'':12} {'conns':>5} {'spans/s':>10} {'p50 ms':>9} {'p99 ms':>9} {'gateway':>9} {'load':>7}   (processors)")
    found = {}
    for connections in CONNECTIONS:
        for name in ("table", "experiment"):
            path, headers = gateway.door(name)
            before, ours, theirs = (gateway.count() if name == "table" else 0), gateway.processor_seconds(), children()
            cell = bench.measure(gateway.server.url + path, "POST", headers, connections, encoded, offset=offsets, timeout=60)
            ours, theirs = gateway.processor_seconds() - ours, children() - theirs
            spans = cell["rate"] * SPANS
            found[name, connections] = spans
            wrong = ", ".join(f"{key} {cell[key]}" for key in ("bad_status", "broken", "timeouts") if cell[key])
            say(f"{name:12} {connections:5} {spans:10,.0f} {cell['p50_us'] / 1000:9.1f} {cell['p99_us'] / 1000:9.1f} "
                f"{ours / cell['seconds']:9.2f} {theirs / cell['seconds']:7.2f}   {wrong}")
            if name == "table" and (kept := gateway.count() - before) < cell["requests"] * SPANS:
                raise SystemExit(f"error: {cell['requests'] * SPANS} spans were acknowledged and {kept} are in the table")
        say(f"{'':12} table / experiment {found['table', connections] / found['experiment', connections]:.2f}")
    return found


def children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def delay(gateway, rounds):
    """From the acknowledgement of a span to the end of the first statement that counts it."""
    path, headers = gateway.door("table")
    times, tries = [], 0
    for _ in range(rounds):
        trace = secrets.token_hex(16)
        answer = gateway.session.post(gateway.server.url + path, data=wire.otlp(trace), headers=headers, timeout=60)
        answer.raise_for_status()
        begun = time.perf_counter()
        while True:
            tries += 1
            if gateway.count(f"WHERE trace_id = '{trace}'"):
                break
        times.append((time.perf_counter() - begun) * 1000)
    p99 = statistics.quantiles(times, n=100)[98]
    say(f"\nfrom acknowledged to shown by SQL, {gateway.count():,} spans in the table: p50 {statistics.median(times):.1f} ms, "
        f"p99 {p99:.1f} ms; {tries / rounds:.2f} statements for each, which take most of it")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10, help="how long each cell is measured")
    parser.add_argument("--rounds", type=int, default=200, help="spans that are asked for by SQL")
    given = parser.parse_args()
    say(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="bench-lake-") as directory:
        bench = http_bench.Bench(directory, given.seconds)
        gateway = Gateway(Path(directory) / "gateway")
        try:
            gateway.make_table()
            say(f"an append of 512 bytes with fsync: {http_bench.fsync_microseconds(directory):.0f} us")
            delay(gateway, given.rounds)
            rates(bench, gateway)
            delay(gateway, given.rounds)
        finally:
            gateway.server.stop()


if __name__ == "__main__":
    main()
