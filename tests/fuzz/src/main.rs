//! One binary for all targets: `FUZZ_TARGET` says which, the rest of the command line is libFuzzer's.

#![no_main]

mod self_check;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tracegate::fuzzing::TARGETS;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let all = || TARGETS.iter().chain(self_check::TARGETS);
    all().find(|target| target.name == wanted).map(|target| target.run).unwrap_or_else(|| {
        let names: Vec<&str> = all().map(|target| target.name).collect();
        eprintln!("FUZZ_TARGET must be one of: {}", names.join(" "));
        std::process::exit(2);
    })
});

fuzz_target!(|data: &[u8]| TARGET(data));
