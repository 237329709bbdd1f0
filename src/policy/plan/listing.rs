//! Everything in force in the order of names, for an export that two people compare line by line.

use std::collections::BTreeMap;

use super::super::snapshot::Snapshot;
use super::difference::is_built_in;
use crate::access::{GrantId, Principal};
use crate::clock::UnixMillis;

/// A grant by its number, in the order of securables, then principals: small, since there may be a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedGrant {
    pub id: GrantId,
    securable: u32,
    principal: u32,
}

#[derive(Debug, Clone, Default)]
pub struct Listing {
    pub groups: Vec<(Principal, Vec<Principal>)>,
    pub grants: Vec<ListedGrant>,
}

impl Listing {
    /// Groups with their direct members, and grants that have not ended; not those that are Tracegate's own.
    pub fn of(policy: &Snapshot, now: UnixMillis) -> Self {
        let mut groups: BTreeMap<Principal, Vec<Principal>> = BTreeMap::new();
        for (group, member) in policy.memberships() {
            groups.entry(group.clone()).or_default().push(member.clone());
        }
        groups.values_mut().for_each(|members| members.sort());
        let mut grants = Vec::new();
        for (securable, _) in policy.securables() {
            let Some(row) = policy.rows.get(securable) else { continue };
            let listed = row.entries().iter().filter(|entry| entry.in_force(now)).filter_map(|entry| {
                let rule = policy.rule(securable, entry)?;
                (!is_built_in(&rule)).then_some(ListedGrant {
                    id: entry.id,
                    securable,
                    principal: entry.principal,
                })
            });
            grants.extend(listed);
        }
        let names = |grant: &ListedGrant| {
            (policy.rows.names.name(grant.securable), policy.people.names.name(grant.principal))
        };
        grants.sort_by(|one, other| names(one).cmp(&names(other)).then(one.id.cmp(&other.id)));
        Self { groups: groups.into_iter().collect(), grants }
    }
}
