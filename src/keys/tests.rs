//! Rings as two replicas have them, in the database and in a file.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::clock::{ManualClock, UnixMillis};
use crate::config::database::DatabaseConfig;
use crate::seal::NotOurs;
use crate::store::Retirement;
use crate::store::test_postgres::TestDatabase;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const FORCED: Retirement = Retirement { force: true, settled_ms: 0, replaced: false };

struct World {
    database: TestDatabase,
    directory: tempfile::TempDir,
    clock: ManualClock,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { database: TestDatabase::create().await, directory, clock: ManualClock::at(NOW.0) }
    }

    async fn store(&self) -> Store {
        let config = DatabaseConfig { url: Some(self.database.url.clone()), ..Default::default() };
        Store::open(&config, self.directory.path()).await.unwrap()
    }

    async fn replica(&self) -> Arc<Keys> {
        self.with_file(None).await.unwrap()
    }

    async fn with_file(&self, file: Option<&Path>) -> Result<Arc<Keys>, KeysError> {
        Keys::open(self.store().await, Arc::new(self.clock.clone()), file).await
    }

    fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Seals at one replica.
    fn seal(&self, keys: &Keys) -> String {
        keys.ring(Purpose::Sealing).seal(self.now(), "page of ann", b"offset 40").unwrap()
    }
}

async fn opens(keys: &Keys, sealed: &str) -> bool {
    let ring = keys.ring_for(Purpose::Sealing, sealed).await;
    match ring.open("page of ann", sealed) {
        Ok(content) => {
            assert_eq!(content, b"offset 40");
            assert_eq!(ring.open("page of bob", sealed), Err(NotOurs));
            true
        }
        Err(NotOurs) => false,
    }
}

fn random_key(first: u8) -> String {
    let bytes: Vec<u8> = (0..32).map(|index| first.wrapping_add(index)).collect();
    STANDARD.encode(bytes)
}

fn file(active: &str, keys: &[(&str, u8)]) -> String {
    let keys: String =
        keys.iter().map(|(id, first)| format!("{id} = \"{}\"\n", random_key(*first))).collect();
    format!("[sealing]\nactive = \"{active}\"\n[sealing.keys]\n{keys}")
}

#[tokio::test]
async fn before_anybody_rotates_all_is_as_the_version_before_makes_it() {
    let world = World::new().await;
    let keys = world.replica().await;
    let sealed = world.seal(&keys);
    let old = crate::seal::Sealer::new(&world.store().await.secret("page-tokens").await.unwrap());
    assert_eq!(old.open("page of ann", &sealed).unwrap(), b"offset 40");
    assert!(opens(&keys, &old.seal("page of ann", b"offset 40").unwrap()).await);
    let hash = keys.ring(Purpose::Token).hash(world.now(), "tg_x");
    assert_eq!(hash.key, "k1");
    assert_eq!(keys.ring(Purpose::Token).hashes(world.now(), "tg_x"), [hash]);
}

#[tokio::test]
async fn what_one_replica_seals_after_a_rotation_opens_at_one_that_has_not_heard_of_it() {
    let world = World::new().await;
    let (one, two) = (world.replica().await, world.replica().await);
    let before = world.seal(&one);
    for id in ["k2", "k3"] {
        // Twice in a row.
        world.store().await.rotate_key(Purpose::Sealing, 0, "root", world.now()).await.unwrap();
        one.refresh().await.unwrap();
        assert_eq!(one.ring(Purpose::Sealing).active_id(world.now()), id);
    }
    let after = world.seal(&one);
    assert!(after.starts_with("k3."));
    assert_eq!(two.ring(Purpose::Sealing).ids(), ["k1"]);
    assert!(opens(&two, &after).await && opens(&two, &before).await && opens(&one, &before).await);
    assert_eq!(two.ring(Purpose::Sealing).ids(), ["k1", "k2", "k3"]);

    // A key that is retired opens nothing, here at once and there when it is read again.
    let late = UnixMillis(NOW.0 + 3_600_000);
    world.store().await.retire_key(Purpose::Sealing, "k1", FORCED, "root", late).await.unwrap();
    one.refresh().await.unwrap();
    two.refresh().await.unwrap();
    assert!(!opens(&one, &before).await && !opens(&two, &before).await);
    assert!(opens(&one, &after).await && opens(&two, &after).await);
}

