#!/bin/sh
# Runs the targets under libFuzzer, one after the other: tests/fuzz/run.sh [TARGET...]
# FUZZ_SECONDS is the time of each (60), FUZZ_KEEP=1 puts what is new and small into the corpus.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${CARGO_TARGET_DIR:=$here/target}" "${FUZZ_SECONDS:=60}"
export CARGO_TARGET_DIR
RUSTC_WRAPPER="$here/instrument.sh" cargo build --locked --manifest-path "$here/Cargo.toml"
binary="$CARGO_TARGET_DIR/debug/tracegate-fuzz"
[ $# -gt 0 ] || set -- $(ls "$here/corpus")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=
for target; do
  mkdir -p "$scratch/found" "$scratch/tmp" "$scratch/$target"
  echo "== $target, $FUZZ_SECONDS s"
  # What is found new goes to a folder of its own; no input is longer than a head may be, and memory is bounded.
  if ! TMPDIR="$scratch/tmp" FUZZ_TARGET=$target "$binary" "$scratch/$target" "$here/corpus/$target" \
    -max_total_time="$FUZZ_SECONDS" -rss_limit_mb=1024 -malloc_limit_mb=256 -timeout=10 -max_len=65536 \
    -use_value_profile=1 -print_final_stats=1 -artifact_prefix="$here/failed-$target-" >"$scratch/log" 2>&1; then
    failed="$failed $target"
    tail -40 "$scratch/log"
  fi
  grep -E '^(stat::number_of_executed_units|stat::peak_rss_mb|#.*DONE)' "$scratch/log" || true
  if [ -n "${FUZZ_KEEP:-}" ]; then
    # The least of it that reaches as much, in small files, up to a few kilobytes.
    mkdir -p "$scratch/merged"
    TMPDIR="$scratch/tmp" FUZZ_TARGET=$target "$binary" -merge=1 -max_len=400 "$scratch/merged" "$here/corpus/$target" \
      "$scratch/$target" >/dev/null 2>&1 || true
    room=8192
    for file in $(ls -Sr "$scratch/merged"); do
      size=$(wc -c <"$scratch/merged/$file")
      [ "$size" -le "$room" ] || break
      cmp -s "$scratch/merged/$file" "$here/corpus/$target/$file" || cp "$scratch/merged/$file" "$here/corpus/$target/$file"
      room=$((room - size))
    done
    rm -rf "$scratch/merged"
  fi
  rm -rf "$scratch/$target" "$scratch/tmp"
done
[ -z "$failed" ] || { echo "failed:$failed (inputs: $here/failed-*)" >&2; exit 1; }
