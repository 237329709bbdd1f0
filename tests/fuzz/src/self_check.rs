//! Targets with a fault in them. `run.sh` asks for each first: a fuzzer that does not find these finds nothing.

use tracegate::fuzzing::Target;

pub const TARGETS: &[Target] = &[
    Target { name: "self_check_panic", run: panic },
    Target { name: "self_check_memory", run: memory },
    Target { name: "self_check_hang", run: hang },
];

/// One branch after the other, so that only who sees which were taken gets to the end.
fn panic(data: &[u8]) {
    let byte = |at: usize| data.get(at).copied().unwrap_or_default();
    if byte(0) == b't'
        && byte(1) == b'r'
        && byte(2) == b'a'
        && byte(3) == b'c'
        && byte(4) == b'e'
        && byte(5) == b'd'
    {
        panic!("the fault that was to be found");
    }
}

fn memory(data: &[u8]) {
    if data.len() > 3 {
        // More than the limit of run.sh, for longer than it takes libFuzzer to look, which it does each second.
        let kept = vec![data[0] | 1; 1536 << 20];
        std::thread::sleep(std::time::Duration::from_secs(5));
        std::hint::black_box(&kept);
    }
}

fn hang(data: &[u8]) {
    if data.len() > 3 {
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
}
