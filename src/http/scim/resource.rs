//! Principals as SCIM writes them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::schema::ENTERPRISE;
use super::{Kind, base};
use crate::access::Principal;
use crate::clock::UnixMillis;
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::policy::Snapshot;
use crate::store::DirectoryEntry;

/// Numbers and names of those that resources refer to.
#[derive(Default)]
pub(super) struct Related(BTreeMap<Principal, (i64, String)>);

impl Related {
    /// Of everybody who is a member, or a group, of these.
    pub async fn of(call: &Call<'_>, policy: &Snapshot, entries: &[DirectoryEntry]) -> Result<Self, Refusal> {
        let mut named: BTreeSet<&Principal> = BTreeSet::new();
        for entry in entries {
            named.extend(policy.direct_groups(&entry.principal));
            named.extend(policy.direct_members(&entry.principal));
        }
        Self::named(call, named.into_iter().collect()).await
    }

    pub async fn named(call: &Call<'_>, principals: Vec<&Principal>) -> Result<Self, Refusal> {
        let found = call.app.store.directory_of_all(&principals).await?;
        let shown = |entry: DirectoryEntry| {
            let display = entry.profile.display_name.unwrap_or_else(|| entry.principal.name.clone());
            (entry.principal, (entry.number, display))
        };
        Ok(Self(found.into_iter().map(shown).collect()))
    }

    /// References to these, as far as they have numbers.
    pub fn references(&self, base: &str, principals: &[&Principal], direct: bool) -> Vec<Value> {
        let one = |principal: &&Principal| {
            let (number, display) = self.0.get(*principal)?;
            let kind = Kind::of(principal.kind);
            Some(json!({
                "value": number.to_string(),
                "display": display,
                "$ref": format!("{base}/{}/{number}", kind.plural()),
                "type": if direct { "direct" } else { kind.resource_type() },
            }))
        };
        principals.iter().filter_map(one).collect()
    }
}

/// The whole resource; what was not asked for is left out later.
pub(super) fn write(
    call: &Call<'_>,
    kind: Kind,
    policy: &Snapshot,
    related: &Related,
    entry: &DirectoryEntry,
) -> Map<String, Value> {
    let base = base(call);
    let principal = &entry.principal;
    let mut resource = entry.profile.attributes.clone();
    let mut schemas = vec![kind.schema()];
    if resource.contains_key(ENTERPRISE) {
        schemas.push(ENTERPRISE);
    }
    resource.insert("schemas".to_owned(), json!(schemas));
    resource.insert("id".to_owned(), json!(entry.number.to_string()));
    resource.insert(kind.name_attribute().to_owned(), json!(principal.name));
    if let Some(external) = &entry.profile.external_id {
        resource.insert("externalId".to_owned(), json!(external));
    }
    match (kind, &entry.profile.display_name) {
        (Kind::Group, _) => {
            let members = related.references(&base, &policy.direct_members(principal), false);
            resource.insert("members".to_owned(), json!(members));
        }
        (_, Some(display)) => {
            resource.insert("displayName".to_owned(), json!(display));
        }
        (Kind::ServicePrincipal, None) => {
            resource.insert("displayName".to_owned(), json!(principal.name));
        }
        (Kind::User, None) => {}
    }
    if kind != Kind::Group {
        resource.insert("active".to_owned(), json!(entry.active));
    }
    if kind == Kind::User && !resource.contains_key("emails") && principal.name.contains('@') {
        let email = json!([{ "value": principal.name, "type": "work", "primary": true }]);
        resource.insert("emails".to_owned(), email);
    }
    let groups = related.references(&base, &policy.direct_groups(principal), true);
    resource.insert("groups".to_owned(), json!(groups));
    let meta = json!({
        "resourceType": kind.resource_type(),
        "created": written_time(entry.created_at),
        "lastModified": written_time(entry.changed_at),
        "location": format!("{base}/{}/{}", kind.plural(), entry.number),
    });
    resource.insert("meta".to_owned(), meta);
    resource
}

/// A time as SCIM writes it: in UTC, to the millisecond.
fn written_time(time: UnixMillis) -> String {
    let (days, of_day) = (time.0.div_euclid(86_400_000), time.0.rem_euclid(86_400_000));
    // Days since the first of March of the year 0, so that a leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Leaves in a resource what `attributes` and `excludedAttributes` ask for; `id` and `schemas` always stay.
pub(super) fn project(
    call: &Call<'_>,
    kind: Kind,
    mut resource: Map<String, Value>,
) -> Result<Map<String, Value>, Refusal> {
    let always = |name: &str| matches!(name, "id" | "schemas");
    if let Some(wanted) = call.head.query.one("attributes")? {
        let mut kept = Map::new();
        for place in wanted.split(',').filter_map(|name| kind.resolve(name.trim())) {
            let Some(value) = resource.get(place.0.name) else { continue };
            match place.1 {
                None => {
                    kept.insert(place.0.name.to_owned(), value.clone());
                }
                Some(sub) => keep_sub(&mut kept, place.0.name, sub, value),
            }
        }
        resource.retain(|name, _| always(name));
        resource.append(&mut kept);
    }
    if let Some(unwanted) = call.head.query.one("excludedAttributes")? {
        for place in unwanted.split(',').filter_map(|name| kind.resolve(name.trim())) {
            match (place.1, resource.get_mut(place.0.name)) {
                (None, Some(_)) if !always(place.0.name) => {
                    resource.remove(place.0.name);
                }
                (Some(sub), Some(value)) => each_object(value, |object| {
                    object.remove(sub);
                }),
                _ => {}
            }
        }
    }
    Ok(resource)
}

/// Adds one sub-attribute to what is kept of an attribute; of a list, to each element at its place.
fn keep_sub(kept: &mut Map<String, Value>, name: &str, sub: &str, value: &Value) {
    let of = |value: &Value| -> Map<String, Value> {
        value.get(sub).map(|found| (sub.to_owned(), found.clone())).into_iter().collect()
    };
    match value {
        Value::Array(elements) => {
            let empty = || Value::Array(vec![json!({}); elements.len()]);
            let list = kept.entry(name).or_insert_with(empty);
            let places = list.as_array_mut().into_iter().flatten();
            for (place, element) in places.zip(elements) {
                if let Some(place) = place.as_object_mut() {
                    place.append(&mut of(element));
                }
            }
        }
        other => {
            if let Some(place) = kept.entry(name).or_insert_with(|| json!({})).as_object_mut() {
                place.append(&mut of(other));
            }
        }
    }
}

fn each_object(value: &mut Value, mut change: impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Array(elements) => elements.iter_mut().filter_map(Value::as_object_mut).for_each(change),
        Value::Object(object) => change(object),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_calendars_have_them() {
        for (millis, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_007, "2000-02-29T12:34:56.007Z"),
            (1_795_322_417_120, "2026-11-22T04:40:17.120Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(written_time(UnixMillis(millis)), written);
        }
    }
}
