//! Creating, replacing, patching and deleting: what was sent becomes a wish, and the store fulfils it whole.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::schema::canonical;
use super::{Kind, find, list, nothing, number, patch as operations, refuse, refused, written};
use crate::access::Principal;
use crate::http::call::Call;
use crate::http::changes::settle;
use crate::http::error::Refusal;
use crate::http::governors;
use crate::http::trail::Trail;
use crate::store::{DirectoryEntry, Profile, Store, Wish};
use crate::wire::Reply;

/// What is kept of one principal beside its names, in bytes of JSON.
const KEPT_BYTES: usize = 64 * 1024;

pub(super) async fn create(
    call: &Call<'_>,
    trail: &Trail,
    kind: Kind,
    sent: &Map<String, Value>,
) -> Result<Reply, Refusal> {
    let (version, sent) = (call.view()?.version(), canonical(kind, sent)?);
    let name = match (kind, name_in(kind, &sent)) {
        (_, Some(name)) => name.to_owned(),
        (Kind::ServicePrincipal, None) => uuid::Uuid::new_v4().to_string(),
        (_, None) => {
            return Err(refuse("invalidValue", format!("`{}` is missing", kind.name_attribute())));
        }
    };
    let principal = Principal::new(kind.principals(), &name)
        .map_err(|error| refuse("invalidValue", error.to_string()))?;
    // Names that differ in case alone are one to directories, and must not be two to us.
    let folded = name.to_lowercase();
    let known = call.app.store.directory(kind.principals()).await?;
    if let Some(taken) = known.iter().find(|entry| entry.principal.name.to_lowercase() == folded) {
        let problem = format!("`{}` exists already, with the id {}", taken.principal, taken.number);
        return Err(refuse("uniqueness", problem));
    }
    let mut wish = wish(call, kind, principal, &sent).await?;
    wish.members = wish.members.filter(|members| !members.is_empty());
    let store = governors::store_for(call, &[&wish.principal])?.at_version(version);
    let by = call.caller.principal.to_string();
    let change = store.create_principal(&wish, &by, call.app.clock.now()).await.map_err(refused)?;
    call.app.identity.forget();
    settle(call.app, trail, change).await?;
    let resource = now(call, kind, &wish.principal).await?;
    let mut reply = written(201, &resource);
    if let Some(location) = resource.get("meta").and_then(|meta| meta.get("location")).and_then(Value::as_str)
    {
        reply.headers.push("location", location);
    }
    Ok(reply)
}

pub(super) async fn replace(
    call: &Call<'_>,
    trail: &Trail,
    kind: Kind,
    sent: &Map<String, Value>,
) -> Result<Reply, Refusal> {
    let version = call.view()?.version();
    let entry = find(call, kind).await?;
    change(call, trail, kind, &entry, sent, version).await
}

pub(super) async fn patch(
    call: &Call<'_>,
    trail: &Trail,
    kind: Kind,
    sent: &Map<String, Value>,
) -> Result<Reply, Refusal> {
    let version = call.view()?.version();
    let entry = find(call, kind).await?;
    let mut resource = list::whole(call, kind, &entry).await?;
    operations::apply(kind, &mut resource, sent)?;
    change(call, trail, kind, &entry, &resource, version).await
}

pub(super) async fn delete(call: &Call<'_>, trail: &Trail, kind: Kind) -> Result<Reply, Refusal> {
    let version = call.view()?.version();
    let entry = find(call, kind).await?;
    let store = governors::store_for(call, &[&entry.principal])?.at_version(version);
    let by = call.caller.principal.to_string();
    let change = store.delete_principal(&entry.principal, &by, call.app.clock.now()).await;
    let change = change.map_err(refused)?;
    call.app.identity.forget();
    settle(call.app, trail, change).await?;
    Ok(nothing())
}

