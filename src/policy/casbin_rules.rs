//! Policy in casbin's words: the requests that a check means, and everything in force as lines that any casbin
//! implementation reads together with `policies/model.conf`.

use std::collections::HashSet;

use super::gates::conjunction;
use super::people::USERS;
use super::rows::{Entry, NEVER};
use super::snapshot::Snapshot;
use crate::access::{Check, Given, Principal, PrincipalKind, Privilege, Rule};
use crate::clock::UnixMillis;

/// The model that the engine is compiled from. Another one cannot be used.
pub const MODEL: &str = include_str!("../../policies/model.conf");

/// Accepts the model that the engine is compiled from, however it is spaced and commented, and no other: the
/// engine would not decide as another one says.
pub fn accept_model(text: &str) -> Result<(), String> {
    let meaning = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        lines
            .map(|line| line.chars().filter(|c| !c.is_whitespace()).collect::<String>())
            .filter(|line| !line.is_empty())
            .collect()
    };
    let (ours, theirs) = (meaning(MODEL), meaning(text));
    match theirs.iter().zip(&ours).find(|(their, our)| their != our) {
        _ if theirs == ours => Ok(()),
        Some((their, our)) => Err(format!(
            "is not the model that this version decides by: it says `{their}` instead of `{our}`"
        )),
        None => Err("is not the model that this version decides by: it has lines more or less".to_owned()),
    }
}

/// What nobody can be granted: stands for a privilege on a securable for which it means nothing.
const INAPPLICABLE: &str = "inapplicable";
/// What an owner has on the owned securable itself, in the matcher of the model.
pub(super) const OWNED: &str = "OWNED";

/// A name as casbin reads it. Implementations differ in how they take commas, quotes, brackets and spaces apart,
/// so everything but letters, digits and `_.:/@+=~-` is written as `%XX`, the percent sign included.
pub fn escaped(name: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.:/@+=~-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The requests whose conjunction is the check: subject, object, action.
pub fn requests(principal: &Principal, check: &Check) -> Vec<[String; 3]> {
    let subject = escaped(&principal.to_string());
    match conjunction(check) {
        None => vec![[subject, escaped(&check.securable.to_string()), INAPPLICABLE.to_owned()]],
        Some(checks) => checks
            .iter()
            .map(|check| {
                [subject.clone(), escaped(&check.securable.to_string()), check.privilege.as_str().to_owned()]
            })
            .collect(),
    }
}

/// A grant as a policy line.
pub(super) fn policy_line(rule: &Rule) -> Vec<String> {
    vec![
        escaped(&rule.principal.to_string()),
        escaped(&rule.securable.to_string()),
        rule.privilege.clone(),
        rule.effect.as_str().to_owned(),
        rule.id.0.to_string(),
    ]
}

/// Everything in force at a moment: `p` lines, then `g` lines.
///
/// casbin knows neither time nor deactivation, so what has ended, and whatever concerns a deactivated principal, is
/// left out: casbin then denies it. Securables are linked to all that is above them, since implementations differ
/// in how deep they follow links.
pub fn export(snapshot: &Snapshot, now: UnixMillis) -> impl Iterator<Item = Vec<String>> {
    let tagged = |kind: &str, line: Vec<String>| [vec![kind.to_owned()], line].concat();
    grants(snapshot, now).map(move |line| tagged("p", line)).chain(
        memberships(snapshot)
            .chain(tree(snapshot))
            .chain(bundles(snapshot))
            .map(move |line| tagged("g", line)),
    )
}

fn grants(snapshot: &Snapshot, now: UnixMillis) -> impl Iterator<Item = Vec<String>> {
    let counts = move |entry: &Entry| {
        let active = snapshot.people.get(entry.principal).is_some_and(|person| !person.inactive);
        active && (entry.ends == NEVER || now < entry.ends)
    };
    snapshot.securables().flat_map(move |(index, _)| {
        let entries = snapshot.rows.get(index).map_or(&[][..], |row| row.entries());
        let rules = entries.iter().filter(move |entry| counts(entry));
        rules.filter_map(move |entry| snapshot.rule(index, entry)).map(|rule| policy_line(&rule))
    })
}

fn memberships(snapshot: &Snapshot) -> impl Iterator<Item = Vec<String>> {
    snapshot.principals().flat_map(|(index, member)| {
        let person = snapshot.people.get(index).filter(|person| !person.inactive);
        let everyone = (member.kind != PrincipalKind::Group).then_some(USERS);
        let groups: HashSet<u32> =
            person.into_iter().flat_map(|person| person.groups.iter().copied().chain(everyone)).collect();
        let mut groups: Vec<u32> = groups.into_iter().collect();
        groups.sort_unstable();
        let member = escaped(&member.to_string());
        let names = groups.into_iter().filter_map(|group| snapshot.people.names.name(group));
        names.map(move |group| vec![member.clone(), escaped(&group.to_string())])
    })
}

fn tree(snapshot: &Snapshot) -> impl Iterator<Item = Vec<String>> {
    snapshot.securables().flat_map(|(index, securable)| {
        let securable = escaped(&securable.to_string());
        let above = std::iter::successors(snapshot.parent_of(index), |above| snapshot.parent_of(*above));
        let names = above.filter_map(|above| snapshot.rows.names.name(above));
        names.map(move |above| vec![securable.clone(), escaped(&above.to_string())])
    })
}

fn bundles(snapshot: &Snapshot) -> impl Iterator<Item = Vec<String>> {
    let line = |privilege: Privilege, bundle: &str| vec![privilege.as_str().to_owned(), bundle.to_owned()];
    let given = Given::every().flat_map(move |given| {
        let set = snapshot.levels.set(given).iter().filter(move |one| Some(*one) != given.privilege());
        set.map(move |privilege| line(privilege, given.as_str()))
    });
    given.chain(snapshot.levels.owned().iter().map(move |privilege| line(privilege, OWNED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_model_that_is_compiled_in_is_accepted() {
        assert_eq!(accept_model(MODEL), Ok(()));
        assert_eq!(accept_model(&MODEL.replace(" = ", "=").replace('\n', "\n\n# said otherwise\n")), Ok(()));
        let permissive = MODEL.replace("&& !some(where (p.eft == deny))", "");
        assert!(accept_model(&permissive).unwrap_err().contains("e=some"));
        assert!(accept_model("").is_err() && accept_model(&format!("{MODEL}\nm = true")).is_err());
    }

    #[test]
    fn names_are_written_so_that_every_reader_takes_them_alike() {
        assert_eq!(escaped("user:ann@example.com"), "user:ann@example.com");
        assert_eq!(escaped("registered_model:a, (b) 50%"), "registered_model:a%2C%20%28b%29%2050%25");
        assert_eq!(escaped("group:é"), "group:%C3%A9");
    }
}