#[tokio::test]
async fn a_forged_id_opens_nothing_and_reads_the_store_once_a_second_at_most() {
    let world = World::new().await;
    let keys = world.replica().await;
    world.store().await.rotate_key(Purpose::Sealing, 0, "root", world.now()).await.unwrap();
    keys.refresh().await.unwrap();
    let sealed = world.seal(&keys);
    let body = sealed.strip_prefix("k2.").unwrap();
    let before = keys.held.load().readings;
    for forged in [
        body.to_owned(),
        format!("k1.{body}"),
        format!("k3.{body}"),
        format!("K2.{body}"),
        format!("k02.{body}"),
        format!(" k2.{body}"),
        format!("k2..{body}"),
        format!("k2.k2.{body}"),
        format!(".{body}"),
        format!("{}.{body}", "k".repeat(5000)),
        ".".to_owned(),
        "k2.".to_owned(),
        "k2".to_owned(),
        String::new(),
    ] {
        assert!(!opens(&keys, &forged).await, "{forged}");
    }
    // The first key has one spelling.
    let first = Ring::of(
        Purpose::Sealing,
        *world.store().await.keys().await.unwrap()[1].value.as_ref().unwrap().expose(),
    );
    let plain = first.seal(world.now(), "page of ann", b"offset 40").unwrap();
    assert!(!opens(&keys, &format!("k1.{plain}")).await);
    let ring = keys.ring(Purpose::Token);
    for _ in 0..100 {
        assert!(keys.newer_than(&ring).await.is_none());
    }
    // Twice, where the loop took longer than a second on a busy machine; never once for each.
    assert!(keys.held.load().readings - before < 20);
    assert!(opens(&keys, &sealed).await);
}

#[tokio::test]
async fn a_key_is_known_to_all_before_it_is_used_and_takes_over_without_a_second_step() {
    let world = World::new().await;
    let (one, two) = (world.replica().await, world.replica().await);
    // Whoever asked for it is gone before anything else is done.
    let gone = world.store().await;
    gone.rotate_key(Purpose::Sealing, 60_000, "root", world.now()).await.unwrap();
    drop(gone);
    let states = async || {
        let listed = one.list().await.unwrap();
        let sealing = listed.into_iter().filter(|key| key.purpose == "sealing");
        sealing.map(|key| (key.id, key.state)).collect::<Vec<_>>()
    };
    use KeyState::{Accepted, Active, Announced};
    assert_eq!(states().await, [("k1".to_owned(), Active), ("k2".to_owned(), Announced)]);
    assert!(!world.seal(&one).contains('.'));
    two.refresh().await.unwrap();
    let early = world.seal(&two);
    world.clock.advance(59_999);
    assert!(!world.seal(&two).contains('.'));
    world.clock.advance(1);
    assert_eq!(states().await, [("k1".to_owned(), Accepted), ("k2".to_owned(), Active)]);
    assert!(world.seal(&one).starts_with("k2.") && world.seal(&two).starts_with("k2."));
    assert!(opens(&one, &early).await);
    // A replica that starts only now, and one whose clock is far behind.
    let (late, behind) = (world.replica().await, world.replica().await);
    assert!(world.seal(&late).starts_with("k2."));
    let slow = behind.ring(Purpose::Sealing).seal(UnixMillis(-5), "page of ann", b"offset 40").unwrap();
    assert!(opens(&late, &slow).await);
}

