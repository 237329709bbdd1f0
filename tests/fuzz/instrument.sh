#!/bin/sh
# Stands between cargo and rustc (RUSTC_WRAPPER): Tracegate and the parsers that it feeds with what callers
# send get libFuzzer's counters. The passes are in every rustc, so that this needs no nightly toolchain.
rustc=$1
shift
name= target= previous=
for argument in "$@"; do
  [ "$previous" = --crate-name ] && name=$argument
  [ "$argument" = --target ] && target=yes
  previous=$argument
done
case $target:$name in
  # Build scripts and macros, which run without libFuzzer, are built without --target.
  yes:tracegate | yes:serde_json | yes:graphql_parser | yes:combine | yes:serde_saphyr | yes:granit_parser | \
    yes:saphyr_parser* | yes:jsonwebtoken | yes:prost | yes:miniz_oxide | yes:flate2)
    exec "$rustc" "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
      -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$rustc" "$@"
