//! Lists: filtered, sorted, and a page of them.

use serde_json::{Map, Value, json};

use super::filter::{Place, filter, values};
use super::resource::{Related, project, write};
use super::{Kind, refuse, written};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::store::DirectoryEntry;
use crate::wire::Reply;

/// Resources in one answer. Clients ask for this many.
const MOST: usize = 10_000;

pub(super) async fn get(call: &Call<'_>, kind: Kind, entry: &DirectoryEntry) -> Result<Reply, Refusal> {
    Ok(written(200, &project(call, kind, whole(call, kind, entry).await?)?))
}

/// One resource with all that it has.
pub(super) async fn whole(
    call: &Call<'_>,
    kind: Kind,
    entry: &DirectoryEntry,
) -> Result<Map<String, Value>, Refusal> {
    let view = call.view()?;
    let related = Related::of(call, view.snapshot(), std::slice::from_ref(entry)).await?;
    Ok(write(call, kind, view.snapshot(), &related, entry))
}

pub(super) async fn list(call: &Call<'_>, kind: Kind) -> Result<Reply, Refusal> {
    let query = &call.head.query;
    let wanted = query.one("filter")?.map(|text| filter(kind, text)).transpose()?;
    let start = paging(query.one("startIndex")?, "startIndex")?.unwrap_or(1).max(1);
    let count = paging(query.one("count")?, "count")?.map_or(MOST, |count| count.min(MOST));
    let sorted_by = match query.one("sortBy")? {
        Some(name) => {
            let unknown = || refuse("invalidValue", format!("`sortBy`: there is no attribute `{name}`"));
            let (attribute, sub) = kind.resolve(name).ok_or_else(unknown)?;
            Some(Place { attribute, sub })
        }
        None => None,
    };
    let descending = match query.one("sortOrder")? {
        None | Some("ascending") => false,
        Some("descending") => true,
        Some(_) => return Err(refuse("invalidValue", "`sortOrder` is `ascending` or `descending`")),
    };
    let view = call.view()?;
    let policy = view.snapshot();
    let entries = call.app.store.directory(kind.principals()).await?;
    let page = |total: usize| (start - 1).min(total)..(start - 1).saturating_add(count).min(total);
    let (total, resources) = if wanted.is_none() && sorted_by.is_none() {
        // Those that are not on the page need not be written.
        let on_page = &entries[page(entries.len())];
        let related = Related::of(call, policy, on_page).await?;
        let written = on_page.iter().map(|entry| write(call, kind, policy, &related, entry));
        (entries.len(), written.collect::<Vec<_>>())
    } else {
        let related = Related::of(call, policy, &entries).await?;
        let all = entries.iter().map(|entry| Value::Object(write(call, kind, policy, &related, entry)));
        let mut found: Vec<Value> =
            all.filter(|one| wanted.as_ref().is_none_or(|filter| filter.holds(one))).collect();
        if let Some(place) = sorted_by {
            found.sort_by_cached_key(|one| {
                values(one, place).first().map(|value| match value {
                    Value::String(text) if !place.attribute.exact => text.to_lowercase(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                })
            });
            if descending {
                found.reverse();
            }
        }
        let range = page(found.len());
        let total = found.len();
        let objects = found.drain(range).filter_map(|one| match one {
            Value::Object(object) => Some(object),
            _ => None,
        });
        (total, objects.collect())
    };
    let resources: Vec<Map<String, Value>> =
        resources.into_iter().map(|one| project(call, kind, one)).collect::<Result<_, _>>()?;
    let answer = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    });
    let Value::Object(answer) = answer else { return Err(Refusal::Internal("a list".to_owned())) };
    Ok(written(200, &answer))
}

/// A number of the query; below zero is taken as zero.
fn paging(given: Option<&str>, name: &str) -> Result<Option<usize>, Refusal> {
    let Some(text) = given else { return Ok(None) };
    let number: i64 =
        text.parse().map_err(|_| refuse("invalidValue", format!("`{name}` must be a whole number")))?;
    Ok(Some(usize::try_from(number.max(0)).unwrap_or(usize::MAX)))
}
