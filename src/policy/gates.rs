//! What a check asks for besides itself: in the catalog, the way to a securable must be open too.
//!
//! | privilege | needs besides |
//! |---|---|
//! | of the workspace plane, and `BROWSE` | nothing |
//! | `MANAGE` | to pass through the catalog and the schema strictly above: by using, owning or managing them |
//! | any other of the catalog | `USE_CATALOG` on the catalog, and `USE_SCHEMA` on the schema if there is one |
//!
//! Owning a table does not open the schema it lies in. A privilege that means nothing for a kind of securable
//! is denied on it whatever is granted.

use crate::access::{Check, Privilege, Securable};

/// The checks whose conjunction is `check`, in the order in which one passes them; none if the privilege
/// does not apply to such a securable.
pub(super) fn conjunction(check: &Check) -> Option<Vec<Check>> {
    let (privilege, securable) = (check.privilege, &check.securable);
    if !privilege.applies_to(securable.kind) {
        return None;
    }
    let (through_catalog, through_schema) = match privilege {
        Privilege::Manage => (Privilege::EnterCatalog, Privilege::EnterSchema),
        _ => (Privilege::UseCatalog, Privilege::UseSchema),
    };
    let mut checks = Vec::with_capacity(3);
    if is_gated(privilege) {
        for (gate, container) in
            [(through_catalog, securable.catalog()), (through_schema, securable.schema())]
        {
            let strictly_above = |container: &Securable| container != securable;
            let container =
                container.filter(|container| privilege != Privilege::Manage || strictly_above(container));
            checks.extend(container.map(|container| Check::new(gate, container)));
        }
    }
    if !checks.contains(check) {
        checks.push(check.clone());
    }
    Some(checks)
}

pub(super) fn is_gated(privilege: Privilege) -> bool {
    privilege.is_catalog_privilege()
        && !matches!(privilege, Privilege::Browse | Privilege::EnterCatalog | Privilege::EnterSchema)
}
