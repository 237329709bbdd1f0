//! Principals: users, service principals and groups.

use std::fmt;
use std::str::FromStr;

use super::ids::MalformedId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    User,
    ServicePrincipal,
    Group,
}

impl PrincipalKind {
    pub const ALL: [Self; 3] = [Self::User, Self::ServicePrincipal, Self::Group];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ServicePrincipal => "service_principal",
            Self::Group => "group",
        }
    }
}

/// A principal, written `user:alice`, `service_principal:agent` or `group:analysts`.
///
/// The kind is part of the name, so that a group can never be taken for a user of the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    pub kind: PrincipalKind,
    pub name: String,
}

impl Principal {
    /// The group whose members administer Tracegate; they hold every privilege and no deny binds them.
    pub const ADMINS: &'static str = "admins";
    /// The group that every authenticated caller belongs to.
    pub const USERS: &'static str = "users";
    /// The group whose grants say which experiments are in shadow mode. Nobody is in it, and nobody but shadow
    /// mode grants it anything: whoever is denied is decided once more as if a member.
    pub const SHADOW: &'static str = "tracegate-shadow";
    /// The user that stands for callers without credentials, where shadow mode lets them pass.
    pub const ANONYMOUS: &'static str = "anonymous";

    pub fn shadow() -> Self {
        Self { kind: PrincipalKind::Group, name: Self::SHADOW.to_owned() }
    }

    pub fn anonymous() -> Self {
        Self { kind: PrincipalKind::User, name: Self::ANONYMOUS.to_owned() }
    }

    /// Whether the name is one of those that shadow mode keeps for itself: nobody signs in by it, nothing is
    /// granted to it, and it is in no group.
    pub fn is_reserved(&self) -> bool {
        *self == Self::shadow() || *self == Self::anonymous()
    }

    pub fn new(kind: PrincipalKind, name: &str) -> Result<Self, MalformedId> {
        let acceptable = !name.is_empty()
            && name.len() <= 255
            && name.trim() == name
            && !name.chars().any(|c| c.is_control() || c == ',' || c == '"');
        if !acceptable {
            return Err(MalformedId {
                value: name.chars().take(80).collect(),
                expected: "a principal name (1 to 255 characters without control characters, commas or quotes)",
            });
        }
        Ok(Self { kind, name: name.to_owned() })
    }

    pub fn user(name: &str) -> Result<Self, MalformedId> {
        Self::new(PrincipalKind::User, name)
    }

    pub fn group(name: &str) -> Result<Self, MalformedId> {
        Self::new(PrincipalKind::Group, name)
    }

    pub fn service_principal(name: &str) -> Result<Self, MalformedId> {
        Self::new(PrincipalKind::ServicePrincipal, name)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.kind.as_str(), self.name)
    }
}

impl FromStr for Principal {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        PrincipalKind::ALL
            .into_iter()
            .find_map(|kind| Some((kind, text.strip_prefix(kind.as_str())?.strip_prefix(':')?)))
            .map_or_else(
                || {
                    Err(MalformedId {
                        value: text.chars().take(80).collect(),
                        expected: "a principal (`user:NAME`, `service_principal:NAME` or `group:NAME`)",
                    })
                },
                |(kind, name)| Self::new(kind, name),
            )
    }
}

impl serde::Serialize for Principal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Principal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