#[tokio::test]
async fn a_file_has_the_keys_instead_of_the_database() {
    let world = World::new().await;
    let path = world.directory.path().join("keys.toml");
    std::fs::write(&path, file("a", &[("a", 1)])).unwrap();
    let keys = world.with_file(Some(&path)).await.unwrap();
    let sealed = world.seal(&keys);
    assert!(sealed.starts_with("a."));
    // The database has none for what the file has, and one for all else.
    let rows = world.store().await.keys().await.unwrap();
    assert!(rows.iter().all(|row| row.purpose != Purpose::Sealing) && rows.len() == 4);
    // What the database could have made is nothing.
    let guess = Ring::of(Purpose::Sealing, world.store().await.secret("page-tokens").await.unwrap());
    assert!(!opens(&keys, &guess.seal(world.now(), "page of ann", b"offset 40").unwrap()).await);

    // First known, then used; the replica that has it later knows what the other made.
    std::fs::write(&path, file("a", &[("a", 1), ("b", 2)])).unwrap();
    keys.refresh().await.unwrap();
    assert!(world.seal(&keys).starts_with("a."));
    std::fs::write(&path, file("b", &[("a", 1), ("b", 2)])).unwrap();
    let other = world.with_file(Some(&path)).await.unwrap();
    let by_b = world.seal(&other);
    assert!(by_b.starts_with("b.") && opens(&keys, &by_b).await && opens(&other, &sealed).await);
    // Out of the file, out of force; the id with another key is another key.
    std::fs::write(&path, file("b", &[("b", 2)])).unwrap();
    keys.refresh().await.unwrap();
    assert!(!opens(&keys, &sealed).await && opens(&keys, &by_b).await);
    std::fs::write(&path, file("b", &[("b", 3)])).unwrap();
    keys.refresh().await.unwrap();
    assert!(!opens(&keys, &by_b).await);
}

#[tokio::test]
async fn a_file_that_is_bad_is_refused_and_what_was_known_stays_in_force() {
    let world = World::new().await;
    let path = world.directory.path().join("keys.toml");
    assert!(matches!(world.with_file(Some(&path)).await, Err(KeysError::File { .. })));
    std::fs::write(&path, "[sealing]").unwrap();
    let refused = world.with_file(Some(&path)).await.err().unwrap().to_string();
    assert!(refused.contains("server.keys_file") && refused.contains("keys.toml"), "{refused}");
    std::fs::write(&path, file("a", &[("a", 1)])).unwrap();
    let keys = world.with_file(Some(&path)).await.unwrap();
    let sealed = world.seal(&keys);
    for bad in [
        String::new(),
        "x".repeat(100_000),
        file("b", &[("a", 1)]),
        file("a", &[("a", 1)]).replace("a = \"", "a = \"!"),
    ] {
        std::fs::write(&path, bad).unwrap();
        keys.refresh().await.unwrap();
        let complaint = keys.complaint().unwrap();
        assert!(complaint.contains("keys.toml") && !complaint.contains(&random_key(1)[4..12]), "{complaint}");
        assert!(world.seal(&keys).starts_with("a.") && opens(&keys, &sealed).await);
    }
    std::fs::remove_file(&path).unwrap();
    keys.refresh().await.unwrap();
    assert!(keys.complaint().is_some() && opens(&keys, &sealed).await);
    std::fs::write(&path, file("a", &[("a", 1)])).unwrap();
    keys.refresh().await.unwrap();
    assert_eq!(keys.complaint(), None);
}

#[tokio::test]
async fn keys_of_the_database_go_on_under_a_file_until_they_are_retired() {
    let world = World::new().await;
    let before = world.replica().await;
    let old = world.seal(&before);
    let path = world.directory.path().join("keys.toml");
    std::fs::write(&path, file("a", &[("a", 1)])).unwrap();
    let keys = world.with_file(Some(&path)).await.unwrap();
    assert!(keys.is_replaced(Purpose::Sealing) && !keys.is_replaced(Purpose::Token));
    assert!(opens(&keys, &old).await && world.seal(&keys).starts_with("a."));
    let replaced = Retirement { force: false, settled_ms: 0, replaced: true };
    world.store().await.retire_key(Purpose::Sealing, "k1", replaced, "root", world.now()).await.unwrap();
    keys.refresh().await.unwrap();
    assert!(!opens(&keys, &old).await);
    let listed = keys.list().await.unwrap();
    let of_sealing: Vec<_> = listed
        .iter()
        .filter(|key| key.purpose == "sealing")
        .map(|key| (key.id.as_str(), key.state, key.source))
        .collect();
    assert_eq!(
        of_sealing,
        [("k1", KeyState::Retired, Source::Database), ("a", KeyState::Active, Source::File)]
    );
    assert!(!format!("{listed:?}").contains(&random_key(1)));
}
