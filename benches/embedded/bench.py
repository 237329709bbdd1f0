"""Tracegate's own store beside `mlflow server`: alone, with basic-auth, and with basic-auth and its cache.

`make bench-embedded` runs it. One server at a time, each with the machine for itself and the same traces:
reading one trace, searching the newest 100 of an experiment of 1,000 and of 100,000 traces (and of 1,000,000
with Tracegate; MLflow takes hours to fill), starting a trace, an export of 10 spans, at 1 and 16 connections.
Tracegate authenticates, decides, audits and answers only when the disk has it. The load generator shares the
machine with what it measures: read ratios, not absolutes. `--quick` has a tenth of the traces.
"""

import argparse
import importlib.util
import json
import os
import platform
import secrets
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "http"), str(HERE.parents[1] / "tests" / "clients")]

import fill  # noqa: E402
import requests  # noqa: E402
from harness import processes, wire  # noqa: E402

specification = importlib.util.spec_from_file_location("http_bench", HERE.parent / "http" / "bench.py")
http_bench = importlib.util.module_from_spec(specification)
specification.loader.exec_module(http_bench)

CONNECTIONS = (1, 16)
say = http_bench.say


class Target:
    """A filled server: its experiments by their number of traces, and one trace to read."""

    def __init__(self, name, server, url, headers, place):
        self.name, self.server, self.url, self.headers, self.place = name, server, url, headers, place
        self.experiments, self.trace, self.bytes_per_trace = {}, None, None

    def create(self, name):
        answer = requests.post(f"{self.url}/api/2.0/mlflow/experiments/create", json={"name": name}, headers=self.headers, timeout=60)
        answer.raise_for_status()
        return answer.json()["experiment_id"]

    def size(self):
        """Bytes of the database and of what lies beside it."""
        kept = [path for path in Path(self.place).rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in kept if "traces.db" in path.name or "mlflow.db" in path.name or "artifacts" in path.parts or "objects" in path.parts)

    def resident(self):
        """MiB of the server and of the processes that it started."""
        total = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    group = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[2])
                    if group == self.server.pid:
                        total += next(int(line.split()[1]) for line in (entry / "status").read_text().splitlines() if line.startswith("VmRSS:"))
                except (OSError, StopIteration):
                    continue
        return total / 1024

    def operations(self):
        """`(name, what to send)`; each has been made to work once."""
        json_headers = {**self.headers, "Content-Type": "application/json"}
        yield "GET trace", {"url": f"{self.url}/api/3.0/mlflow/traces/get?trace_id={self.trace}", "method": "GET", "headers": self.headers}
        yield "GET trace info", {"url": f"{self.url}/api/3.0/mlflow/traces/{self.trace}", "method": "GET", "headers": self.headers}
        for count, experiment in self.experiments.items():
            place = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}]
            body = json.dumps({"locations": place, "max_results": 100})
            yield f"search 100 of {count:,}", {"url": f"{self.url}/api/3.0/mlflow/traces/search", "method": "POST", "headers": json_headers, "body": body}
            body = json.dumps({"locations": place, "max_results": 100, "filter": "tags.team = 'red' AND span.name = 'look_up'"})
            yield f"filter 100 of {count:,}", {"url": f"{self.url}/api/3.0/mlflow/traces/search", "method": "POST", "headers": json_headers, "body": body}
        experiment = next(iter(self.experiments.values()))
        marker = secrets.token_hex(16)
        _, info = fill.template("tr-" + marker, experiment)
        body = json.dumps(info)
        yield "start trace", {"url": f"{self.url}/api/3.0/mlflow/traces", "method": "POST", "headers": json_headers, "body": body, "offset": body.index(marker), "hexadecimal": True}
        spans, _ = fill.template("tr-" + marker, experiment)
        more = [spans[2].__class__.FromString(spans[2].SerializeToString()) for _ in range(7)]
        for number, span in enumerate(more):
            span.span_id = (number + 10).to_bytes(8, "big")
        for span in [*spans, *more]:
            # It names the trace in text, which a fresh id in bytes would contradict.
            kept = [one for one in span.attributes if one.key != "mlflow.traceRequestId"]
            del span.attributes[:]
            span.attributes.extend(kept)
        body = fill.export([*spans, *more])
        places, at = [], body.find(bytes.fromhex(marker))
        while at >= 0:
            places.append(at)
            at = body.find(bytes.fromhex(marker), at + 16)
        headers = {**self.headers, "Content-Type": "application/x-protobuf", "X-Mlflow-Experiment-Id": experiment}
        yield "OTLP, 10 spans", {"url": f"{self.url}/v1/traces", "method": "POST", "headers": headers, "body": body, "offset": ",".join(map(str, places))}

    def check(self, name, given):
        answer = requests.request(given["method"], given["url"], headers=given["headers"], data=given.get("body"), timeout=600)
        if answer.status_code != 200:
            raise SystemExit(f"error: {self.name}: {name} answered {answer.status_code}: {answer.text[:300]}")
        if name.startswith(("search", "filter")):
            assert len(answer.json()["traces"]) == 100, f"{self.name}: {name} found {len(answer.json()['traces'])}"


def fill_mlflow(target, counts):
    """Rows of one trace, copied. Disk per trace from the largest experiment."""
    pattern = fill.write_one(target.url, target.headers, target.create("pattern"))
    for count in counts:
        target.experiments[count] = target.create(f"of {count}")
        before = target.size()
        fill.copy_in_mlflow(Path(target.place) / "mlflow.db", pattern, target.experiments[count], count)
        target.bytes_per_trace = (target.size() - before) / count
    target.trace = pattern


