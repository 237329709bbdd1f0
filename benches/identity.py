"""What it takes to know who calls: each of Tracegate's schemes, beside MLflow's check of a password.

Both sides are measured in one run, on one machine, the verification alone. MLflow's basic-auth checks a
password with werkzeug's scrypt at each request, unless its cache is on; what is called here is what it calls.

    python benches/identity.py [--profile PROFILE] [--json FILE]
"""

import argparse
import json
import statistics
import subprocess
import time

from werkzeug.security import check_password_hash, generate_password_hash

CHECKS = 30
LEAST = 1000


def password_checks():
    """Nanoseconds per check of a right password, as MLflow keeps it."""
    kept = generate_password_hash("a password of ordinary length")
    times = []
    for _ in range(CHECKS):
        started = time.perf_counter_ns()
        assert check_password_hash(kept, "a password of ordinary length")
        times.append(time.perf_counter_ns() - started)
    times.sort()
    return {"median_ns": statistics.median(times), "p99_ns": times[-1], "calls": CHECKS, "method": kept.split("$")[0]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--profile", default="bench", help="cargo's profile")
    arguments.add_argument("--json", help="a file for the numbers")
    given = arguments.parse_args()
    # Before and after: a machine that grows busy in between shows.
    before = password_checks()
    command = ["cargo", "bench", "--profile", given.profile, "--bench", "identity"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    schemes = json.loads(done.stdout.strip().splitlines()[-1])
    after = password_checks()
    password = min(before, after, key=lambda measured: measured["median_ns"])
    print(f"{'':32}{'median':>12}{'p99':>12}   MLflow's password check takes")
    name = f"MLflow, password ({password['method']})"
    print(f"{name:32}{password['median_ns'] / 1000:>9.1f} µs{password['p99_ns'] / 1000:>9.1f} µs")
    for scheme, measured in schemes.items():
        times = password["median_ns"] / measured["median_ns"]
        print(f"{scheme:32}{measured['median_ns'] / 1000:>9.1f} µs{measured['p99_ns'] / 1000:>9.1f} µs   {times:,.0f} times as long")
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"password": password, "schemes": schemes}, file, indent=1)
    login = password["median_ns"] / schemes["opaque token, known"]["median_ns"]
    print(f"\na login by token is {login:,.0f} times cheaper (the promise: at least {LEAST:,})")
    raise SystemExit(0 if login >= LEAST else 1)


if __name__ == "__main__":
    main()
