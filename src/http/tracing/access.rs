//! What a call needs of tables, decided at one version of policy, with the permit that reading or writing them takes.

use crate::access::{Check, Privilege, Securable};
use crate::http::call::Call;
use crate::http::catalog::{self, Sight};
use crate::http::error::Refusal;
use crate::http::trail::Trail;
use crate::policy::{Permit, Requirement};
use crate::store::CatalogObject;

/// Lets in who has all of these privileges. A table that the caller may neither use so nor see is answered as if it
/// were not there. Answers the objects in the order of `needs`.
pub(in crate::http) async fn tables(
    call: &Call<'_>,
    trail: &mut Trail,
    needs: &[(Privilege, Securable)],
) -> Result<(Permit, Vec<CatalogObject>), Refusal> {
    let mut objects = Vec::with_capacity(needs.len());
    for (_, named) in needs {
        let found = call.app.store.catalog_object(named).await?;
        call.app.at_least(found.version).await?;
        objects.push(found.found);
    }
    let mut checks = Vec::with_capacity(needs.len());
    for ((privilege, named), object) in needs.iter().zip(&objects) {
        let securable = object.as_ref().map_or(named, |object| &object.securable);
        trail.demands(securable.to_string(), privilege.to_string());
        checks.push(Check::new(*privilege, securable.clone()));
    }
    let view = call.view()?;
    let (decision, permit) = view.authorize(Some(call.caller), &Requirement::All(checks.clone()))?;
    trail.decision(&decision);
    let Some(permit) = permit else {
        let refused = decision.refused.or_else(|| checks.first().cloned());
        let Some(refused) = refused else { return Err(Refusal::Denied("nothing was asked for".to_owned())) };
        return match catalog::sight(call, &refused.securable)? > Sight::Hidden {
            true => Err(catalog::denied(&call.caller.principal, refused.privilege, &refused.securable)),
            false => Err(catalog::missing(&refused.securable)),
        };
    };
    let there = objects.into_iter().zip(needs);
    let objects = there.map(|(object, (_, named))| object.ok_or_else(|| catalog::missing(named)));
    Ok((permit, objects.collect::<Result<_, Refusal>>()?))
}

/// Where a table lies.
pub(in crate::http) fn location(object: &CatalogObject) -> Result<&crate::access::Location, Refusal> {
    object.location.as_ref().ok_or_else(|| Refusal::Internal(format!("`{}` lies nowhere", object.securable)))
}
