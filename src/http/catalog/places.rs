//! Where objects lie: where a caller chose, inside an external location that it may use, or where we put them.

use super::kinds::forbidden;
use crate::access::{Check, Location, MANAGED_SEGMENT, Privilege};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::store::CatalogObject;
use crate::wire::Malformed;

/// A location that a caller wrote.
pub(super) fn written(field: &str, text: &str) -> Result<Location, Refusal> {
    let location: Location =
        text.parse().map_err(|error: crate::access::MalformedId| Malformed::new(field, error.to_string()))?;
    if location.as_str().split('/').any(|part| part.eq_ignore_ascii_case(MANAGED_SEGMENT)) {
        return Err(
            Malformed::new(field, format!("holds `{MANAGED_SEGMENT}`, which is for managed data")).into()
        );
    }
    Ok(location)
}

/// Lets something lie at a location if the caller has a privilege on the external location around it. Whether there
/// is one that it may not use is not told.
pub(super) async fn may_use(
    call: &Call<'_>,
    location: &Location,
    privilege: Privilege,
) -> Result<(), Refusal> {
    let found = call.app.store.external_location_of(location).await?;
    call.app.at_least(found.version).await?;
    if let Some(object) = found.found
        && call.allows(Check::new(privilege, object.securable))?
    {
        return Ok(());
    }
    Err(forbidden(format!(
        "`{location}` does not lie in an external location on which `{}` has `{privilege}`",
        call.caller.principal
    )))
}

/// The location of an external location. Our own files are nobody's, whoever asks.
pub(super) fn outside(call: &Call<'_>, field: &str, text: &str) -> Result<Location, Refusal> {
    let location = written(field, text)?;
    let config = &call.app.config;
    if config.lake.may_be_external(&location, &config.server.data_dir) {
        return Ok(location);
    }
    let problem = "cannot be an external location: it holds managed data, or a directory of this machine that \
                   `lake.external_directories` does not name";
    Err(Malformed::new(field, problem).into())
}

/// Where what is made in a catalog or schema with a storage root of its own lies.
pub(super) fn below_root(root: &Location, plural: &str, id: &str) -> Location {
    root.below(&[MANAGED_SEGMENT, plural, id])
}

/// Where a managed table or volume lies: in the nearest container with a place of its own, else in ours.
pub(super) async fn managed(
    call: &Call<'_>,
    schema: &CatalogObject,
    plural: &str,
    id: &str,
) -> Result<Location, Refusal> {
    if let Some(location) = &schema.location {
        return Ok(location.below(&[plural, id]));
    }
    if let Some(catalog) = schema.securable.catalog()
        && let Some(location) =
            call.app.store.catalog_object(&catalog).await?.found.and_then(|found| found.location)
    {
        return Ok(location.below(&[plural, id]));
    }
    let config = &call.app.config;
    let root = config.lake.root(&config.server.data_dir);
    let root = root.ok_or_else(|| Refusal::Internal("the lake has no root".to_owned()))?;
    Ok(root.below(&[plural, id]))
}
