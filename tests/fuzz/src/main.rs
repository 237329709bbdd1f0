//! One binary for all targets: `FUZZ_TARGET` says which, the rest of the command line is libFuzzer's.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tracegate::fuzzing::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    TARGETS.iter().find(|target| target.name == wanted).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("FUZZ_TARGET must be one of: {}", names.join(" "));
        std::process::exit(2);
    })
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
