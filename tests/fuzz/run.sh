#!/bin/sh
# Runs the targets under libFuzzer, one after the other: tests/fuzz/run.sh [TARGET...]
# FUZZ_SECONDS is the time of each (60), FUZZ_KEEP=1 puts what is new and small into the corpus. What it cost is
# printed as a table; the input of a failure is left as tests/fuzz/failed-*.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${CARGO_TARGET_DIR:=$here/target}" "${FUZZ_SECONDS:=60}"
export CARGO_TARGET_DIR
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

RUSTC_WRAPPER="$here/instrument.sh" cargo build --locked --manifest-path "$here/Cargo.toml" || {
  echo "if its lock file is behind that of the gateway: cp Cargo.lock tests/fuzz/ && cargo update --workspace --manifest-path tests/fuzz/Cargo.toml" >&2
  exit 1
}
binary="$CARGO_TARGET_DIR/debug/tracegate-fuzz"

# Without a sanitizer, libFuzzer measures memory as what is resident.
fuzz() {
  target=$1
  shift
  TMPDIR="$scratch/tmp" FUZZ_TARGET=$target "$binary" -rss_limit_mb=1024 -max_len=65536 -use_value_profile=1 \
    -print_final_stats=1 "$@" >"$scratch/log" 2>&1
}

# That faults are found is not taken on trust: a panic behind six bytes, to which only the counters and
# compares lead, memory without an end, and a call without one.
mkdir -p "$scratch/tmp"
for check in panic:deadly.signal memory:out-of-memory hang:timeout; do
  if fuzz "self_check_${check%%:*}" -timeout=8 -runs=5000000 -max_total_time=60 -max_len=16 -artifact_prefix="$scratch/" ||
    ! grep -q "${check##*:}" "$scratch/log"; then
    tail -20 "$scratch/log" >&2
    echo "libFuzzer did not find the fault of self_check_${check%%:*}: nothing that it says would be worth anything" >&2
    exit 1
  fi
done

[ $# -gt 0 ] || set -- $(ls "$here/corpus")
statistic() { sed -n "s/^stat::$1: *//p" "$scratch/log"; }
failed=
echo "| target | seconds | executions | a second | slowest, seconds | peak MiB | of the code reached, edges | outcome |"
echo "|---|--:|--:|--:|--:|--:|--:|---|"
for target; do
  rm -rf "$scratch/tmp" "$scratch/new" "$scratch/merged"
  mkdir -p "$scratch/tmp" "$scratch/new"
  outcome=sound
  # What is found new goes to a folder of its own; no input is longer than a head may be.
  if ! fuzz "$target" "$scratch/new" "$here/corpus/$target" -timeout=10 -max_total_time="$FUZZ_SECONDS" \
    -artifact_prefix="$here/failed-$target-"; then
    failed="$failed $target"
    outcome=failed
    tail -40 "$scratch/log" >&2
  fi
  edges=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$scratch/log" | tail -1)
  echo "| \`$target\` | $FUZZ_SECONDS | $(statistic number_of_executed_units) | $(statistic average_exec_per_sec) |" \
    "$(statistic slowest_unit_time_sec) | $(statistic peak_rss_mb) | $edges | $outcome |"
  [ -n "${FUZZ_KEEP:-}" ] || continue
  # A least set that reaches as much, beside what is there already, as long as the folder stays small.
  mkdir "$scratch/merged"
  cp "$here/corpus/$target/"* "$scratch/merged/"
  TMPDIR="$scratch/tmp" FUZZ_TARGET=$target "$binary" -set_cover_merge=1 -max_len=400 "$scratch/merged" "$scratch/new" \
    >/dev/null 2>&1 || true
  room=$((4096 - $(cat "$here/corpus/$target/"* | wc -c)))
  for file in $(ls -Sr "$scratch/merged"); do
    [ ! -e "$here/corpus/$target/$file" ] || continue
    size=$(wc -c <"$scratch/merged/$file")
    [ "$size" -le "$room" ] && [ "$(ls "$here/corpus/$target" | wc -l)" -lt 40 ] || break
    cp "$scratch/merged/$file" "$here/corpus/$target/$file"
    room=$((room - size))
  done
done
[ -z "$failed" ] || { echo "failed:$failed (inputs: $here/failed-*)" >&2; exit 1; }
