//! Lists: what the caller sees of a container, silently without the rest, in pages whose tokens are the caller's own.

use serde_json::{Map, Value, json};

use super::flag;
use super::kinds::plural;
use super::show::{Frame, Omitted, info, table_type};
use super::sight::{self, Sight};
use crate::access::{Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::pages;
use crate::store::CatalogObject;
use crate::wire::{Malformed, Reply};

/// Objects read at once.
const BATCH: i64 = 500;
/// Objects looked at for one page, seen or not. A page may come out short, or empty, and still have a next one.
const MOST_LOOKED_AT: usize = 20_000;
/// Entries of a page whose size the client leaves to us.
const PAGE: usize = 200;
/// Entries of a page at most.
const LARGEST: usize = 1_000;
/// Entries for a client that asks for no pages.
const UNPAGED: usize = 10_000;

/// How many entries a client wants: `0` is our own page, absent is everything.
pub(super) fn page_size(call: &Call<'_>) -> Result<usize, Refusal> {
    let refuse = || Malformed::new("query parameter `max_results`", "must be 0 or a positive number");
    let Some(text) = call.head.query.one("max_results")?.filter(|text| !text.is_empty()) else {
        return Ok(UNPAGED);
    };
    Ok(match text.parse::<i64>().map_err(|_| refuse())? {
        0 => PAGE,
        wanted @ 1.. => usize::try_from(wanted).unwrap_or(LARGEST).min(LARGEST),
        _ => return Err(refuse().into()),
    })
}

/// What a page holds, and the token of the next one.
struct Page {
    seen: Vec<(CatalogObject, Sight)>,
    next: Option<String>,
}

/// The container that the query names.
fn container(call: &Call<'_>, kind: SecurableKind) -> Result<Securable, Refusal> {
    let need = |name: &str| -> Result<String, Refusal> {
        let value = call.head.query.one(name)?.filter(|value| !value.is_empty());
        value
            .map(str::to_owned)
            .ok_or_else(|| Malformed::new(format!("query parameter `{name}`"), "is needed").into())
    };
    match kind {
        SecurableKind::Catalog | SecurableKind::ExternalLocation => Ok(Securable::metastore()),
        SecurableKind::Schema => Ok(Securable::new(SecurableKind::Catalog, &need("catalog_name")?)?),
        _ => {
            let catalog = Securable::new(SecurableKind::Catalog, &need("catalog_name")?)?;
            let schema = format!("{}.{}", catalog.id, need("schema_name")?);
            Ok(Securable::new(SecurableKind::Schema, &schema)?)
        }
    }
}

pub(super) async fn list(call: &mut Call<'_>, kind: SecurableKind) -> Result<Reply, Refusal> {
    pages::open(call).await?;
    let browse = flag(call, "include_browse")?;
    let omitted =
        Omitted { columns: flag(call, "omit_columns")?, properties: flag(call, "omit_properties")? };
    let size = page_size(call)?;
    let container = container(call, kind)?;
    if container.kind != SecurableKind::Metastore {
        sight::entered(call, &container, browse).await?;
    }
    let after = call.head.query.one("page_token")?.unwrap_or_default().to_owned();
    let page = page(call, &container, kind, &after, size, browse).await?;
    let objects: Vec<&CatalogObject> = page.seen.iter().map(|(object, _)| object).collect();
    let frame = Frame::of(call, &objects).await?;
    let shown = page.seen.iter().map(|(object, sight)| Value::Object(info(object, *sight, &frame, omitted)));
    answer(call, plural(kind), shown.collect(), page.next)
}

fn answer(call: &Call<'_>, list: &str, shown: Vec<Value>, next: Option<String>) -> Result<Reply, Refusal> {
    let mut answer = Map::from_iter([(list.to_owned(), Value::Array(shown))]);
    if let Some(next) = next {
        answer.insert("next_page_token".to_owned(), json!(pages::sealed_token(call, &next)?));
    }
    Ok(pages::written(200, &answer))
}

/// Reads on until the page is full, the container ends, or enough was looked at.
async fn page(
    call: &Call<'_>,
    container: &Securable,
    kind: SecurableKind,
    after: &str,
    size: usize,
    browse: bool,
) -> Result<Page, Refusal> {
    let (mut seen, mut last, mut looked_at) = (Vec::new(), after.to_owned(), 0);
    loop {
        let batch = call.app.store.catalog_objects(container, kind, &last, BATCH).await?;
        call.app.at_least(batch.version).await?;
        let is_last = batch.found.len() < BATCH as usize;
        for object in batch.found {
            if seen.len() == size || looked_at == MOST_LOOKED_AT {
                return Ok(Page { seen, next: Some(last) });
            }
            looked_at += 1;
            last.clone_from(&object.securable.id);
            match sight::of(call, &object.securable)? {
                Sight::Hidden => {}
                Sight::Browsed if !browse => {}
                sight => seen.push((object, sight)),
            }
        }
        if is_last {
            return Ok(Page { seen, next: None });
        }
    }
}

/// Names of tables in a catalog whose schema and name are like patterns (`%` is anything, `_` one character).
pub(super) async fn summaries(call: &mut Call<'_>) -> Result<Reply, Refusal> {
    pages::open(call).await?;
    let size = page_size(call)?;
    let pattern = |name: &str| -> Result<Option<String>, Refusal> {
        Ok(call.head.query.one(name)?.filter(|text| !text.is_empty()).map(str::to_lowercase))
    };
    let (schemas, tables) = (pattern("schema_name_pattern")?, pattern("table_name_pattern")?);
    let fits =
        |pattern: &Option<String>, name: &str| pattern.as_ref().is_none_or(|pattern| like(pattern, name));
    let catalog = container(call, SecurableKind::Schema)?;
    sight::entered(call, &catalog, false).await?;
    let after = call.head.query.one("page_token")?.unwrap_or_default().to_owned();
    let (mut shown, mut next) = (Vec::new(), None);
    let mut schema_after = String::new();
    'schemas: loop {
        let found = page(call, &catalog, SecurableKind::Schema, &schema_after, LARGEST, false).await?;
        for (schema, _) in &found.seen {
            // A token names the table after which to go on: schemas before its own are done.
            let begun = after.split('.').nth(1).unwrap_or_default();
            if !fits(&schemas, schema.name()) || schema.name() < begun {
                continue;
            }
            let first = if schema.name() == begun { after.clone() } else { String::new() };
            let mut from = first;
            loop {
                let room = size - shown.len();
                let part =
                    page(call, &schema.securable, SecurableKind::Table, &from, room.max(1), false).await?;
                for (object, _) in &part.seen {
                    if !fits(&tables, object.name()) {
                        continue;
                    }
                    if shown.len() == size {
                        break 'schemas;
                    }
                    next = Some(object.securable.id.clone());
                    shown.push(json!({
                        "full_name": object.securable.id,
                        "table_type": table_type(&object.detail),
                    }));
                }
                match part.next {
                    Some(last) => from = last,
                    None => break,
                }
            }
        }
        match found.next {
            Some(last) => schema_after = last,
            None => {
                next = None;
                break;
            }
        }
    }
    answer(call, "tables", shown, next)
}

/// SQL's `LIKE`, without an escape.
pub(in crate::http) fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        match pattern.get(at) {
            Some('%') => {
                star = Some((at, place));
                at += 1;
            }
            Some(one) if *one == '_' || *one == text[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((back, from)) => {
                    at = back + 1;
                    place = from + 1;
                    star = Some((back, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_sql() {
        for (pattern, text) in [
            ("%", ""),
            ("a%", "abc"),
            ("%c", "abc"),
            ("a_c", "abc"),
            ("%b%", "abc"),
            ("abc", "abc"),
            ("%a%a%", "banana"),
        ] {
            assert!(like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("a", "ab"), ("_", ""), ("a%d", "abc"), ("%a_a", "banan"), ("[a]", "a")]
        {
            assert!(!like(pattern, text), "{pattern} {text}");
        }
    }
}
