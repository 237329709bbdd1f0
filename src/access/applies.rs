//! Where each privilege means something, and where it may be granted.
//!
//! A catalog privilege may be granted higher up than where it applies: `SELECT` on a catalog reaches its
//! present and future tables and views. What does not apply to a securable is denied on it, whatever is granted.

use super::privilege::Privilege;
use super::securable::SecurableKind;
use SecurableKind::{
    Catalog, ExternalLocation, Function, Metastore, Schema, Table, View, Volume, Warehouse, Workspace,
};

/// The levels of the catalog tree that hold others, as grants flow down them.
const CONTAINERS: [SecurableKind; 2] = [Catalog, Schema];

impl Privilege {
    /// Whether one can do this to such a securable at all.
    pub fn applies_to(self, kind: SecurableKind) -> bool {
        match self {
            Self::WarehouseUse | Self::WarehouseMonitor | Self::WarehouseManage => {
                matches!(kind, Warehouse | Workspace)
            }
            _ if !self.is_catalog_privilege() => !kind.is_catalog_plane() && kind != Warehouse,
            Self::Manage => kind.is_catalog_plane(),
            Self::Browse => kind.is_catalog_plane() && kind != Metastore,
            Self::ApplyTag => matches!(kind, Catalog | Schema | Table | View | Volume | Function),
            Self::UseCatalog | Self::EnterCatalog | Self::CreateSchema => kind == Catalog,
            Self::UseSchema
            | Self::EnterSchema
            | Self::ExternalUseSchema
            | Self::CreateTable
            | Self::CreateMaterializedView
            | Self::CreateVolume
            | Self::CreateFunction
            | Self::CreateModel => kind == Schema,
            Self::Select => matches!(kind, Table | View),
            Self::Modify => kind == Table,
            Self::Refresh => kind == View,
            Self::ReadVolume | Self::WriteVolume => kind == Volume,
            Self::Execute => kind == Function,
            Self::CreateCatalog | Self::CreateExternalLocation => kind == Metastore,
            _ => kind == ExternalLocation,
        }
    }

    /// Whether a grant of this single privilege may be written on such a securable.
    pub fn grantable_on(self, kind: SecurableKind) -> bool {
        match self {
            Self::EnterCatalog | Self::EnterSchema => false,
            Self::Browse => matches!(kind, Catalog | ExternalLocation),
            Self::Manage => kind.is_catalog_plane() && kind != Metastore,
            Self::UseCatalog
            | Self::CreateSchema
            | Self::CreateCatalog
            | Self::CreateExternalLocation
            | Self::ExternalUseLocation
            | Self::CreateExternalTable
            | Self::CreateExternalVolume
            | Self::CreateManagedStorage
            | Self::ReadFiles
            | Self::WriteFiles => self.applies_to(kind),
            _ if self.is_catalog_privilege() => self.applies_to(kind) || CONTAINERS.contains(&kind),
            _ => self.applies_to(kind),
        }
    }

    /// Whether it belongs to the catalog plane. Those come last in the order of privileges.
    pub fn is_catalog_privilege(self) -> bool {
        self >= Self::UseCatalog
    }

    /// Whether `ALL_PRIVILEGES` stands for it: all catalog privileges but those that platforms leave out,
    /// so that neither the right to grant nor access from outside comes along unnoticed.
    pub fn in_all_privileges(self) -> bool {
        self.is_catalog_privilege()
            && !matches!(self, Self::Manage | Self::ExternalUseSchema | Self::ExternalUseLocation)
    }

    /// Whether an owner has it on what it owns.
    pub fn of_owner(self) -> bool {
        self.is_catalog_privilege() && !matches!(self, Self::ExternalUseSchema | Self::ExternalUseLocation)
    }

    /// Whether an owner has it on everything inside what it owns: to manage it, not to read it.
    pub fn of_owner_below(self) -> bool {
        matches!(self, Self::Manage | Self::Browse | Self::EnterCatalog | Self::EnterSchema)
    }
}
