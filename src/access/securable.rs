//! Securables: what policy protects. They form a tree, and a privilege on one reaches all below it.

use std::fmt;
use std::str::FromStr;

use super::ids::{ExperimentId, MalformedId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurableKind {
    Workspace,
    Folder,
    Experiment,
    RegisteredModel,
}

impl SecurableKind {
    pub const ALL: [Self; 4] = [Self::Workspace, Self::Folder, Self::Experiment, Self::RegisteredModel];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Folder => "folder",
            Self::Experiment => "experiment",
            Self::RegisteredModel => "registered_model",
        }
    }
}

/// A securable, written `KIND:ID`: `experiment:12`, `folder:/Users/ann@example.com`, `workspace:default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Securable {
    pub kind: SecurableKind,
    pub id: String,
}

impl Securable {
    /// The root of the tree; whatever is granted here holds everywhere.
    pub fn workspace() -> Self {
        Self { kind: SecurableKind::Workspace, id: "default".to_owned() }
    }

    pub fn experiment(id: &ExperimentId) -> Self {
        Self { kind: SecurableKind::Experiment, id: id.as_str().to_owned() }
    }

    pub fn registered_model(name: &str) -> Result<Self, MalformedId> {
        Self::new(SecurableKind::RegisteredModel, name)
    }

    /// The folder that holds an experiment whose name is a path: `/Users/ann/x` lies in `/Users/ann`.
    pub fn folder_of_name(name: &str) -> Option<Self> {
        let (parent, leaf) = name.strip_prefix('/')?.rsplit_once('/')?;
        let clean = |segment: &str| !segment.is_empty() && segment != "." && segment != "..";
        if !clean(leaf) || !parent.split('/').all(clean) {
            return None;
        }
        Some(Self { kind: SecurableKind::Folder, id: format!("/{parent}") })
    }

    /// The securable directly above this one as far as its id alone tells.
    pub fn parent(&self) -> Option<Self> {
        match self.kind {
            SecurableKind::Workspace => None,
            SecurableKind::Folder => Some(Self::folder_of_name(&self.id).unwrap_or_else(Self::workspace)),
            SecurableKind::Experiment | SecurableKind::RegisteredModel => Some(Self::workspace()),
        }
    }

    pub fn new(kind: SecurableKind, id: &str) -> Result<Self, MalformedId> {
        let refuse = |expected| MalformedId { value: id.chars().take(80).collect(), expected };
        match kind {
            SecurableKind::Workspace if id != "default" => return Err(refuse("a workspace (`default`)")),
            SecurableKind::Experiment => {
                ExperimentId::parse(id)?;
            }
            SecurableKind::Folder if Self::folder_of_name(&format!("{id}/x")).is_none() => {
                return Err(refuse("a folder (an absolute path without a trailing slash)"));
            }
            _ if id.is_empty() || id.len() > 500 || id.chars().any(|c| c.is_control() || c == '"') => {
                return Err(refuse("an id (1 to 500 characters without control characters or quotes)"));
            }
            _ => {}
        }
        Ok(Self { kind, id: id.to_owned() })
    }
}

impl fmt::Display for Securable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.kind.as_str(), self.id)
    }
}

impl FromStr for Securable {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        SecurableKind::ALL
            .into_iter()
            .find_map(|kind| Some((kind, text.strip_prefix(kind.as_str())?.strip_prefix(':')?)))
            .map_or_else(
                || {
                    Err(MalformedId {
                        value: text.chars().take(80).collect(),
                        expected: "a securable (`experiment:ID`, `registered_model:NAME`, `folder:/PATH` or `workspace:default`)",
                    })
                },
                |(kind, id)| Self::new(kind, id),
            )
    }
}

impl serde::Serialize for Securable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Securable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_experiment_named_by_a_path_lies_in_its_folder() {
        let folder = Securable::folder_of_name("/Users/ann@example.com/chat").unwrap();
        assert_eq!(folder.to_string(), "folder:/Users/ann@example.com");
        assert_eq!(folder.parent().unwrap().to_string(), "folder:/Users");
        assert_eq!(folder.parent().unwrap().parent().unwrap(), Securable::workspace());
        for flat in ["chat", "/chat", "/a/../b", "//x", "/a//b", "/a/"] {
            assert!(Securable::folder_of_name(flat).is_none(), "{flat}");
        }
    }

    #[test]
    fn ids_round_trip_and_a_bad_one_says_what_it_should_be() {
        for text in ["experiment:7", "folder:/Users/a", "registered_model:my model", "workspace:default"] {
            assert_eq!(text.parse::<Securable>().unwrap().to_string(), text);
        }
        for bad in ["experiment:x", "folder:/a/", "folder:a", "workspace:other", "registered_model:", "12"] {
            assert!(bad.parse::<Securable>().is_err(), "{bad}");
        }
    }
}
