"""How fast a revoke is everywhere, and what a gateway allows without its database.

`make bench-replicas` runs it: two gateways over one PostgreSQL, before an upstream that answers at once.

1. Grants are made and revoked at the first gateway, one after another, while their holder asks the second one
   without pause on a kept connection. Measured: from the moment at which the revoke is answered to the moment at
   which the first refusal has come.
2. The same, but the holder demands the version of the revoke. Not one answer may be an allow.
3. The second gateway is cut off from PostgreSQL while policy changes go on at the first. Nothing that is asked
   after the staleness bound may be allowed. Reconnected, it must answer as the first does, for every change.

A safety property that does not hold ends the run with an error; times are printed, not judged.
"""

import argparse
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "clients"))

from harness import processes  # noqa: E402
from harness.replicas import Pair, until  # noqa: E402

STALENESS_MS = 2_000
# Late enough that notifications, not polls, are what is measured.
POLL_MS = 1_000


def say(*parts):
    print(*parts, flush=True)


def load():
    return Path("/proc/loadavg").read_text().split()[0]


def spread(seconds):
    ordered = sorted(value * 1000 for value in seconds)
    at = lambda share: ordered[min(len(ordered) - 1, len(ordered) * share // 100)]  # noqa: E731
    return f"p50 {at(50):7.1f} ms   p99 {at(99):7.1f} ms   most {ordered[-1]:7.1f} ms   of {len(ordered)}"


def revokes(pair, count):
    admin, carol = pair.connect(pair.first, "admin"), pair.connect(pair.second, "carol")
    granted, revoked, polls = [], [], []
    for _ in range(count):
        grant, _, answered = admin.grant("user:carol", 7)
        seen = until(lambda: (said := carol.may_see(7), said.allowed), 30, "an allow")
        granted.append(max(0, seen[-1].came - answered))
        _, answered = admin.revoke(grant)
        seen = until(lambda: (said := carol.may_see(7), not said.allowed), 30, "a refusal")
        if seen[-1].status != 403:
            raise SystemExit(f"error: the refusal is a {seen[-1].status}")
        revoked.append(max(0, seen[-1].came - answered))
        polls += [said.came - said.asked for said in seen]
    say(f"revoke answered to first refusal at the other:  {spread(revoked)}")
    say(f"grant answered to first allow at the other:     {spread(granted)}")
    say(f"one question, as the holder measures it:        p50 {statistics.median(polls) * 1000:7.1f} ms")


def demanded(pair, count):
    admin, carol = pair.connect(pair.first, "admin"), pair.connect(pair.second, "carol")
    waits = []
    for _ in range(count):
        grant, version, _ = admin.grant("user:carol", 7)
        said = carol.may_see(7, version)
        if not (said.allowed and said.version >= version):
            raise SystemExit(f"error: {said} where version {version} was demanded")
        version, answered = admin.revoke(grant)
        for _ in range(3):
            said = carol.may_see(7, version)
            if said.allowed or (said.status != 503 and (said.version or 0) < version):
                raise SystemExit(f"error: {said} where version {version} was demanded")
        waits.append(said.came - said.asked)
    say(f"demanding a version: never an older one:        {spread(waits)}")


def cut_off(pair, rounds):
    admin, bob = pair.connect(pair.first, "admin"), pair.connect(pair.second, "bob")
    here, there = pair.connect(pair.first, "carol"), pair.connect(pair.second, "carol")
    lasts, backs, changes = [], [], 0
    held = {}
    for turn in range(rounds):
        until(lambda: (said := bob.may_see(1), said.allowed), 30, "an allow before the cut")
        cut = time.monotonic()
        pair.link.set("closed")
        last = cut

        def ask():
            nonlocal last
            said = bob.may_see(1)
            if said.allowed:
                last = said.came
                if said.asked > cut + STALENESS_MS / 1000:
                    raise SystemExit(f"error: allowed {said.asked - cut:.3f} s after the cut; the bound is {STALENESS_MS} ms")
            elif said.status != 503:
                raise SystemExit(f"error: cut off it answers {said.status}")

        # Changes that the second gateway cannot hear of: some experiments get a holder, some lose theirs.
        for number in range(20):
            experiment = 100 + (turn * 7 + number) % 40
            if experiment in held:
                admin.revoke(held.pop(experiment))
            else:
                held[experiment] = admin.grant("user:carol", experiment)[0]
            changes += 1
            ask()
        while time.monotonic() < cut + STALENESS_MS / 1000 + 3:
            ask()
        lasts.append(last - cut)
        back = time.monotonic()
        pair.link.set("pass")
        until(lambda: (said := bob.may_see(1), said.allowed), 60, "an allow after the cut")
        backs.append(time.monotonic() - back)
        for experiment in range(100, 140):
            ours, theirs = here.may_see(experiment), there.may_see(experiment)
            if ours.allowed != (experiment in held) or theirs.allowed != ours.allowed:
                raise SystemExit(f"error: experiment {experiment}: {ours} at the first, {theirs} at the second")
    say(f"cut off, last allow after the cut (bound {STALENESS_MS} ms):  {spread(lasts)}")
    say(f"reconnected to first allow:                     {spread(backs)}")
    say(f"{changes} changes while it was cut off, none of them lost")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--revokes", type=int, default=1000)
    parser.add_argument("--demanded", type=int, default=300)
    parser.add_argument("--cuts", type=int, default=5)
    arguments = parser.parse_args()
    # Being ended must not leave servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="tracegate-replicas-") as directory:
        pair = Pair(
            directory, TRACEGATE__POLICY__MAX_STALENESS_MS=str(STALENESS_MS), TRACEGATE__POLICY__POLL_MS=str(POLL_MS)
        )
        try:
            say(f"{processes.tracegate_binary()}, staleness bound {STALENESS_MS} ms, polls each {POLL_MS} ms; load {load()}")
            revokes(pair, arguments.revokes)
            demanded(pair, arguments.demanded)
            cut_off(pair, arguments.cuts)
            say(f"load {load()}")
        except Exception:
            say(f"--- second gateway ---\n{pair.second.log_tail()}")
            raise
        finally:
            pair.stop()


if __name__ == "__main__":
    main()
