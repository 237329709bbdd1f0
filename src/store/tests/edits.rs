//! The steps of changes: whoever follows them holds what a full reading gives.

use super::picture::Picture;
use super::*;
use crate::access::{Effect, GrantId, PolicyEdit};
use crate::store::{StoreError, Wanted};

const PRINCIPALS: [&str; 10] = [
    "user:a",
    "user:b",
    "user:c",
    "service_principal:s",
    "group:admins",
    "group:users",
    "group:one",
    "group:two",
    "group:three",
    "group:four",
];
const GRANTED: [(&str, &str); 9] = [
    ("experiment:1", "CAN_READ"),
    ("experiment:1", "trace.read"),
    ("folder:/f", "CAN_EDIT"),
    ("workspace:default", "ALL"),
    ("catalog:c", "USE CATALOG"),
    ("table:c.s.t", "SELECT"),
    ("schema:c.s", "OWNER"),
    ("table:c.s.t", "OWNER"),
    ("table:c.s.t", "ALL PRIVILEGES"),
];
const PLACES: [(&str, &str); 6] = [
    ("experiment:1", "folder:/f"),
    ("experiment:1", "workspace:default"),
    ("experiment:2", "folder:/f/g"),
    ("table:c.s.t", "schema:c.s"),
    ("table:c.s.t", "schema:c.other"),
    ("folder:/f/g", "folder:/f"),
];

/// A small generator, so that a failure names its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    fn principal(&mut self) -> Principal {
        PRINCIPALS[self.below(PRINCIPALS.len())].parse().unwrap()
    }

    fn grant(&mut self) -> NewGrant {
        let (on, privilege) = GRANTED[self.below(GRANTED.len())];
        NewGrant {
            effect: if self.below(4) == 0 { Effect::Deny } else { Effect::Allow },
            expires_at: (self.below(4) == 0).then(|| UnixMillis(NOW.0 + self.below(3) as i64)),
            reason: (self.below(3) == 0).then(|| format!("reason {}", self.below(2))),
            ..grant(&self.principal(), on, privilege)
        }
    }

    fn step(&mut self) -> Wanted {
        let (group, member) = (self.principal(), self.principal());
        match self.below(6) {
            0..=2 => Wanted::Grant(self.grant()),
            3 => Wanted::Revoke(GrantId(self.below(60) as i64)),
            4 => Wanted::Join { group, member },
            _ => Wanted::Leave { group, member },
        }
    }

    /// One mutation of any kind; a refused one must change nothing.
    async fn mutate(&mut self, store: &Store) -> Result<(), StoreError> {
        let (one, other) = (self.principal(), self.principal());
        match self.below(9) {
            0 => store.ensure_principal(&one, BY, NOW).await.map(drop),
            1 | 2 => store.add_grant(&self.grant(), BY, NOW).await.map(drop),
            3 => store.remove_grant(GrantId(self.below(60) as i64), BY, NOW).await.map(drop),
            4 => store.add_member(&one, &other, BY, NOW).await.map(drop),
            5 => store.remove_member(&one, &other, BY, NOW).await.map(drop),
            6 => store.set_active(&one, self.below(2) == 0, BY, NOW).await.map(drop),
            7 => {
                let (child, parent) = PLACES[self.below(PLACES.len())];
                let (child, parent) = (child.parse().unwrap(), parent.parse().unwrap());
                store.put_securable(&child, &parent, "name", BY, NOW).await.map(drop)
            }
            _ => {
                let steps: Vec<Wanted> = (0..self.below(6)).map(|_| self.step()).collect();
                store.apply_policy(None, &steps, BY, NOW).await.map(drop)
            }
        }
    }
}

#[tokio::test]
async fn who_follows_the_steps_holds_what_a_full_reading_gives() {
    on_both(async |database| {
        let store = database.open().await;
        let mut followed = Picture::read(&store).await;
        assert_eq!(followed.principals.len(), 2);
        let mut refused = 0;
        for seed in 1..=300_u64 {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            if let Err(error) = random.mutate(&store).await {
                assert!(error.is_refusal(), "seed {seed}: {error}");
                refused += 1;
            }
            followed.catch_up(&store).await;
            assert_eq!(followed, Picture::read(&store).await, "seed {seed}");
            assert_eq!(followed, Picture::of_state(&store.policy().await.unwrap()), "seed {seed}");
        }
        assert_eq!(followed.version, store.policy_version().await.unwrap());
        assert!(followed.version > 100 && refused > 20, "{} versions, {refused} refused", followed.version);
        assert!(followed.grants.len() > 5 && followed.members.len() > 5, "{followed:?}");
    })
    .await;
}

#[tokio::test]
async fn principals_that_appear_with_a_grant_or_a_membership_are_steps_too() {
    on_both(async |database| {
        let store = database.open().await;
        let (ann, readers) = (user("ann"), group("readers"));
        let (made, _) = store.add_grant(&grant(&ann, "experiment:1", "CAN_READ"), BY, NOW).await.unwrap();
        store.add_member(&readers, &ann, BY, NOW).await.unwrap();
        let steps = store.policy_edits(0, 100).await.unwrap();
        let new =
            |principal: &Principal| PolicyEdit::Principal { principal: principal.clone(), active: true };
        assert_eq!(steps[0].edits.as_deref(), Some(&[new(&ann), PolicyEdit::Grant(made.rule())][..]));
        let join = PolicyEdit::Join { group: readers.clone(), member: ann };
        assert_eq!(steps[1].edits.as_deref(), Some(&[new(&readers), join][..]));
        assert_eq!(store.policy_edits(1, 100).await.unwrap(), steps[1..]);
        assert_eq!(store.policy_edits(0, 1).await.unwrap(), steps[..1]);
        assert!(store.policy_edits(2, 100).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn steps_that_this_program_cannot_read_send_the_reader_to_the_tables() {
    on_both(async |database| {
        let store = database.open().await;
        store.ensure_principal(&user("ann"), BY, NOW).await.unwrap();
        store.ensure_principal(&user("bob"), BY, NOW).await.unwrap();
        database
            .run("UPDATE policy_changes SET edits = '[{\"edit\": \"from_the_future\"}]' WHERE version = 1")
            .await;
        let steps = store.policy_edits(0, 100).await.unwrap();
        assert_eq!(steps[0].edits, None);
        assert!(steps[1].edits.is_some());
    })
    .await;
}
