//! Changing and ending objects, by whoever manages them.

use serde_json::Map;

use super::input::{self, Update};
use super::kinds::{creating, forbidden, missing};
use super::sight::{self, Sight};
use super::{at_one_version, flag, people, permissions, places, show};
use crate::access::{Check, Privilege, Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::own::sent_as;
use crate::http::pages;
use crate::http::trail::Trail;
use crate::store::{Deletion, Detail, ObjectChange};
use crate::wire::Reply;

pub(super) async fn update(
    call: &mut Call<'_>,
    trail: &Trail,
    kind: SecurableKind,
) -> Result<Reply, Refusal> {
    let sent: Update = sent_as(call).await?;
    sent.check(kind)?;
    let call = &*call;
    let named = show::named(call, kind)?;
    let container = named.id.rsplit_once('.').map(|(container, _)| container);
    let renamed = match &sent.new_name {
        Some(name) => Some(input::new_name(kind, container, name, "new_name")?),
        None => None,
    };
    let url = sent.url.as_ref().map(|url| places::outside(call, "url", url)).transpose()?;
    let comment = sent.comment.as_ref().map(|text| input::comment(Some(text.clone()))).transpose()?;
    let properties =
        sent.properties.as_ref().map(|sent| input::properties(Some(sent.clone()))).transpose()?;
    let by = call.caller.principal.to_string();
    at_one_version(call, trail, kind, async |store| {
        let object = sight::managed(call, &named).await?;
        let owner = match &sent.owner {
            Some(name) => Some(permissions::new_owner(call, people::named(call, "owner", name).await?)?),
            None => None,
        };
        if renamed.as_ref().is_some_and(|renamed| renamed.id != object.securable.id) {
            may_rename(call, &object.securable)?;
        }
        if url.is_some() && url != object.location {
            // As much as making another one there.
            sight::demand(call, Privilege::CreateExternalLocation, &Securable::metastore())?;
        }
        let change = ObjectChange {
            comment: comment.clone().map(Option::unwrap_or_default),
            properties: properties.clone(),
            owner,
            name: renamed
                .as_ref()
                .map(|renamed| renamed.id.rsplit_once('.').map_or(renamed.id.as_str(), |(_, name)| name))
                .map(str::to_owned),
            detail: detail(&object.detail, &sent),
            url: url.clone(),
        };
        let now = call.app.clock.now();
        Ok(store.change_catalog_object(&object.securable, &change, &by, now).await)
    })
    .await?;
    let now_called = renamed.unwrap_or(named);
    let found = call.app.store.catalog_object(&now_called).await?.found;
    // Who gave it away may see no more of it than that it is done.
    match found {
        Some(object) if sight::of(call, &object.securable)? == Sight::Full => {
            show::one(call, &object, Sight::Full).await
        }
        _ => Ok(pages::written(200, &Map::from_iter([("name".to_owned(), last(&now_called).into())]))),
    }
}

fn last(securable: &Securable) -> &str {
    securable.id.rsplit_once('.').map_or(&securable.id, |(_, name)| name)
}

/// A new name is as good as a new object: it takes a place in the container.
fn may_rename(call: &Call<'_>, securable: &Securable) -> Result<(), Refusal> {
    let container = securable.parent().ok_or_else(|| missing(securable))?;
    sight::demand(call, creating(securable.kind), &container)
}

fn detail(before: &Detail, sent: &Update) -> Option<Detail> {
    match before {
        Detail::ExternalLocation { credential_name, read_only } => Some(Detail::ExternalLocation {
            credential_name: sent.credential_name.clone().or_else(|| credential_name.clone()),
            read_only: sent.read_only.unwrap_or(*read_only),
        }),
        _ => None,
    }
}

pub(super) async fn delete(call: &Call<'_>, trail: &Trail, kind: SecurableKind) -> Result<Reply, Refusal> {
    let named = show::named(call, kind)?;
    let how = if flag(call, "force")? { Deletion::WithAllInIt } else { Deletion::IfEmpty };
    let by = call.caller.principal.to_string();
    at_one_version(call, trail, kind, async |store| {
        let object = sight::managed(call, &named).await?;
        if how == Deletion::WithAllInIt {
            may_all_go(call, &object.securable).await?;
        }
        let now = call.app.clock.now();
        Ok(store.delete_catalog_object(&object.securable, how, &by, now).await)
    })
    .await?;
    Ok(pages::written(200, &Map::new()))
}

/// What somebody is denied to manage does not go with what it lies in.
async fn may_all_go(call: &Call<'_>, container: &Securable) -> Result<(), Refusal> {
    if !matches!(container.kind, SecurableKind::Catalog | SecurableKind::Schema) {
        return Ok(());
    }
    let inside = call.app.store.catalog_below(container).await?;
    call.app.at_least(inside.version).await?;
    for securable in inside.found {
        if !call.allows(Check::new(Privilege::Manage, securable))? {
            return Err(forbidden(format!(
                "`{}` does not manage everything in `{}`",
                call.caller.principal, container.id
            )));
        }
    }
    Ok(())
}
