#!/bin/sh
# Stands between cargo and rustc (RUSTC_WRAPPER): Tracegate as it is fuzzed gets libFuzzer's counters, and nothing
# else does. The passes are in every rustc, so that this needs no nightly toolchain.
rustc=$1
shift
case " $* " in
  *" --crate-name tracegate "*'feature="fuzzing"'*)
    exec "$rustc" "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
      -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$rustc" "$@"
