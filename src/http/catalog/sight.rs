//! What a caller sees of an object: all of it, that it is there, or nothing.

use super::kinds::{creating, denied, missing, seeing};
use crate::access::{Caller, Check, Privilege, Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::policy::View;
use crate::store::CatalogObject;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::http) enum Sight {
    Hidden,
    /// Its name and what is said of it, by `BROWSE`.
    Browsed,
    Full,
}

pub(in crate::http) fn of(call: &Call<'_>, securable: &Securable) -> Result<Sight, Refusal> {
    Ok(of_caller(&call.view()?, call.caller, securable))
}

/// As [`of`], at a version that was taken before.
pub(in crate::http) fn of_caller(view: &View, caller: &Caller, securable: &Securable) -> Sight {
    let held = view.effective(caller, securable);
    if seeing(securable.kind).iter().any(|privilege| held.has(*privilege)) {
        Sight::Full
    } else if held.has(Privilege::Browse) {
        Sight::Browsed
    } else {
        Sight::Hidden
    }
}

/// The object of a name, if the caller sees it; `browse`: be it no more than that it is there.
pub(in crate::http) async fn seen(
    call: &Call<'_>,
    named: &Securable,
    browse: bool,
) -> Result<(CatalogObject, Sight), Refusal> {
    let found = call.app.store.catalog_object(named).await?;
    // Not by the grants of something else that had this name before.
    call.app.at_least(found.version).await?;
    let object = found.found.ok_or_else(|| missing(named))?;
    match of(call, &object.securable)? {
        Sight::Hidden => Err(missing(named)),
        Sight::Browsed if !browse => Err(missing(named)),
        sight => Ok((object, sight)),
    }
}

/// A container whose way in is open, catalog first: what lies in a catalog that is hidden is not told apart.
pub(super) async fn entered(
    call: &Call<'_>,
    container: &Securable,
    browse: bool,
) -> Result<CatalogObject, Refusal> {
    if let Some(catalog) = container.catalog().filter(|catalog| catalog != container) {
        seen(call, &catalog, browse).await?;
    }
    Ok(seen(call, container, browse).await?.0)
}

/// The object of a name, if the caller manages it.
pub(super) async fn managed(call: &Call<'_>, named: &Securable) -> Result<CatalogObject, Refusal> {
    let (object, _) = seen(call, named, true).await?;
    demand(call, Privilege::Manage, &object.securable)?;
    Ok(object)
}

pub(super) fn demand(call: &Call<'_>, privilege: Privilege, on: &Securable) -> Result<(), Refusal> {
    match call.allows(Check::new(privilege, on.clone()))? {
        true => Ok(()),
        false => Err(denied(&call.caller.principal, privilege, on)),
    }
}

/// Lets in who may make such an object, and answers what it will lie in.
pub(super) async fn may_create(call: &Call<'_>, named: &Securable) -> Result<Option<CatalogObject>, Refusal> {
    let container = named.parent().ok_or_else(|| missing(named))?;
    let object = match container.kind {
        SecurableKind::Metastore => None,
        _ => Some(entered(call, &container, true).await?),
    };
    demand(call, creating(named.kind), &container)?;
    Ok(object)
}

/// Whether other doors, too, must answer of a securable as if it were not there.
pub(in crate::http) fn hides(call: &Call<'_>, securable: &Securable) -> Result<bool, Refusal> {
    let kept = securable.kind.is_catalog_plane() && securable.kind != SecurableKind::Metastore;
    if !kept || of(call, securable)? > Sight::Hidden {
        return Ok(false);
    }
    Ok(!call.allows(Check::new(Privilege::PolicyRead, Securable::workspace()))?)
}
