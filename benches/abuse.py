"""What one client notices while others abuse the gateway: latency before, during and after, and the memory of
the gateway. `make bench-abuse`; `--scale 0.1` for a tenth of the connections, `--only NAME` for one attack.

Both sides run on this machine and share its cores, so part of what is lost is what the attackers themselves
compute. 10,000 connections need `ulimit -n` above 10,100 for the script and for the gateway.
"""

import argparse
import os
import resource
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "clients"))

from harness import abuse, victims  # noqa: E402

# The attack, how many connections or threads, and whether it needs TLS.
PLAIN = [
    (abuse.slow_heads, 2000), (abuse.slow_bodies, 1000), (abuse.idle, 10_000), (abuse.kept_alive, 2000),
    (abuse.large_heads, 8), (abuse.many_headers, 8), (abuse.large_targets, 8), (abuse.strangers, 8),
    (abuse.half_closed, 2000), (abuse.pipelined, 50), (abuse.large_json, 4), (abuse.large_exports, 4),
    (abuse.gzip_bombs, 4),
]
SECURE = [
    (abuse.half_handshakes, 2000), (abuse.rapid_resets, 8), (abuse.continuations, 8), (abuse.settings_floods, 8),
    (abuse.table_bombs, 8), (abuse.closed_windows, 50),
]


def quantile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each attack")
    parser.add_argument("--only", action="append", default=[])
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 10_100 * arguments.scale:
        sys.exit(f"`ulimit -n` is at most {hard}: raise it above {int(10_100 * arguments.scale)}, or lower --scale")
    print(f"{os.cpu_count()} cores, {os.environ['TRACEGATE_BIN']}, {arguments.seconds:g} s each\n")
    columns = "| attack | connections | before p50 / p99 ms | during | after | wrong answers | RSS MiB before / peak / after | came of it |"
    print(columns + "\n|" + "---|" * 8)
    wrong = 0
    for secure, attacks in [(False, PLAIN), (True, SECURE)]:
        wanted = [(attack, count) for attack, count in attacks if not arguments.only or attack.__name__ in arguments.only]
        if not wanted:
            continue
        with tempfile.TemporaryDirectory() as directory, victims.victim(Path(directory), secure) as (victim, gentle):
            for attack, count in wanted:
                count = max(1, int(count * arguments.scale)) if count > 8 else count
                outcome = abuse.suffer(victim, gentle, attack, count, arguments.seconds)
                times = [f"{quantile(part, 0.5):.1f} / {quantile(part, 0.99):.1f} ({len(part)})"
                         for part in (outcome.before, outcome.during, outcome.after)]
                memory = " / ".join(f"{value:.0f}" for value in outcome.memory)
                print(f"| {outcome.name} | {count} | {' | '.join(times)} | {len(outcome.wrong)} | {memory} | {outcome.what} |",
                      flush=True)
                for problem in outcome.wrong[:3]:
                    print(f"  wrong: {problem}", file=sys.stderr)
                wrong += len(outcome.wrong)
    return wrong


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
