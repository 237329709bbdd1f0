//! What a grant gives: a level, a bundle or a single privilege, and on which securables it may be granted.

use std::fmt;
use std::str::FromStr;

use super::ids::MalformedId;
use super::privilege::Privilege;
use super::securable::SecurableKind;

/// The levels on experiments, in the order in which people list them.
pub const LEVELS: [&str; 6] = ["CAN_LIST", "CAN_READ", "CAN_ASSESS", "CAN_INGEST", "CAN_EDIT", "CAN_MANAGE"];

/// Names of bundles, which are not privileges by themselves. Their order is that of their codes.
const BUNDLES: [&str; 12] = [
    "CAN_LIST",
    "CAN_READ",
    "CAN_ASSESS",
    "CAN_INGEST",
    "CAN_EDIT",
    "CAN_MANAGE",
    "CAN_RUN",
    "CAN_USE",
    "CAN_MONITOR",
    "ALL",
    "ALL_PRIVILEGES",
    "OWNER",
];

/// A level, a bundle or a privilege, as one small number.
///
/// `CAN_RUN` is taken as `CAN_EDIT`. `ALL` is every privilege there is; `ALL_PRIVILEGES` is what catalog
/// platforms mean by it. `OWNER` is everything on the owned securable itself and management of what is in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Given(u8);

impl Given {
    /// How many there are; codes are below it.
    pub const COUNT: usize = BUNDLES.len() + Privilege::ALL.len();
    pub const ALL: Self = Self(9);
    pub const ALL_PRIVILEGES: Self = Self(10);
    pub const OWNER: Self = Self(11);

    pub fn every() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).filter_map(|code| u8::try_from(code).ok()).map(Self)
    }

    pub fn of(privilege: Privilege) -> Self {
        Self(BUNDLES.len() as u8 + privilege as u8)
    }

    pub fn code(self) -> usize {
        usize::from(self.0)
    }

    /// The privilege, if it is a single one.
    pub fn privilege(self) -> Option<Privilege> {
        Privilege::ALL.get(self.code().checked_sub(BUNDLES.len())?).copied()
    }

    pub fn as_str(self) -> &'static str {
        self.privilege().map_or_else(|| BUNDLES[self.code().min(BUNDLES.len() - 1)], Privilege::as_str)
    }

    /// Whether a grant of this may be written on such a securable.
    pub fn grantable_on(self, kind: SecurableKind) -> bool {
        use SecurableKind::*;
        let experiments = matches!(kind, Workspace | Folder | Experiment | RegisteredModel);
        match (self.privilege(), self.as_str()) {
            (Some(privilege), _) => privilege.grantable_on(kind),
            (None, "CAN_USE" | "CAN_MONITOR") => matches!(kind, Workspace | Warehouse),
            (None, "CAN_MANAGE") => experiments || kind == Warehouse,
            (None, "ALL") => experiments || kind == Warehouse,
            (None, "ALL_PRIVILEGES") => kind.is_catalog_plane() && kind != Metastore,
            (None, "OWNER") => kind.is_catalog_plane(),
            (None, _) => experiments,
        }
    }
}

impl FromStr for Given {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let bundle = BUNDLES.iter().position(|name| *name == text);
        // `ALL PRIVILEGES`, as catalog clients write it.
        let bundle = bundle.or_else(|| (text == "ALL PRIVILEGES").then_some(Self::ALL_PRIVILEGES.code()));
        match bundle.and_then(|code| u8::try_from(code).ok()) {
            Some(code) => Ok(Self(code)),
            None => text.parse().map(Self::of).map_err(|_| MalformedId {
                value: text.chars().take(80).collect(),
                expected: "a level (such as `CAN_READ`) or a privilege (such as `trace.read` or `SELECT`)",
            }),
        }
    }
}

impl fmt::Display for Given {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_own_code_and_back() {
        for given in Given::every() {
            assert_eq!(given.as_str().parse::<Given>().unwrap(), given);
        }
        assert_eq!(Given::ALL_PRIVILEGES.as_str(), "ALL_PRIVILEGES");
        assert_eq!(Given::ALL.as_str(), "ALL");
        assert_eq!(Given::OWNER.as_str(), "OWNER");
        assert_eq!("ALL PRIVILEGES".parse::<Given>().unwrap(), Given::ALL_PRIVILEGES);
        assert_eq!("USE CATALOG".parse::<Given>().unwrap(), Given::of(Privilege::UseCatalog));
        for unknown in ["", "CAN_FLY", "can_read", "SELECT ", "owner"] {
            assert!(unknown.parse::<Given>().is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_privilege_is_granted_only_where_the_platform_has_it() {
        let on = |given: &str, kind| given.parse::<Given>().unwrap().grantable_on(kind);
        assert!(on("SELECT", SecurableKind::Catalog) && on("SELECT", SecurableKind::View));
        assert!(!on("SELECT", SecurableKind::Volume) && !on("SELECT", SecurableKind::Metastore));
        assert!(on("MODIFY", SecurableKind::Schema) && !on("MODIFY", SecurableKind::View));
        assert!(!on("SELECT", SecurableKind::Experiment) && !on("trace.read", SecurableKind::Table));
        assert!(!on("CAN_READ", SecurableKind::Catalog) && !on("ALL", SecurableKind::Catalog));
        assert!(!on("catalog.enter", SecurableKind::Catalog));
        assert!(on("CAN_USE", SecurableKind::Warehouse) && !on("CAN_READ", SecurableKind::Warehouse));
    }
}
