//! `SHOW …` and `DESCRIBE …`: what the catalog's own lists show, as rows.

use serde_json::Value;

use super::names::{default, full, kind_of, securable};
use super::{Stopped, failed, rest, table};
use crate::access::SecurableKind;
use crate::app::statements::Rows;
use crate::http::call::Call;
use crate::http::catalog;
use crate::http::trail::Trail;
use crate::lake::sql::{Defaults, Name};

pub(super) async fn show_grants(
    call: &mut Call<'_>,
    trail: &Trail,
    principal: Option<String>,
    kind: &str,
    name: &Name,
    names: &Defaults,
) -> Result<Rows, Stopped> {
    let on = securable(call, kind, name, names).await?;
    let query: Vec<(&str, &str)> =
        principal.iter().map(|principal| ("principal", principal.as_str())).collect();
    let shown = rest(call, trail, "permissions", "get", &on.to_string(), &query, Value::Null).await?;
    let mut rows = Vec::new();
    for entry in shown.get("privilege_assignments").and_then(Value::as_array).into_iter().flatten() {
        for privilege in entry["privileges"].as_array().into_iter().flatten() {
            rows.push(vec![
                text(&entry["principal"]),
                text(privilege).map(|privilege| privilege.replace('_', " ")),
                Some(on.kind.as_str().to_uppercase()),
                Some(on.id.clone()),
            ]);
        }
    }
    Ok(table(&["Principal", "ActionType", "ObjectType", "ObjectKey"], rows))
}

/// All that the caller sees of a list; more than fits is refused rather than left out.
pub(super) async fn list(
    call: &mut Call<'_>,
    trail: &Trail,
    noun: &str,
    query: &[(&str, &str)],
) -> Result<Vec<Value>, Stopped> {
    let mut shown = rest(call, trail, noun, "list", "", query, Value::Null).await?;
    if shown.contains_key("next_page_token") {
        return Err(failed(
            "54000",
            "[TOO_MANY_OBJECTS] there is too much to show at once; use the catalog's API",
        ));
    }
    match shown.remove(noun) {
        Some(Value::Array(listed)) => Ok(listed),
        _ => Ok(Vec::new()),
    }
}

pub(super) async fn in_schema(
    call: &mut Call<'_>,
    trail: &Trail,
    noun: &str,
    schema: Option<Name>,
    names: &Defaults,
) -> Result<(Option<String>, Vec<Value>), Stopped> {
    let schema = match schema {
        Some(name) => name,
        None => vec![default(&names.schema, "schema")?],
    };
    let named = full(SecurableKind::Schema, &schema, names)?;
    let (catalog, schema) = named.id.split_once('.').unwrap_or_default();
    let listed = list(call, trail, noun, &[("catalog_name", catalog), ("schema_name", schema)]).await?;
    Ok((Some(schema.to_owned()), listed))
}

pub(super) fn named_like<'l>(
    listed: &'l [Value],
    like: Option<&'l str>,
) -> impl Iterator<Item = Option<String>> + 'l {
    let fits = move |name: &&str| like.is_none_or(|pattern| fits(pattern, name));
    listed.iter().filter_map(|entry| entry["name"].as_str()).filter(fits).map(|name| Some(name.to_owned()))
}

/// `LIKE` of SHOW: `*` and `%` are anything, `|` is or.
fn fits(pattern: &str, name: &str) -> bool {
    pattern.to_lowercase().split('|').any(|one| catalog::like(&one.replace('*', "%"), name))
}

pub(super) async fn describe(
    call: &mut Call<'_>,
    trail: &Trail,
    kind: &str,
    name: &Name,
    names: &Defaults,
    extended: bool,
) -> Result<Rows, Stopped> {
    let (kind, noun) = kind_of(kind)?;
    let named = full(kind, name, names)?;
    let shown = rest(call, trail, noun, "get", &named.id, &[], Value::Null).await?;
    let of_table = matches!(kind, SecurableKind::Table | SecurableKind::View);
    let mut rows = Vec::new();
    if of_table {
        for column in shown.get("columns").and_then(Value::as_array).into_iter().flatten() {
            rows.push(vec![text(&column["name"]), text(&column["type_text"]), text(&column["comment"])]);
        }
    }
    if !of_table || extended {
        for (key, value) in shown.iter().filter(|(key, _)| *key != "columns") {
            let value = text(value).or_else(|| Some(value.to_string()));
            rows.push(if of_table {
                vec![Some(key.clone()), value, None]
            } else {
                vec![Some(key.clone()), value]
            });
        }
    }
    let titles: &[&str] =
        if of_table { &["col_name", "data_type", "comment"] } else { &["info_name", "info_value"] };
    Ok(table(titles, rows))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