def fill_tracegate(target, counts):
    target.trace = fill.write_one(target.url, target.headers, target.create("pattern"))
    for count in counts:
        target.experiments[count] = target.create(f"of {count}")
        before, started = target.size(), time.monotonic()
        fill.export_to_tracegate(target.url, target.headers, target.experiments[count], count)
        target.bytes_per_trace = (target.size() - before) / count
        say(f"Tracegate took {count:,} traces of 3 spans in {time.monotonic() - started:.0f} s")


def start_plain(directory):
    server = processes.start_mlflow(directory)
    return Target("MLflow", server, server.url, {}, directory)


def start_basic_auth(directory, cache_seconds):
    made, server = http_bench.start_basic_auth(directory, cache_seconds)
    return Target(made.name, server, made.url, made.headers, directory)


def start_tracegate(directory):
    server = processes.start_demo(directory, None)
    headers = {"Authorization": wire.basic("alice", server.details["tokens"]["alice"])}
    return Target("Tracegate", server, server.url, headers, directory / "data")


def run(bench, target):
    """Every cell of one target, by operation and connections."""
    cells = {}
    for name, given in target.operations():
        target.check(name, given)
        for connections in CONNECTIONS:
            cell = bench.measure(connections=connections, timeout=60, **given)
            cells[name, connections] = cell
            wrong = ", ".join(f"{key} {cell[key]}" for key in ("bad_status", "broken", "timeouts") if cell[key])
            say(f"{target.name:26} {name:24} {connections:3} {cell['rate']:10.1f}/s  p50 {cell['p50_us'] / 1000:9.2f} ms  p99 {cell['p99_us'] / 1000:9.2f} ms  {wrong}")
    return cells


def markdown(results, targets, reference):
    names = list(targets)
    lines = ["| operation | connections | " + " | ".join(names) + f" | of {reference} |", "|---|--:|" + "--:|" * (len(names) + 1)]
    operations = list(dict.fromkeys(key for cells in results.values() for key in cells))
    for operation, connections in operations:
        row = []
        for name in names:
            cell = results[name].get((operation, connections))
            row.append("—" if cell is None else f"{cell['rate']:,.1f}/s; {cell['p50_us'] / 1000:.2f} / {cell['p99_us'] / 1000:.2f} ms" + (" (errors)" if cell["bad_status"] or cell["broken"] or cell["timeouts"] else ""))
        base, ours = results[reference].get((operation, connections)), results["Tracegate"].get((operation, connections))
        ratio = f"{ours['rate'] / base['rate']:.1f}×; p50 {base['p50_us'] / max(ours['p50_us'], 1):.1f}×" if base and ours and base["rate"] else "—"
        lines.append(f"| {operation} | {connections} | " + " | ".join(row) + f" | {ratio} |")
    lines.append("| resident MiB after it | | " + " | ".join(f"{target.mebibytes:.0f}" for target in targets.values()) + " | |")
    lines.append("| disk bytes per trace | | " + " | ".join(f"{target.bytes_per_trace:,.0f}" for target in targets.values()) + " | |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, help="of load for each cell")
    parser.add_argument("--quick", action="store_true", help="a tenth of the traces, a second a cell")
    parser.add_argument("--only", choices=["tracegate", "mlflow"], help="one side alone, without ratios")
    parser.add_argument("--json", type=Path, help="also write every cell to this file")
    arguments = parser.parse_args()
    seconds = arguments.seconds or (1 if arguments.quick else 3)
    counts = (1_000, 10_000) if arguments.quick else (1_000, 100_000)
    huge = 100_000 if arguments.quick else 1_000_000
    say(f"{platform.machine()}, {os.cpu_count()} cores, {seconds} s a cell; the load generator runs on the same machine")
    started, results, targets = time.monotonic(), {}, {}
    kinds = [
        ("tracegate", start_tracegate, fill_tracegate, (*counts, huge)),
        ("mlflow", start_plain, fill_mlflow, counts),
        ("mlflow", lambda place: start_basic_auth(place, 0), fill_mlflow, counts),
        ("mlflow", lambda place: start_basic_auth(place, 300), fill_mlflow, counts),
    ]
    with tempfile.TemporaryDirectory(prefix="tracegate-bench-") as directory:
        bench = http_bench.Bench(directory, seconds)
        for number, (side, start, put_in, sizes) in enumerate(kinds):
            if arguments.only and side != arguments.only:
                continue
            target = start(Path(directory) / str(number))
            try:
                put_in(target, sizes)
                results[target.name] = run(bench, target)
                target.mebibytes = target.resident()
                targets[target.name] = target
            finally:
                target.server.stop()
        say(f"\none fsync here: {http_bench.fsync_microseconds(directory):.0f} µs\n")
    if not arguments.only:
        order = ["MLflow", "MLflow basic-auth", "MLflow basic-auth, cache", "Tracegate"]
        say("Requests per second; p50 / p99.\n")
        say(markdown(results, {name: targets[name] for name in order}, "MLflow basic-auth, cache"))
    if arguments.json:
        rows = [{"target": name, "operation": operation, "connections": connections, **cell} for name, cells in results.items() for (operation, connections), cell in cells.items()]
        arguments.json.write_text(json.dumps(rows, indent=1))
    say(f"\nbench: done in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
