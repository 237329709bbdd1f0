//! What clients call each kind of object, and the codes of what goes wrong with one.

use crate::access::{Privilege, Securable, SecurableKind};
use crate::http::error::{CatalogFault, Refusal};
use crate::store::CatalogError;

/// A kind in words.
pub(super) fn noun(kind: SecurableKind) -> &'static str {
    match kind {
        SecurableKind::ExternalLocation => "external location",
        other => other.as_str(),
    }
}

macro_rules! codes {
    ($function:ident, $end:literal) => {
        fn $function(kind: SecurableKind) -> &'static str {
            match kind {
                SecurableKind::Catalog => concat!("CATALOG_", $end),
                SecurableKind::Schema => concat!("SCHEMA_", $end),
                SecurableKind::Table | SecurableKind::View => concat!("TABLE_", $end),
                SecurableKind::Volume => concat!("VOLUME_", $end),
                SecurableKind::Function => concat!("FUNCTION_", $end),
                SecurableKind::ExternalLocation => concat!("EXTERNAL_LOCATION_", $end),
                _ => concat!("RESOURCE_", $end),
            }
        }
    };
}

codes!(missing_code, "DOES_NOT_EXIST");
codes!(taken_code, "ALREADY_EXISTS");
codes!(full_code, "NOT_EMPTY");

/// Not there, or not to be seen: one answer for both.
pub(in crate::http) fn missing(named: &Securable) -> Refusal {
    Refusal::Catalog {
        fault: CatalogFault::Missing,
        code: missing_code(named.kind),
        message: format!("{} `{}` does not exist", noun(named.kind), named.id),
    }
}

/// For what the caller sees and may not do.
pub(in crate::http) fn denied(who: &impl std::fmt::Display, privilege: Privilege, on: &Securable) -> Refusal {
    Refusal::Catalog {
        fault: CatalogFault::Denied,
        code: "PERMISSION_DENIED",
        message: format!("`{who}` does not have `{privilege}` on {} `{}`", noun(on.kind), on.id),
    }
}

pub(super) fn forbidden(message: String) -> Refusal {
    Refusal::Catalog { fault: CatalogFault::Denied, code: "PERMISSION_DENIED", message }
}

/// `kind` is that of what was to be made or changed.
pub(super) fn refusal(kind: SecurableKind, error: CatalogError) -> Refusal {
    let message = match &error {
        CatalogError::Store(_) => String::new(),
        CatalogError::NotEmpty(name) => {
            format!("{} `{name}` is not empty; `force=true` removes what is in it too", noun(kind))
        }
        CatalogError::Overlaps => {
            "the location overlaps with that of something else in the catalog; choose another".to_owned()
        }
        CatalogError::Exists(name) => format!("{} `{name}` exists already", noun(kind)),
        CatalogError::Missing(name) => format!("`{name}` does not exist"),
    };
    let (fault, code) = match error {
        CatalogError::Store(error) => return error.into(),
        CatalogError::Exists(_) => (CatalogFault::Taken, taken_code(kind)),
        CatalogError::Missing(_) => (CatalogFault::Missing, missing_code(kind)),
        CatalogError::NotEmpty(_) => (CatalogFault::Refused, full_code(kind)),
        CatalogError::Overlaps => (CatalogFault::Refused, "LOCATION_OVERLAP"),
    };
    Refusal::Catalog { fault, code, message }
}

/// The name of the list in an answer.
pub(super) fn plural(kind: SecurableKind) -> &'static str {
    match kind {
        SecurableKind::Catalog => "catalogs",
        SecurableKind::Schema => "schemas",
        SecurableKind::Volume => "volumes",
        SecurableKind::Function => "functions",
        SecurableKind::ExternalLocation => "external_locations",
        _ => "tables",
    }
}

/// A kind as a client wrote it in a path: `TABLE`, `external-location`, or `SecurableType.TABLE`, which is how
/// databricks-sdk writes a member of its own enumeration.
pub(super) fn of_path(text: &str) -> Option<SecurableKind> {
    let text = text.strip_prefix("SecurableType.").unwrap_or(text);
    let text = text.to_ascii_lowercase().replace('-', "_");
    let kind = SecurableKind::ALL.iter().copied().find(|kind| kind.as_str() == text);
    kind.filter(|kind| kind.is_catalog_plane())
}

/// A kind as answers write it. A view is a table to the clients.
pub(super) fn on_wire(kind: SecurableKind) -> String {
    match kind {
        SecurableKind::View => "TABLE".to_owned(),
        other => other.as_str().to_ascii_uppercase(),
    }
}

/// What one needs on the container to make such an object in it.
pub(super) fn creating(kind: SecurableKind) -> Privilege {
    match kind {
        SecurableKind::Catalog => Privilege::CreateCatalog,
        SecurableKind::Schema => Privilege::CreateSchema,
        SecurableKind::Volume => Privilege::CreateVolume,
        SecurableKind::Function => Privilege::CreateFunction,
        SecurableKind::ExternalLocation => Privilege::CreateExternalLocation,
        _ => Privilege::CreateTable,
    }
}

/// What lets one see such an object, each by itself.
pub(super) fn seeing(kind: SecurableKind) -> &'static [Privilege] {
    use Privilege::{
        CreateExternalTable, CreateExternalVolume, CreateManagedStorage, Execute, ExternalUseLocation,
        Manage, ReadFiles, ReadVolume, Select, UseCatalog, UseSchema, WriteFiles,
    };
    match kind {
        SecurableKind::Catalog => &[UseCatalog, Manage],
        SecurableKind::Schema => &[UseSchema, Manage],
        SecurableKind::Table | SecurableKind::View => &[Select, Manage],
        SecurableKind::Volume => &[ReadVolume, Manage],
        SecurableKind::Function => &[Execute, Manage],
        SecurableKind::ExternalLocation => &[
            Manage,
            CreateExternalTable,
            CreateExternalVolume,
            CreateManagedStorage,
            ReadFiles,
            WriteFiles,
            ExternalUseLocation,
        ],
        _ => &[],
    }
}
