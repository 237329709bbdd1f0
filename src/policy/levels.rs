//! Levels and bundles as sets of privileges, one bit each.

use std::collections::HashSet;

use super::fault::{Fault, fault};
use super::gates::is_gated;
use crate::access::{Given, LEVELS, Privilege, SecurableKind};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("levels file, line {line}: {problem}")]
pub struct LevelsError {
    pub line: u64,
    pub problem: String,
}

/// A set of privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrivilegeSet(u128);

impl PrivilegeSet {
    pub const EMPTY: Self = Self(0);
    /// What nothing narrows.
    pub const EVERYTHING: Self = Self(u128::MAX);

    pub fn of(privileges: impl IntoIterator<Item = Privilege>) -> Self {
        privileges.into_iter().fold(Self::EMPTY, |set, privilege| set.with(privilege))
    }

    pub fn with(self, privilege: Privilege) -> Self {
        Self(self.0 | 1 << privilege as u8)
    }

    pub fn has(self, privilege: Privilege) -> bool {
        self.0 >> privilege as u8 & 1 == 1
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Privilege> {
        Privilege::ALL.iter().copied().filter(move |privilege| self.has(*privilege))
    }
}

/// Every privilege must have a bit.
const _: () = assert!(Privilege::ALL.len() <= 128);

/// Which privileges each thing that can be granted gives.
#[derive(Debug, Clone)]
pub struct Levels {
    /// On the securable it was granted on and on everything below it, by code.
    gives: Vec<PrivilegeSet>,
    /// What an owner has on the owned securable itself.
    owned: PrivilegeSet,
    /// What means something for a kind of securable.
    applicable: [PrivilegeSet; SecurableKind::ALL.len()],
    /// What needs no way to a securable.
    ungated: PrivilegeSet,
    /// What needs the way to be open to those who use it.
    used: PrivilegeSet,
}

impl Levels {
    /// The levels as shipped in `policies/levels.csv`.
    pub fn builtin() -> Result<Self, LevelsError> {
        Self::parse(include_str!("../../policies/levels.csv"))
    }

    /// Parses `level,privilege` lines. Every level must be there, and none that is unknown.
    pub fn parse(text: &str) -> Result<Self, LevelsError> {
        let mut levels = Self::fixed();
        let mut seen: HashSet<(String, Privilege)> = HashSet::new();
        let mut reader =
            csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
        for record in reader.records() {
            let record = record.map_err(|error| LevelsError {
                line: error.position().map_or(0, csv::Position::line),
                problem: error.to_string(),
            })?;
            let line = record.position().map_or(0, csv::Position::line);
            let refuse = |problem: String| LevelsError { line, problem };
            let (Some(level), Some(privilege), 2) = (record.get(0), record.get(1), record.len()) else {
                return Err(refuse("expected `level,privilege`".to_owned()));
            };
            if !LEVELS.contains(&level) {
                return Err(refuse(format!("`{level}` is not a level")));
            }
            let privilege: Privilege = privilege.parse().map_err(|error| refuse(format!("{error}")))?;
            if privilege.is_catalog_privilege() {
                return Err(refuse(format!(
                    "`{privilege}` is a catalog privilege; levels are for experiments"
                )));
            }
            if !seen.insert((level.to_owned(), privilege)) {
                return Err(refuse(format!("`{privilege}` is given twice for `{level}`")));
            }
            levels.extend(level, [privilege]);
        }
        for level in LEVELS {
            if !seen.iter().any(|(known, _)| known == level) {
                return Err(LevelsError { line: 0, problem: format!("`{level}` is missing") });
            }
        }
        let edit: Vec<Privilege> =
            Privilege::ALL.iter().copied().filter(|privilege| levels.gives("CAN_EDIT", *privilege)).collect();
        levels.extend("CAN_RUN", edit);
        Ok(levels)
    }

    /// What no file can change: single privileges, `ALL`, the catalog's bundles, and those of warehouses.
    fn fixed() -> Self {
        let gives = Given::every().map(|given| PrivilegeSet::of(given.privilege())).collect();
        let every = || Privilege::ALL.iter().copied();
        let of = |chosen: &dyn Fn(Privilege) -> bool| PrivilegeSet::of(every().filter(|one| chosen(*one)));
        let mut levels = Self {
            gives,
            owned: of(&Privilege::of_owner),
            applicable: std::array::from_fn(|kind| of(&|one| one.applies_to(SecurableKind::ALL[kind]))),
            ungated: of(&|one| !is_gated(one)),
            used: of(&|one| is_gated(one) && one != Privilege::Manage),
        };
        levels.extend("ALL", every());
        levels.extend(
            "ALL_PRIVILEGES",
            every().filter(|privilege| {
                privilege.in_all_privileges()
                    || fault(Fault::ManageInAllPrivileges) && *privilege == Privilege::Manage
            }),
        );
        levels.extend("OWNER", every().filter(|privilege| privilege.of_owner_below()));
        let warehouse = [Privilege::WarehouseUse, Privilege::WarehouseMonitor, Privilege::WarehouseManage];
        levels.extend("CAN_USE", warehouse[..1].iter().copied());
        levels.extend("CAN_MONITOR", warehouse[..2].iter().copied());
        levels.extend("CAN_MANAGE", warehouse);
        // Who may use or manage a container may pass through it to manage what is inside.
        for (passing, by) in [
            (Privilege::EnterCatalog, Privilege::UseCatalog),
            (Privilege::EnterCatalog, Privilege::Manage),
            (Privilege::EnterSchema, Privilege::UseSchema),
            (Privilege::EnterSchema, Privilege::Manage),
        ] {
            levels.extend(by.as_str(), [passing]);
        }
        levels
    }

    fn extend(&mut self, named: &str, privileges: impl IntoIterator<Item = Privilege>) {
        if let Ok(given) = named.parse::<Given>()
            && let Some(set) = self.gives.get_mut(given.code())
        {
            *set = set.union(PrivilegeSet::of(privileges));
        }
    }

    /// What a grant gives on its securable and below it.
    pub fn set(&self, given: Given) -> PrivilegeSet {
        self.gives.get(given.code()).copied().unwrap_or_default()
    }

    /// What a grant gives on its very securable.
    pub fn set_here(&self, given: Given) -> PrivilegeSet {
        let below = self.set(given);
        if given == Given::OWNER { below.union(self.owned) } else { below }
    }

    /// What an owner has on the owned securable itself.
    pub fn owned(&self) -> PrivilegeSet {
        self.owned
    }

    /// What means something for such a securable.
    pub fn applicable(&self, kind: SecurableKind) -> PrivilegeSet {
        self.applicable[kind as usize]
    }

    /// What is open to somebody who may use, or may manage, all that a securable lies in.
    pub fn open(&self, may_use: bool, may_manage: bool) -> PrivilegeSet {
        let used = if may_use { self.used } else { PrivilegeSet::EMPTY };
        let managed = PrivilegeSet::of(may_manage.then_some(Privilege::Manage));
        self.ungated.union(used).union(managed)
    }

    /// Whether a grant of `named` (a level, a bundle or a privilege) gives `privilege`. Unknown gives nothing.
    pub fn gives(&self, named: &str, privilege: Privilege) -> bool {
        named.parse::<Given>().is_ok_and(|given| self.set(given).has(privilege))
    }

    /// The levels that give a privilege, least first, for "what would help".
    pub fn giving(&self, privilege: Privilege) -> Vec<&'static str> {
        LEVELS.into_iter().filter(|level| self.gives(level, privilege)).collect()
    }
}