/// Makes an entry as it was sent; what its reader does not say of its members it says of nobody.
async fn change(
    call: &Call<'_>,
    trail: &Trail,
    kind: Kind,
    entry: &DirectoryEntry,
    sent: &Map<String, Value>,
    version: i64,
) -> Result<Reply, Refusal> {
    let sent = canonical(kind, sent)?;
    let id = entry.number.to_string();
    if sent.get("id").is_some_and(|sent| *sent != id) {
        return Err(refuse("mutability", "`id` never changes"));
    }
    let same = |name: &str| name.to_lowercase() == entry.principal.name.to_lowercase();
    if name_in(kind, &sent).is_some_and(|name| !same(name)) {
        let problem = format!(
            "`{}` is the name by which grants and records speak of `{}`, so it never changes; create another \
             and delete this one",
            kind.name_attribute(),
            entry.principal
        );
        return Err(refuse("mutability", problem));
    }
    let mut wish = wish(call, kind, entry.principal.clone(), &sent).await?;
    if kind == Kind::Group && entry.principal.name == Principal::USERS {
        if wish.members.as_ref().is_some_and(|members| !members.is_empty()) {
            return Err(refuse("mutability", "everybody is in `users`; its members cannot be written"));
        }
        wish.members = None;
    }
    let store: Store = governors::store_for(call, &[&wish.principal])?.at_version(version);
    let by = call.caller.principal.to_string();
    let change = store.change_principal(&wish, &by, call.app.clock.now()).await.map_err(refused)?;
    call.app.identity.forget();
    settle(call.app, trail, change).await?;
    Ok(written(200, &now(call, kind, &wish.principal).await?))
}

/// The resource as it is now.
async fn now(call: &Call<'_>, kind: Kind, principal: &Principal) -> Result<Map<String, Value>, Refusal> {
    let entry = call.app.store.directory_of(principal).await?;
    let entry = entry.ok_or_else(|| Refusal::NotFound(format!("`{principal}` was deleted meanwhile")))?;
    list::whole(call, kind, &entry).await
}

fn name_in(kind: Kind, sent: &Map<String, Value>) -> Option<&str> {
    sent.get(kind.name_attribute()).and_then(Value::as_str)
}

/// What was sent, as a wish.
async fn wish(
    call: &Call<'_>,
    kind: Kind,
    principal: Principal,
    sent: &Map<String, Value>,
) -> Result<Wish, Refusal> {
    let text = |name: &str| sent.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let named = |display: &&str| {
        kind != Kind::Group && !(kind == Kind::ServicePrincipal && *display == principal.name)
    };
    let display_name = text("displayName").filter(named).map(str::to_owned);
    let mut attributes = sent.clone();
    for apart in ["id", "externalId", "displayName", "active", "members", kind.name_attribute()] {
        attributes.remove(apart);
    }
    attributes.retain(|_, value| match value {
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
    // As it is shown where none is kept.
    if attributes.get("emails")
        == Some(&json!([{ "value": principal.name, "type": "work", "primary": true }]))
    {
        attributes.remove("emails");
    }
    if serde_json::to_string(&attributes).map_or(0, |text| text.len()) > KEPT_BYTES {
        return Err(refuse("invalidValue", format!("the attributes take more than {KEPT_BYTES} bytes")));
    }
    let profile = Profile { display_name, external_id: text("externalId").map(str::to_owned), attributes };
    let members = match kind {
        Kind::Group => Some(members(call, sent.get("members")).await?),
        _ => None,
    };
    let active = sent.get("active").and_then(Value::as_bool).filter(|_| kind != Kind::Group);
    Ok(Wish { active, profile: Some(profile), members, ..Wish::of(principal) })
}

/// The members that ids name.
async fn members(call: &Call<'_>, sent: Option<&Value>) -> Result<BTreeSet<Principal>, Refusal> {
    let mut numbers = Vec::new();
    for element in sent.and_then(Value::as_array).into_iter().flatten() {
        let id = element.get("value").and_then(Value::as_str);
        let id = id.ok_or_else(|| refuse("invalidValue", "a member has no `value`, which is its id"))?;
        let missing = || refuse("invalidValue", format!("there is no member with the id `{id}`"));
        numbers.push(number(id).ok_or_else(missing)?);
    }
    numbers.sort_unstable();
    numbers.dedup();
    let found = call.app.store.directory_of_numbers(&numbers).await?;
    if found.len() != numbers.len() {
        let known: BTreeSet<i64> = found.iter().map(|entry| entry.number).collect();
        let missing = numbers.iter().find(|number| !known.contains(number)).copied().unwrap_or_default();
        return Err(refuse("invalidValue", format!("there is no member with the id `{missing}`")));
    }
    Ok(found.into_iter().map(|entry| entry.principal).collect())
}
