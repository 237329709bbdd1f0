//! What a token is for: less than its principal may do, never more.

use std::fmt;
use std::str::FromStr;

use super::given::Given;
use super::ids::MalformedId;
use super::securable::Securable;

/// Gives a level or a privilege on a securable and all below it, as far as the principal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub privilege: Given,
    pub securable: Securable,
}

/// As a token's record and requests have it.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    privilege: String,
    securable: Securable,
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let privilege = self.privilege.as_str().to_owned();
        Written { privilege, securable: self.securable.clone() }.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { privilege, securable } = Written::deserialize(deserializer)?;
        let privilege: Given = privilege.parse().map_err(serde::de::Error::custom)?;
        if !privilege.grantable_on(securable.kind) {
            let kind = securable.kind.as_str();
            return Err(serde::de::Error::custom(format!("`{privilege}` means nothing on a {kind}")));
        }
        Ok(Self { privilege, securable })
    }
}

/// `CAN_INGEST@experiment:1`, as commands and the token endpoint write it.
impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.privilege, self.securable)
    }
}

impl FromStr for Scope {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let wrong = || MalformedId {
            value: text.chars().take(80).collect(),
            expected: "a scope (`PRIVILEGE@SECURABLE`, such as `CAN_INGEST@experiment:1`)",
        };
        let (privilege, securable) = text.split_once('@').ok_or_else(wrong)?;
        let scope = Self { privilege: privilege.parse()?, securable: securable.parse()? };
        if scope.privilege.grantable_on(scope.securable.kind) { Ok(scope) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_in_one_word_is_read_as_it_is_written() {
        for text in ["CAN_INGEST@experiment:1", "trace.read@workspace:default", "CAN_READ@folder:/Users/a@b"]
        {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for wrong in ["", "@", "CAN_READ", "CAN_READ@", "@experiment:1", "SELECT@experiment:1", "all-apis"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_scope_is_read_and_written_in_one_spelling_and_must_mean_something() {
        let text = r#"{"privilege":"CAN_INGEST","securable":"experiment:1"}"#;
        let scope: Scope = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&scope).unwrap(), text);
        for wrong in [
            r#"{"privilege":"SELECT","securable":"experiment:1"}"#,
            r#"{"privilege":"CAN_FLY","securable":"experiment:1"}"#,
            r#"{"privilege":"CAN_READ"}"#,
            r#"{"privilege":"CAN_READ","securable":"experiment:1","and":1}"#,
        ] {
            assert!(serde_json::from_str::<Scope>(wrong).is_err(), "{wrong}");
        }
    }
}
