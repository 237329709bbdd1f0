//! The access control list of an object, and the levels that it can hold.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::object::{Kind, Object, path_of};
use crate::access::{Effect, Principal, PrincipalKind};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::pages;
use crate::wire::Reply;

pub(super) fn levels(kind: Kind) -> Reply {
    let levels = kind.levels().iter();
    let levels = levels.map(|(level, text)| json!({ "permission_level": level, "description": text }));
    let object = Map::from_iter([("permission_levels".to_owned(), levels.collect())]);
    pages::written(200, &object)
}

pub(super) async fn list(call: &Call<'_>, object: &Object) -> Result<Reply, Refusal> {
    let now = call.app.clock.now();
    let above = match object.kind {
        Kind::Tokens | Kind::Passwords => Vec::new(),
        _ => call.view()?.snapshot().above(&object.securable),
    };
    let mut listed: BTreeMap<Principal, Vec<Value>> = BTreeMap::new();
    for (place, securable) in std::iter::once(&object.securable).chain(&above).enumerate() {
        for grant in call.app.store.grants(None, Some(securable)).await? {
            let grant = grant.grant;
            let Some(level) = object.kind.level_of(&grant.privilege) else { continue };
            if grant.effect == Effect::Deny || grant.expires_at.is_some_and(|end| end <= now) {
                continue;
            }
            let permission = if place == 0 {
                json!({ "permission_level": level, "inherited": false })
            } else {
                inherited(level, &path_of(securable))
            };
            let permissions = listed.entry(grant.principal).or_default();
            if !permissions.contains(&permission) {
                permissions.push(permission);
            }
        }
    }
    if object.kind == Kind::Passwords && call.app.config.identity.passwords {
        let users = Principal::group(Principal::USERS)?;
        listed.entry(users).or_default().push(inherited("CAN_USE", "/directories/0"));
    }
    // Administrators manage everything, and no list can change that.
    let admins = listed.entry(Principal::group(Principal::ADMINS)?).or_default();
    admins.retain(|permission| permission["permission_level"] != "CAN_MANAGE");
    admins.push(inherited("CAN_MANAGE", "/directories/0"));

    let named: Vec<&Principal> = listed.keys().collect();
    let mut displayed: BTreeMap<Principal, String> = BTreeMap::new();
    for entry in call.app.store.directory_of_all(&named).await? {
        if let Some(display) = entry.profile.display_name {
            displayed.insert(entry.principal, display);
        }
    }
    let entries = listed.iter().map(|(principal, permissions)| {
        let key = match principal.kind {
            PrincipalKind::User => "user_name",
            PrincipalKind::Group => "group_name",
            PrincipalKind::ServicePrincipal => "service_principal_name",
        };
        let mut entry = Map::from_iter([
            (key.to_owned(), json!(principal.name)),
            ("all_permissions".to_owned(), json!(permissions)),
        ]);
        if let Some(display) = displayed.get(principal) {
            entry.insert("display_name".to_owned(), json!(display));
        }
        Value::Object(entry)
    });
    let answer = Map::from_iter([
        ("object_id".to_owned(), json!(object.path)),
        ("object_type".to_owned(), json!(object.kind.object_type())),
        ("access_control_list".to_owned(), entries.collect()),
    ]);
    Ok(pages::written(200, &answer))
}

fn inherited(level: &str, from: &str) -> Value {
    json!({ "permission_level": level, "inherited": true, "inherited_from_object": [from] })
}
