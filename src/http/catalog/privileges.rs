//! Privileges in the spelling of whoever asks: `USE_CATALOG` for databricks-sdk, which drops silently what it does
//! not know, and `USE CATALOG` for the open-source client, which breaks on it.

use std::str::FromStr;

use serde_json::Value;

use crate::access::{Given, Privilege};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::wire::Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Underscores,
    Spaces,
    /// With spaces, and without what the open-source client does not know.
    SpacesKnown,
}

/// What the open-source client knows; of the rest it would not even show what it knows.
const KNOWN: [Privilege; 18] = [
    Privilege::CreateCatalog,
    Privilege::UseCatalog,
    Privilege::CreateSchema,
    Privilege::UseSchema,
    Privilege::CreateTable,
    Privilege::Select,
    Privilege::Modify,
    Privilege::CreateFunction,
    Privilege::Execute,
    Privilege::CreateVolume,
    Privilege::ReadVolume,
    Privilege::CreateModel,
    Privilege::CreateExternalLocation,
    Privilege::ReadFiles,
    Privilege::WriteFiles,
    Privilege::CreateExternalTable,
    Privilege::CreateExternalVolume,
    Privilege::CreateManagedStorage,
];

impl Spelling {
    /// That of a client, or of what it sent.
    pub fn of(call: &Call<'_>, sent: &[Value]) -> Self {
        let agent = call.head.headers.get("user-agent").unwrap_or_default();
        if agent.starts_with("OpenAPI-Generator/") {
            return Self::SpacesKnown;
        }
        let spaced = |change: &Value| {
            ["add", "remove"].iter().any(|key| {
                let list = change.get(key).and_then(Value::as_array);
                list.is_some_and(|list| list.iter().filter_map(Value::as_str).any(|text| text.contains(' ')))
            })
        };
        if sent.iter().any(spaced) { Self::Spaces } else { Self::Underscores }
    }

    /// How a privilege is written, if the client knows it.
    pub fn write(self, given: Given) -> Option<String> {
        match self {
            Self::Underscores => Some(given.as_str().to_owned()),
            Self::SpacesKnown if !given.privilege().is_some_and(|privilege| KNOWN.contains(&privilege)) => {
                None
            }
            _ => Some(given.as_str().replace('_', " ")),
        }
    }
}

/// A privilege that a client wrote. Ownership is not one: it is given by updating the object.
pub(super) fn read(field: &str, text: &str) -> Result<Given, Refusal> {
    let shown: String = text.chars().take(80).collect();
    let given = Given::from_str(&text.to_ascii_uppercase().replace(' ', "_"));
    match given {
        Ok(Given::OWNER) => {
            Err(Malformed::new(field, "`OWNER` is not granted: update `owner` of the object itself").into())
        }
        Ok(given) if is_of_catalog(given) => Ok(given),
        _ => Err(Malformed::new(field, format!("`{shown}` is not a privilege of the catalog")).into()),
    }
}

/// Whether a grant of this is one of the privileges that clients are told.
pub(super) fn is_of_catalog(given: Given) -> bool {
    match given.privilege() {
        Some(privilege) => privilege.is_catalog_privilege(),
        None => given == Given::ALL_PRIVILEGES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_read_in_both_spellings_and_nothing_else_is() {
        for text in
            ["USE CATALOG", "USE_CATALOG", "use catalog", "ALL PRIVILEGES", "ALL_PRIVILEGES", "MANAGE"]
        {
            assert!(read("add", text).is_ok(), "{text}");
        }
        for text in [
            "",
            "OWNER",
            "owner",
            "CAN_READ",
            "ALL",
            "trace.read",
            "catalog.enter",
            "SELECT,MODIFY",
            "USE  CATALOG",
        ] {
            assert!(read("add", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_client_is_told_only_what_it_can_read() {
        let all = Given::ALL_PRIVILEGES;
        let volume = Given::of(Privilege::WriteVolume);
        let using = Given::of(Privilege::UseCatalog);
        assert_eq!(Spelling::Underscores.write(all).unwrap(), "ALL_PRIVILEGES");
        assert_eq!(Spelling::Spaces.write(volume).unwrap(), "WRITE VOLUME");
        assert_eq!(Spelling::SpacesKnown.write(using).unwrap(), "USE CATALOG");
        assert_eq!((Spelling::SpacesKnown.write(all), Spelling::SpacesKnown.write(volume)), (None, None));
    }
}
