//! The callers, as values: one for each level on experiment A, one without any grant, and nobody.

use tracegate::access::Principal;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Admin,
    Manager,
    Editor,
    Reader,
    Assessor,
    Ingester,
    Lister,
    /// Known, and granted nothing.
    Stranger,
    /// Sends no credential.
    Anonymous,
}

impl Who {
    pub const ALL: [Self; 9] = [
        Self::Admin,
        Self::Manager,
        Self::Editor,
        Self::Reader,
        Self::Assessor,
        Self::Ingester,
        Self::Lister,
        Self::Stranger,
        Self::Anonymous,
    ];

    /// The level held on experiment A and on `model-a`.
    pub fn level(self) -> Option<&'static str> {
        match self {
            Self::Manager => Some("CAN_MANAGE"),
            Self::Editor => Some("CAN_EDIT"),
            Self::Reader => Some("CAN_READ"),
            Self::Assessor => Some("CAN_ASSESS"),
            Self::Ingester => Some("CAN_INGEST"),
            Self::Lister => Some("CAN_LIST"),
            Self::Admin | Self::Stranger | Self::Anonymous => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::Editor => "editor",
            Self::Reader => "reader",
            Self::Assessor => "assessor",
            Self::Ingester => "ingester",
            Self::Lister => "lister",
            Self::Stranger => "stranger",
            Self::Anonymous => "anonymous",
        }
    }

    pub fn principal(self) -> Principal {
        Principal::user(self.name()).unwrap()
    }
}
