//! `src/policy/publication.rs` with loom's atomics, in every interleaving of a few threads.
//!
//! ```sh
//! cargo test --manifest-path tests/loom/Cargo.toml
//! LOOM_MAX_PREEMPTIONS=4 cargo test --manifest-path tests/loom/Cargo.toml   # more, and longer
//! ```
//!
//! A thread is interrupted at most as often as `LOOM_MAX_PREEMPTIONS` says, three times if nothing does.
//!
//! The store's history is fixed: at moment `10 * n` it came to version `n`. Whoever asks at a moment learns the
//! version of that moment, so what may be believed of any pair that a reader gets is known: what is in force is
//! at least as new as what the store had when it was last confirmed.

#![cfg(test)]

#[path = "../../src/policy/publication.rs"]
mod publication;

use loom::sync::Arc;
use loom::thread;

use publication::{Publication, Versioned};

/// A policy whose content tells its version a second time: half of one and half of another would show.
struct Policy {
    version: i64,
    content: [i64; 2],
}

impl Policy {
    fn at(version: i64) -> Self {
        Self { version, content: [version; 2] }
    }
}

impl Versioned for Policy {
    fn version(&self) -> i64 {
        self.version
    }
}

/// Runs a model through its interleavings.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}

type Shared = Arc<Publication<Policy>>;

/// What the store had at a moment.
fn version_at(moment: u64) -> i64 {
    moment as i64 / 10
}

fn publish(publication: &Publication<Policy>, asked: u64) {
    publication.publish(Policy::at(version_at(asked)), asked);
}

/// Reads once: nothing torn, and nothing vouched for that is older than the store was.
fn read(publication: &Publication<Policy>) -> Option<(i64, u64)> {
    let (policy, confirmed) = publication.read()?;
    assert_eq!(policy.content, [policy.version; 2], "a torn policy");
    assert!(
        policy.version >= version_at(confirmed),
        "version {} was vouched for at {confirmed}",
        policy.version
    );
    Some((policy.version, confirmed))
}

/// Reads twice: neither the version nor the moment goes back.
fn read_on(publication: &Publication<Policy>) {
    let first = read(publication);
    let second = read(publication);
    if let Some((version, confirmed)) = first {
        let (next_version, next_confirmed) = second.expect("what was published stays");
        assert!(next_version >= version && next_confirmed >= confirmed, "{first:?}, then {second:?}");
    }
}

fn started(asked: u64) -> Shared {
    let publication = Publication::new();
    publish(&publication, asked);
    Arc::new(publication)
}

fn spawn(publication: &Shared, work: impl FnOnce(&Publication<Policy>) + 'static) -> thread::JoinHandle<()> {
    let publication = Arc::clone(publication);
    thread::spawn(move || work(&publication))
}

#[test]
fn an_older_version_never_replaces_a_newer_one() {
    explore(|| {
        let publication = Arc::new(Publication::new());
        let newer = spawn(&publication, |publication| publish(publication, 20));
        let older = spawn(&publication, |publication| publish(publication, 10));
        read_on(&publication);
        newer.join().unwrap();
        older.join().unwrap();
        assert_eq!(read(&publication), Some((2, 20)));
    });
}

#[test]
fn two_publishers_and_a_reader() {
    explore(|| {
        let publication = started(10);
        let first = spawn(&publication, |publication| publish(publication, 20));
        let second = spawn(&publication, |publication| publish(publication, 30));
        read_on(&publication);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(read(&publication), Some((3, 30)));
    });
}

/// The poller hears of version 2 before the replica has it: that must not make version 1 look fresh.
#[test]
fn a_confirmation_never_vouches_for_a_version_that_is_not_in_force() {
    explore(|| {
        let publication = started(10);
        let poller = spawn(&publication, |publication| {
            publication.confirm(1, 15);
            publication.confirm(2, 25);
        });
        let publisher = spawn(&publication, |publication| publish(publication, 20));
        read_on(&publication);
        poller.join().unwrap();
        publisher.join().unwrap();
        let (version, confirmed) = read(&publication).expect("it was published");
        assert!(version == 2 && [20, 25].contains(&confirmed));
    });
}

#[test]
fn a_confirmation_before_the_first_policy_counts_for_nothing() {
    explore(|| {
        let publication = Arc::new(Publication::new());
        let poller = spawn(&publication, |publication| publication.confirm(1, 15));
        let publisher = spawn(&publication, |publication| publish(publication, 10));
        if let Some((version, confirmed)) = read(&publication) {
            // Between the swap and its own confirmation nothing vouches for the policy yet.
            assert!(version == 1 && [0, 10, 15].contains(&confirmed));
        }
        poller.join().unwrap();
        publisher.join().unwrap();
        assert_eq!(publication.current().map(|policy| policy.version), Some(1));
    });
}

/// The models can fail: a reader that took the policy first and the moment afterwards is caught.
#[test]
#[should_panic(expected = "was vouched for at")]
fn a_reader_in_the_wrong_order_is_found_out() {
    explore(|| {
        let publication = started(10);
        let publisher = spawn(&publication, |publication| publish(publication, 20));
        let policy = publication.current().expect("it was published");
        let (_, confirmed) = publication.read().expect("it was published");
        assert!(
            policy.version >= version_at(confirmed),
            "version {} was vouched for at {confirmed}",
            policy.version
        );
        publisher.join().unwrap();
    });
}

/// And a confirmation that does not look at what is in force is caught too.
#[test]
#[should_panic(expected = "was vouched for at")]
fn a_confirmation_that_does_not_look_is_found_out() {
    explore(|| {
        let publication = started(10);
        // Version 1 is in force, so this is taken; that the store was at 2 is what it leaves out.
        let poller = spawn(&publication, |publication| publication.confirm(1, 25));
        let publisher = spawn(&publication, |publication| publish(publication, 20));
        read(&publication);
        poller.join().unwrap();
        publisher.join().unwrap();
    });
}
