#!/bin/sh
# Stands between cargo and rustc (RUSTC_WRAPPER): Tracegate as it is fuzzed, and the program that fuzzes it, get
# libFuzzer's counters; nothing else does. The pass is in every rustc, so that this needs no nightly toolchain.
rustc=$1
shift
case " $* " in
  *" --crate-name tracegate "*'feature="fuzzing"'* | *" --crate-name tracegate_fuzz "*)
    exec "$rustc" "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
      -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$rustc" "$@"
