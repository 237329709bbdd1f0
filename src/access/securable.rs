//! Securables: what policy protects. They form a tree, and a privilege on one reaches all below it.

use std::fmt;
use std::str::FromStr;

use super::ids::{ExperimentId, MalformedId};

macro_rules! kinds {
    ($($variant:ident = $name:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum SecurableKind { $($variant,)* }

        impl SecurableKind {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    Workspace = "workspace",
    Folder = "folder",
    Experiment = "experiment",
    RegisteredModel = "registered_model",
    Warehouse = "warehouse",
    Metastore = "metastore",
    Catalog = "catalog",
    Schema = "schema",
    Table = "table",
    View = "view",
    Volume = "volume",
    Function = "function",
    ExternalLocation = "external_location",
}

impl SecurableKind {
    /// Whether catalog privileges govern it.
    pub fn is_catalog_plane(self) -> bool {
        self >= Self::Metastore
    }

    /// How many names, joined by periods, name one of these in the catalog.
    fn name_parts(self) -> Option<usize> {
        match self {
            Self::Catalog | Self::ExternalLocation => Some(1),
            Self::Schema => Some(2),
            Self::Table | Self::View | Self::Volume | Self::Function => Some(3),
            _ => None,
        }
    }
}

/// A securable, written `KIND:ID`: `experiment:12`, `folder:/Users/ann@example.com`, `table:main.agents.spans`.
///
/// Catalog names are the same in either case, so they are kept in lower case: one spelling, one securable.
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

    /// The root of the catalog tree.
    pub fn metastore() -> Self {
        Self { kind: SecurableKind::Metastore, id: "default".to_owned() }
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
            SecurableKind::Experiment
            | SecurableKind::RegisteredModel
            | SecurableKind::Warehouse
            | SecurableKind::Metastore => Some(Self::workspace()),
            SecurableKind::Catalog | SecurableKind::ExternalLocation => Some(Self::metastore()),
            SecurableKind::Schema => self.container(SecurableKind::Catalog),
            SecurableKind::Table | SecurableKind::View | SecurableKind::Volume | SecurableKind::Function => {
                self.container(SecurableKind::Schema)
            }
        }
    }

    fn container(&self, kind: SecurableKind) -> Option<Self> {
        let (container, _) = self.id.rsplit_once('.')?;
        Some(Self { kind, id: container.to_owned() })
    }

    /// The catalog that this is or lies in.
    pub fn catalog(&self) -> Option<Self> {
        if !self.kind.is_catalog_plane()
            || matches!(self.kind, SecurableKind::Metastore | SecurableKind::ExternalLocation)
        {
            return None;
        }
        let name = self.id.split('.').next()?;
        Some(Self { kind: SecurableKind::Catalog, id: name.to_owned() })
    }

    /// The schema that this is or lies in.
    pub fn schema(&self) -> Option<Self> {
        match self.kind {
            SecurableKind::Schema => Some(self.clone()),
            _ if self.kind.name_parts() == Some(3) => self.container(SecurableKind::Schema),
            _ => None,
        }
    }

    pub fn new(kind: SecurableKind, id: &str) -> Result<Self, MalformedId> {
        let refuse = |expected| MalformedId { value: id.chars().take(80).collect(), expected };
        match kind {
            SecurableKind::Workspace if id != "default" => return Err(refuse("a workspace (`default`)")),
            SecurableKind::Metastore if id != "default" => return Err(refuse("a metastore (`default`)")),
            SecurableKind::Experiment => {
                ExperimentId::parse(id)?;
            }
            SecurableKind::Folder if Self::folder_of_name(&format!("{id}/x")).is_none() => {
                return Err(refuse("a folder (an absolute path without a trailing slash)"));
            }
            _ if kind.name_parts().is_some_and(|parts| !is_catalog_name(id, parts)) => {
                return Err(refuse(
                    "a catalog name (`catalog`, `catalog.schema` or `catalog.schema.name`, each 1 to 255 characters without periods, spaces, slashes or quotes)",
                ));
            }
            _ if id.is_empty() || id.len() > 500 || id.chars().any(|c| c.is_control() || c == '"') => {
                return Err(refuse("an id (1 to 500 characters without control characters or quotes)"));
            }
            _ => {}
        }
        let id = if kind.name_parts().is_some() { id.to_lowercase() } else { id.to_owned() };
        Ok(Self { kind, id })
    }
}

fn is_catalog_name(id: &str, parts: usize) -> bool {
    let clean = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | '\\' | '"' | '`' | ',');
    let good = |name: &str| !name.is_empty() && name.chars().count() <= 255 && name.chars().all(clean);
    id.split('.').count() == parts && id.split('.').all(good)
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
            .iter()
            .find_map(|kind| Some((*kind, text.strip_prefix(kind.as_str())?.strip_prefix(':')?)))
            .map_or_else(
                || {
                    Err(MalformedId {
                        value: text.chars().take(80).collect(),
                        expected: "a securable (such as `experiment:ID`, `folder:/PATH`, `workspace:default` or `table:CATALOG.SCHEMA.NAME`)",
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
    fn a_catalog_name_has_one_spelling_and_tells_its_place() {
        let table: Securable = "table:Main.Agents.Spans".parse().unwrap();
        assert_eq!(table.to_string(), "table:main.agents.spans");
        assert_eq!(table.parent().unwrap().to_string(), "schema:main.agents");
        assert_eq!(table.schema(), table.parent());
        assert_eq!(table.catalog().unwrap().to_string(), "catalog:main");
        assert_eq!(table.catalog().unwrap().parent().unwrap(), Securable::metastore());
        assert_eq!(Securable::metastore().parent().unwrap(), Securable::workspace());
        for bad in [
            "table:main.agents",
            "table:a.b.c.d",
            "table:a..c",
            "schema:main",
            "catalog:a.b",
            "catalog:a b",
            "catalog:",
            "volume:a.b./c",
            "metastore:x",
        ] {
            assert!(bad.parse::<Securable>().is_err(), "{bad}");
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
