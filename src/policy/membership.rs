//! Who is in which group, and whose right to administer is spoken of, as a snapshot knows it.

use super::rows::WORKSPACE;
use super::snapshot::Snapshot;
use crate::access::{Caller, Principal, PrincipalKind, Privilege};

impl Snapshot {
    /// Who was put into this very group, in the order of their names.
    pub fn direct_members(&self, group: &Principal) -> Vec<&Principal> {
        self.named(self.people.find(group).map_or(&[], |(_, person)| &person.members))
    }

    /// The groups that this principal was put into itself.
    pub fn direct_groups(&self, principal: &Principal) -> Vec<&Principal> {
        self.named(self.people.find(principal).map_or(&[], |(_, person)| &person.groups))
    }

    /// Every group that a caller acts as: through whatever groups, by its credential, and `users`.
    pub fn groups_of(&self, caller: &Caller) -> Vec<&Principal> {
        let mut groups = self.named(&self.subject_of(caller).identities);
        groups.retain(|group| group.kind == PrincipalKind::Group);
        groups
    }

    /// Whether the right to govern policy is at stake with this principal or with a group it is in: it is an
    /// administrator, or a grant or a denial of that right speaks of it. Whether it may call now, or a
    /// grant has ended, makes no difference: both can change.
    pub fn governs(&self, principal: &Principal) -> bool {
        let subject = self.subject(principal, &[]);
        let mut governs = false;
        if let Some(row) = self.rows.get(WORKSPACE) {
            row.each_of(&subject, |entry| {
                governs |= self.levels.set(entry.given).has(Privilege::PolicyManage);
            });
        }
        governs
    }

    fn named(&self, numbers: &[u32]) -> Vec<&Principal> {
        let mut named: Vec<&Principal> =
            numbers.iter().filter_map(|number| self.people.names.name(*number)).collect();
        named.sort_unstable();
        named
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::{Effect, GrantId, PolicyEdit, Rule, Securable};
    use crate::clock::UnixMillis;
    use crate::policy::{Builder, Levels};

    fn name(text: &str) -> Principal {
        text.parse().unwrap()
    }

    fn rule(id: i64, principal: &str, privilege: &str, effect: Effect) -> Rule {
        Rule {
            id: GrantId(id),
            principal: name(principal),
            securable: Securable::workspace(),
            privilege: privilege.to_owned(),
            effect,
            expires_at: Some(UnixMillis(1)),
        }
    }

    #[test]
    fn whoever_could_come_to_govern_is_known_also_while_shut_out() {
        let mut builder = Builder::new(Arc::new(Levels::builtin().unwrap()));
        builder.member(&name("group:admins"), &name("group:ops"));
        builder.member(&name("group:ops"), &name("user:ann"));
        builder.principal(&name("user:ann"), false);
        builder.member(&name("group:bound"), &name("user:dan"));
        builder.grant(&rule(1, "user:bob", "policy.manage", Effect::Allow));
        builder.grant(&rule(2, "user:cat", "ALL", Effect::Allow));
        builder.grant(&rule(3, "group:bound", "policy.manage", Effect::Deny));
        builder.grant(&rule(4, "user:eve", "identity.manage", Effect::Allow));
        let policy = builder.build(1);
        for who in
            ["user:ann", "group:ops", "group:admins", "user:bob", "user:cat", "group:bound", "user:dan"]
        {
            assert!(policy.governs(&name(who)), "{who}");
        }
        for who in ["user:eve", "user:nobody", "group:users", "group:unknown"] {
            assert!(!policy.governs(&name(who)), "{who}");
        }
        assert_eq!(policy.direct_members(&name("group:admins")), [&name("group:ops")]);
        assert_eq!(policy.direct_groups(&name("user:ann")), [&name("group:ops")]);
        let left = PolicyEdit::Leave { group: name("group:ops"), member: name("user:ann") };
        assert!(!policy.apply(2, &[left]).unwrap().governs(&name("user:ann")));
    }
}
