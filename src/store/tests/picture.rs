//! What a replica that follows the log of changes holds: built from a full reading or from steps.

use std::collections::{BTreeMap, BTreeSet};

use crate::access::{Effect, GrantId, PolicyEdit, Rule};
use crate::clock::UnixMillis;
use crate::store::{PolicyRow, PolicyState, Store};

#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Picture {
    pub version: i64,
    pub principals: BTreeMap<String, bool>,
    pub members: BTreeSet<(String, String)>,
    pub places: BTreeMap<String, String>,
    pub grants: BTreeMap<i64, Rule>,
}

impl Picture {
    pub async fn read(store: &Store) -> Self {
        let mut picture = Self::default();
        let version = store
            .read_policy(&mut |row| {
                picture.take(row);
                Ok(())
            })
            .await
            .unwrap();
        Self { version, ..picture }
    }

    fn take(&mut self, row: PolicyRow<'_>) {
        let twice = match row {
            PolicyRow::Principal { principal, active } => {
                self.principals.insert(principal.to_owned(), active).is_some()
            }
            PolicyRow::Member { group, member } => {
                !self.members.insert((group.to_owned(), member.to_owned()))
            }
            PolicyRow::Place { securable, parent } => {
                self.places.insert(securable.to_owned(), parent.to_owned()).is_some()
            }
            PolicyRow::Grant { id, principal, securable, privilege, deny, expires_at_ms } => {
                let rule = Rule {
                    id: GrantId(id),
                    principal: principal.parse().unwrap(),
                    securable: securable.parse().unwrap(),
                    privilege: privilege.to_owned(),
                    effect: if deny { Effect::Deny } else { Effect::Allow },
                    expires_at: expires_at_ms.map(UnixMillis),
                };
                self.grants.insert(id, rule).is_some()
            }
        };
        assert!(!twice, "{row:?} came twice");
    }

    pub fn of_state(state: &PolicyState) -> Self {
        let known = |principal: &crate::access::Principal, active: bool| (principal.to_string(), active);
        let inactive: Vec<_> =
            state.principals.iter().filter(|(_, active)| !active).map(|(who, _)| who).collect();
        assert_eq!(inactive, state.inactive.iter().collect::<Vec<_>>());
        Self {
            version: state.version,
            principals: state.principals.iter().map(|(who, active)| known(who, *active)).collect(),
            members: state
                .memberships
                .iter()
                .map(|(group, member)| (group.to_string(), member.to_string()))
                .collect(),
            places: state
                .parents
                .iter()
                .map(|(child, parent)| (child.to_string(), parent.to_string()))
                .collect(),
            grants: state.grants.iter().map(|grant| (grant.id.0, grant.rule())).collect(),
        }
    }

    /// Catches up with the store by the steps that it kept. Steps are exact: each changes something that is
    /// as the step says it is.
    pub async fn catch_up(&mut self, store: &Store) {
        for step in store.policy_edits(self.version, i64::MAX).await.unwrap() {
            assert_eq!(step.version, self.version + 1);
            self.version = step.version;
            for edit in step.edits.unwrap() {
                self.apply(edit);
            }
        }
    }

    fn apply(&mut self, edit: PolicyEdit) {
        match edit {
            PolicyEdit::Principal { principal, active } => {
                let before = self.principals.insert(principal.to_string(), active);
                assert_ne!(before, Some(active), "{principal}");
            }
            PolicyEdit::Grant(rule) => {
                assert!(self.principals.contains_key(&rule.principal.to_string()), "{rule:?}");
                self.grants.insert(rule.id.0, rule);
            }
            PolicyEdit::Revoke(rule) => assert_eq!(self.grants.remove(&rule.id.0), Some(rule)),
            PolicyEdit::Join { group, member } => {
                assert!(self.members.insert((group.to_string(), member.to_string())));
            }
            PolicyEdit::Leave { group, member } => {
                assert!(self.members.remove(&(group.to_string(), member.to_string())));
            }
            PolicyEdit::Place { securable, parent } => {
                self.places.insert(securable.to_string(), parent.to_string());
            }
            PolicyEdit::Unplace { securable } => {
                assert!(self.places.remove(&securable.to_string()).is_some());
            }
        }
    }
}
