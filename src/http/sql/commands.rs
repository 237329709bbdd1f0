//! Commands: what statements do besides reading. Each goes through the catalog's own API, so that SQL lets nobody do
//! what a call of that would not.

use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::{Map, Value, json};

use super::failure;
use super::statements::{Asked, planned};
use crate::access::{Check, Privilege, Securable, SecurableKind};
use crate::app::statements::{Failure, Rows, Witness};
use crate::http::call::Call;
use crate::http::catalog::{self, FunctionDetail, Rule};
use crate::http::error::{CatalogFault, Refusal};
use crate::http::trail::Trail;
use crate::lake::arrow::array::{ArrayRef, RecordBatch, new_null_array};
use crate::lake::arrow::compute::{cast, concat_batches};
use crate::lake::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use crate::lake::sql::{Command, Defaults, Name, Query, SqlError};
use crate::policy::{Permit, Requirement};
use crate::store::{CatalogObject, Detail};
use crate::wire::{Body, Query as UrlQuery, Reply};

/// Why a command was not done.
pub(super) enum Stopped {
    Failed(Failure),
    Refused(Refusal),
}

impl<E: Into<Refusal>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

fn failed(sql_state: &'static str, message: impl Into<String>) -> Stopped {
    Stopped::Failed(failure::bad(sql_state, message.into()))
}

/// Does a command, and answers what it shows.
pub(super) async fn run(
    call: &mut Call<'_>,
    trail: &mut Trail,
    permit: &Permit,
    command: Command,
    asked: &Asked,
) -> Result<Rows, Stopped> {
    let names = &asked.defaults;
    match command {
        Command::CreateCatalog { name, if_not_exists, comment } => {
            let body = json!({ "name": one(&name)?, "comment": comment });
            made(rest(call, trail, "catalogs", "create", "", &[], body).await, if_not_exists)
        }
        Command::CreateSchema { name, if_not_exists, comment } => {
            let named = full(SecurableKind::Schema, &name, names)?;
            let (catalog, schema) = named.id.split_once('.').unwrap_or_default();
            let body = json!({ "name": schema, "catalog_name": catalog, "comment": comment });
            made(rest(call, trail, "schemas", "create", "", &[], body).await, if_not_exists)
        }
        Command::CreateTable { name, if_not_exists, columns, location, comment } => {
            let named = full(SecurableKind::Table, &name, names)?;
            create_table(call, trail, &named, columns, location, comment, if_not_exists).await
        }
        Command::CreateView { name, or_replace, if_not_exists, definition, comment } => {
            let named = full(SecurableKind::View, &name, names)?;
            let mut body = place(&named);
            body.insert("table_type".to_owned(), json!("VIEW"));
            body.insert("view_definition".to_owned(), json!(definition));
            body.insert("comment".to_owned(), json!(comment));
            let created = rest(call, trail, "tables", "create", "", &[], Value::Object(body)).await;
            match created {
                Err(refusal) if or_replace && is_taken(&refusal) => {
                    catalog::redefine(call, trail, &named, &definition, None, comment).await?;
                    Ok(done())
                }
                other => made(other, if_not_exists),
            }
        }
        Command::CreateVolume { name, if_not_exists, location, comment } => {
            let named = full(SecurableKind::Volume, &name, names)?;
            let mut body = place(&named);
            let of = if location.is_some() { "EXTERNAL" } else { "MANAGED" };
            body.insert("volume_type".to_owned(), json!(of));
            body.insert("storage_location".to_owned(), json!(location));
            body.insert("comment".to_owned(), json!(comment));
            made(rest(call, trail, "volumes", "create", "", &[], Value::Object(body)).await, if_not_exists)
        }
        Command::CreateFunction { name, or_replace, function } => {
            let named = full(SecurableKind::Function, &name, names)?;
            let (parameters, returns, body) = (function.parameters, function.returns, function.body);
            let detail = FunctionDetail { parameters, returns, body };
            let mut info = place(&named);
            info.extend(detail.definition());
            info.insert("comment".to_owned(), json!(function.comment));
            let body = json!({ "function_info": info });
            match rest(call, trail, "functions", "create", "", &[], body).await {
                Err(refusal) if or_replace && is_taken(&refusal) => {
                    catalog::redefine(call, trail, &named, "", Some(&detail), function.comment).await?;
                    Ok(done())
                }
                other => made(other, false),
            }
        }
        Command::Drop { kind, name, if_exists, cascade } => {
            let (kind, noun) = kind_of(&kind)?;
            let named = full(kind, &name, names)?;
            if matches!(kind, SecurableKind::Table | SecurableKind::View) {
                same_kind(call, &named).await.or_else(|stopped| ignore_missing(stopped, if_exists))?;
            }
            let force = [("force", if cascade { "true" } else { "false" })];
            match rest(call, trail, noun, "delete", &named.id, &force, Value::Null).await {
                Err(refusal) => ignore_missing(refusal.into(), if_exists).map(|()| done()),
                Ok(_) => Ok(done()),
            }
        }
        Command::SetOwner { kind, name, owner } => {
            let (kind, noun) = kind_of(&kind)?;
            let named = full(kind, &name, names)?;
            rest(call, trail, noun, "update", &named.id, &[], json!({ "owner": owner })).await?;
            Ok(done())
        }
        Command::Grant { privileges, kind, name, principal } => {
            grant(call, trail, &kind, &name, names, json!({ "principal": principal, "add": privileges }))
                .await
        }
        Command::Revoke { privileges, kind, name, principal } => {
            grant(call, trail, &kind, &name, names, json!({ "principal": principal, "remove": privileges }))
                .await
        }
        Command::ShowGrants { principal, kind, name } => {
            show_grants(call, trail, principal, &kind, &name, names).await
        }
        Command::ShowCatalogs { like } => {
            let listed = list(call, trail, "catalogs", &[]).await?;
            Ok(table(&["catalog"], named_like(&listed, like.as_deref()).map(|name| vec![name]).collect()))
        }
        Command::ShowSchemas { catalog, like } => {
            let catalog = match catalog {
                Some(name) => one(&name)?,
                None => default(&names.catalog, "catalog")?,
            };
            let listed = list(call, trail, "schemas", &[("catalog_name", &catalog)]).await?;
            Ok(table(
                &["databaseName"],
                named_like(&listed, like.as_deref()).map(|name| vec![name]).collect(),
            ))
        }
        Command::ShowTables { schema, like } => {
            let (place, listed) = in_schema(call, trail, "tables", schema, names).await?;
            let rows = named_like(&listed, like.as_deref())
                .map(|name| vec![place.clone(), name, Some("false".to_owned())]);
            Ok(table(&["database", "tableName", "isTemporary"], rows.collect()))
        }
        Command::ShowVolumes { schema, like } => {
            let (place, listed) = in_schema(call, trail, "volumes", schema, names).await?;
            let rows = named_like(&listed, like.as_deref()).map(|name| vec![place.clone(), name]);
            Ok(table(&["database", "volume_name"], rows.collect()))
        }
        Command::Describe { kind, name, extended } => {
            describe(call, trail, &kind, &name, names, extended).await
        }
        Command::SetRowFilter { table, filter } => {
            let named = full(SecurableKind::Table, &table, names)?;
            let rule = filter.map(|(function, columns)| rule(&function, columns, names)).transpose()?;
            catalog::set_rule(call, trail, &named, None, rule.as_ref()).await?;
            Ok(done())
        }
        Command::SetMask { table, column, mask } => {
            let named = full(SecurableKind::Table, &table, names)?;
            // The masked column comes first among those that the function is given.
            let rule = mask
                .map(|(function, columns)| rule(&function, columns.into_iter().skip(1).collect(), names))
                .transpose()?;
            catalog::set_rule(call, trail, &named, Some(&column), rule.as_ref()).await?;
            Ok(done())
        }
        Command::Insert { table, columns, query } => {
            let named = full(SecurableKind::Table, &table, names)?;
            insert(call, trail, permit, &named, &columns, query, asked).await
        }
    }
}

fn rule(function: &Name, columns: Vec<String>, names: &Defaults) -> Result<Rule, Stopped> {
    Ok(Rule { function: full(SecurableKind::Function, function, names)?, columns })
}

/// A call of the catalog's API, as it would come by its own path.
async fn rest(
    call: &mut Call<'_>,
    trail: &Trail,
    noun: &str,
    verb: &str,
    name: &str,
    query: &[(&str, &str)],
    body: Value,
) -> Result<Map<String, Value>, Refusal> {
    call.params = vec![("name".to_owned(), name.to_owned())];
    if noun == "permissions" {
        let (kind, name) = name.split_once(':').unwrap_or_default();
        call.params = vec![("kind".to_owned(), kind.to_owned()), ("name".to_owned(), name.to_owned())];
    }
    call.head.query = UrlQuery::parse("")?;
    for (key, value) in query {
        call.head.query.set(key, value);
    }
    call.body = match without_nulls(body) {
        Value::Null => Body::Empty,
        body => Body::memory(body.to_string()),
    };
    call.json = None;
    let Reply { body, .. } = catalog::answer_as(call, trail, noun, verb).await?;
    let bytes = match body {
        Body::Replay(replay) => replay.as_memory().cloned().unwrap_or_default(),
        _ => bytes::Bytes::new(),
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Refusal::Internal("the catalog answered no object".to_owned())),
    }
}

fn without_nulls(mut body: Value) -> Value {
    if let Some(object) = body.as_object_mut() {
        object.retain(|_, value| !value.is_null());
        object.values_mut().for_each(|value| *value = without_nulls(value.take()));
    }
    body
}

fn is_taken(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Catalog { fault: CatalogFault::Taken, .. })
}

/// What there is already is as good as made, to whom could have made it.
fn made(created: Result<Map<String, Value>, Refusal>, if_not_exists: bool) -> Result<Rows, Stopped> {
    match created {
        Err(refusal) if if_not_exists && is_taken(&refusal) => Ok(done()),
        Err(refusal) => Err(refusal.into()),
        Ok(_) => Ok(done()),
    }
}

fn ignore_missing(stopped: Stopped, if_exists: bool) -> Result<(), Stopped> {
    match stopped {
        Stopped::Refused(Refusal::Catalog { fault: CatalogFault::Missing, .. }) if if_exists => Ok(()),
        other => Err(other),
    }
}

/// `DROP TABLE` drops no view, and the other way round.
async fn same_kind(call: &Call<'_>, named: &Securable) -> Result<(), Stopped> {
    let (object, _) = catalog::seen(call, named, true).await?;
    if object.securable.kind == named.kind {
        return Ok(());
    }
    Err(failed(
        "42809",
        format!("[WRONG_COMMAND_FOR_OBJECT_TYPE] `{}` is a {}", named.id, object.securable.kind.as_str()),
    ))
}

fn kind_of(kind: &str) -> Result<(SecurableKind, &'static str), Stopped> {
    Ok(match kind {
        "CATALOG" => (SecurableKind::Catalog, "catalogs"),
        "SCHEMA" => (SecurableKind::Schema, "schemas"),
        "TABLE" => (SecurableKind::Table, "tables"),
        "VIEW" => (SecurableKind::View, "tables"),
        "VOLUME" => (SecurableKind::Volume, "volumes"),
        "FUNCTION" => (SecurableKind::Function, "functions"),
        "EXTERNAL LOCATION" | "EXTERNAL_LOCATION" => (SecurableKind::ExternalLocation, "external_locations"),
        "METASTORE" => (SecurableKind::Metastore, "metastore"),
        _ => return Err(failed("42601", "[INVALID_STATEMENT] this kind of object is not known here")),
    })
}

fn one(name: &Name) -> Result<String, Stopped> {
    match name.as_slice() {
        [name] => Ok(name.clone()),
        _ => Err(failed("42601", "[INVALID_STATEMENT] a name of one part is needed")),
    }
}

fn default(value: &Option<String>, what: &str) -> Result<String, Stopped> {
    let missing = || {
        failed("42601", format!("[INVALID_STATEMENT] the name lacks its {what}; write it, or send `{what}`"))
    };
    value.clone().ok_or_else(missing)
}

/// The securable that a name of one to three parts means.
fn full(kind: SecurableKind, name: &Name, defaults: &Defaults) -> Result<Securable, Stopped> {
    let wanted = match kind {
        SecurableKind::Metastore => return Ok(Securable::metastore()),
        SecurableKind::Catalog | SecurableKind::ExternalLocation => 1,
        SecurableKind::Schema => 2,
        _ => 3,
    };
    let mut parts = name.clone();
    if parts.is_empty() || parts.len() > wanted || parts.iter().any(|part| part.contains('.')) {
        return Err(failed("42601", format!("[INVALID_STATEMENT] a name of {wanted} parts is needed")));
    }
    if parts.len() + 1 == wanted && wanted == 2 || parts.len() + 2 == wanted {
        if wanted == 3 {
            parts.insert(0, default(&defaults.schema, "schema")?);
        }
        parts.insert(0, default(&defaults.catalog, "catalog")?);
    } else if parts.len() + 1 == wanted {
        parts.insert(0, default(&defaults.catalog, "catalog")?);
    }
    Ok(Securable::new(kind, &parts.join(".")).map_err(Refusal::from)?)
}

/// The fields of a body that say where something is made.
fn place(named: &Securable) -> Map<String, Value> {
    let mut parts = named.id.splitn(3, '.');
    ["catalog_name", "schema_name", "name"]
        .into_iter()
        .map(|key| (key.to_owned(), json!(parts.next().unwrap_or_default())))
        .collect()
}

async fn create_table(
    call: &mut Call<'_>,
    trail: &Trail,
    named: &Securable,
    columns: Vec<(String, String, bool, Option<String>)>,
    location: Option<String>,
    comment: Option<String>,
    if_not_exists: bool,
) -> Result<Rows, Stopped> {
    let mut fields = Vec::new();
    let mut listed = Vec::new();
    for (position, (name, of, nullable, comment)) in columns.iter().enumerate() {
        let (data_type, type_name) = column_type(of)?;
        fields.push(Field::new(name, data_type, *nullable));
        listed.push(json!({
            "name": name, "type_text": of.to_lowercase(), "type_name": type_name, "position": position,
            "nullable": nullable, "comment": comment,
        }));
    }
    if fields.is_empty() && location.is_none() {
        return Err(failed("42601", "[INVALID_STATEMENT] a table needs at least one column"));
    }
    let mut body = place(named);
    let external = location.is_some();
    body.insert("table_type".to_owned(), json!(if external { "EXTERNAL" } else { "MANAGED" }));
    body.insert("data_source_format".to_owned(), json!("DELTA"));
    body.insert("storage_location".to_owned(), json!(location));
    body.insert("columns".to_owned(), listed.into_iter().map(without_nulls).collect());
    body.insert("comment".to_owned(), json!(comment));
    let created = rest(call, trail, "tables", "create", "", &[], Value::Object(body)).await;
    if created.is_err() {
        return made(created, if_not_exists);
    }
    if fields.is_empty() {
        // What lies there already has its columns.
        return Ok(done());
    }
    let (object, _) = catalog::seen(call, named, true).await?;
    let laid = lay(call, &object, Arc::new(Schema::new(fields))).await;
    if let Err(stopped) = laid {
        // Without its files it is no table.
        rest(call, trail, "tables", "delete", &named.id, &[], Value::Null).await?;
        return Err(stopped);
    }
    Ok(done())
}

/// Makes the files of a table that its maker just made.
async fn lay(call: &Call<'_>, object: &CatalogObject, columns: SchemaRef) -> Result<(), Stopped> {
    let permit = permit(call, Privilege::Manage, &object.securable)?;
    let place =
        object.location.as_ref().ok_or_else(|| Refusal::Internal("a table lies nowhere".to_owned()))?;
    let created = call.app.lake.create(&permit, place, columns, &object.properties).await;
    created.map_err(|error| Stopped::Failed(failure::of_lake(error)))
}

fn permit(call: &Call<'_>, privilege: Privilege, on: &Securable) -> Result<Permit, Stopped> {
    let needs = Requirement::All(vec![Check::new(privilege, on.clone())]);
    let (_, permit) = call.view()?.authorize(Some(call.caller), &needs)?;
    permit.ok_or_else(|| catalog::denied(&call.caller.principal, privilege, on).into())
}

/// The types that tables are made with.
fn column_type(of: &str) -> Result<(DataType, &'static str), Stopped> {
    use crate::lake::arrow::datatypes::TimeUnit::Microsecond;
    let upper: String = of.to_uppercase().split_whitespace().collect();
    if let Some(numbers) = upper.strip_prefix("DECIMAL(").and_then(|rest| rest.strip_suffix(')')) {
        let (precision, scale) = numbers.split_once(',').unwrap_or((numbers, "0"));
        if let (Ok(precision @ 1..=38), Ok(scale)) = (precision.parse::<u8>(), scale.parse::<i8>())
            && (0..=precision.cast_signed()).contains(&scale)
        {
            return Ok((DataType::Decimal128(precision, scale), "DECIMAL"));
        }
    }
    Ok(match upper.as_str() {
        "STRING" | "VARIANT" => (DataType::Utf8, "STRING"),
        "BIGINT" | "LONG" => (DataType::Int64, "LONG"),
        "INT" | "INTEGER" => (DataType::Int32, "INT"),
        "SMALLINT" | "SHORT" => (DataType::Int16, "SHORT"),
        "TINYINT" | "BYTE" => (DataType::Int8, "BYTE"),
        "DOUBLE" => (DataType::Float64, "DOUBLE"),
        "FLOAT" | "REAL" => (DataType::Float32, "FLOAT"),
        "BOOLEAN" => (DataType::Boolean, "BOOLEAN"),
        "DATE" => (DataType::Date32, "DATE"),
        "BINARY" => (DataType::Binary, "BINARY"),
        "DECIMAL" | "DEC" | "NUMERIC" => (DataType::Decimal128(10, 0), "DECIMAL"),
        "TIMESTAMP" => (DataType::Timestamp(Microsecond, Some("UTC".into())), "TIMESTAMP"),
        "TIMESTAMP_NTZ" => (DataType::Timestamp(Microsecond, None), "TIMESTAMP_NTZ"),
        _ => {
            let shown: String = of.chars().take(60).collect();
            return Err(failed(
                "0A000",
                format!("[UNSUPPORTED_DATATYPE] no table is made with `{shown}` here"),
            ));
        }
    })
}

async fn grant(
    call: &mut Call<'_>,
    trail: &Trail,
    kind: &str,
    name: &Name,
    names: &Defaults,
    change: Value,
) -> Result<Rows, Stopped> {
    let on = securable(call, kind, name, names).await?;
    rest(call, trail, "permissions", "update", &on.to_string(), &[], json!({ "changes": [change] })).await?;
    Ok(done())
}

/// What is granted on; a view is granted on as a table, too.
async fn securable(call: &Call<'_>, kind: &str, name: &Name, names: &Defaults) -> Result<Securable, Stopped> {
    let (kind, _) = kind_of(kind)?;
    let named = full(kind, name, names)?;
    if kind == SecurableKind::Metastore {
        return Ok(named);
    }
    Ok(catalog::seen(call, &named, true).await?.0.securable)
}

async fn show_grants(
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
async fn list(
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

async fn in_schema(
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

fn named_like<'l>(listed: &'l [Value], like: Option<&'l str>) -> impl Iterator<Item = Option<String>> + 'l {
    let fits = move |name: &&str| like.is_none_or(|pattern| fits(pattern, name));
    listed.iter().filter_map(|entry| entry["name"].as_str()).filter(fits).map(|name| Some(name.to_owned()))
}

/// `LIKE` of SHOW: `*` and `%` are anything, `|` is or.
fn fits(pattern: &str, name: &str) -> bool {
    pattern.to_lowercase().split('|').any(|one| catalog::like(&one.replace('*', "%"), name))
}

async fn describe(
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

/// Appends what a query gives to a table that the caller may modify, in one commit.
async fn insert(
    call: &mut Call<'_>,
    trail: &mut Trail,
    permit_of_warehouse: &Permit,
    named: &Securable,
    columns: &[String],
    query: String,
    asked: &Asked,
) -> Result<Rows, Stopped> {
    let found = call.app.store.catalog_object(named).await?;
    call.app.at_least(found.version).await?;
    trail.demands(named.to_string(), Privilege::Modify.to_string());
    let object = found.found.ok_or_else(|| catalog::missing(named))?;
    let target =
        permit(call, Privilege::Modify, &object.securable).map_err(|stopped| {
            match catalog::sight(call, &object.securable) {
                Ok(catalog::Sight::Hidden) => catalog::missing(named).into(),
                _ => stopped,
            }
        })?;
    let Detail::Table { .. } = &object.detail else {
        return Err(failed("42809", format!("[WRONG_COMMAND_FOR_OBJECT_TYPE] `{}` is a view", named.id)));
    };
    let place =
        object.location.as_ref().ok_or_else(|| Refusal::Internal("a table lies nowhere".to_owned()))?;
    let aside = trail.aside();
    let query = Query { text: query };
    let (mut rows, governor) = planned(call.app, call.caller, permit_of_warehouse, &query, asked, &aside)
        .await
        .map_err(Stopped::Failed)?;
    for (securable, privilege) in governor.witness().demands {
        trail.demands(securable, privilege);
    }
    let (mut batches, mut bytes) = (Vec::new(), 0);
    let most = call.app.config.lake.result_bytes_per_principal;
    while let Some(batch) = rows.batches.next().await {
        let batch = batch.map_err(|error| Stopped::Failed(failure::of_sql(error)))?;
        bytes += batch.get_array_memory_size();
        if bytes > most {
            return Err(failed(
                "53000",
                format!("[RESULT_TOO_LARGE] more than {most} bytes are not inserted at once"),
            ));
        }
        batches.push(batch);
    }
    if rows.truncated.get() {
        return Err(failed(
            "53000",
            "[RESULT_TOO_LARGE] more rows than `lake.query_rows` are not inserted at once",
        ));
    }
    let of_lake = |error| Stopped::Failed(failure::of_lake(error));
    let schema = call.app.lake.columns(&target, place).await.map_err(of_lake)?;
    let whole = concat_batches(&rows.schema, &batches).map_err(|error| internal(&error))?;
    let fitted = fitted(&whole, columns, &schema)?;
    let inserted = fitted.num_rows();
    if inserted > 0 {
        call.app.lake.append(&target, place, fitted).await.map_err(of_lake)?;
    }
    let count = inserted.to_string();
    Ok(table(&["num_affected_rows", "num_inserted_rows"], vec![vec![Some(count.clone()), Some(count)]]))
}

fn internal(error: &dyn std::fmt::Display) -> Stopped {
    Stopped::Failed(failure::of_sql(SqlError::Internal(error.to_string())))
}

/// Rows by place, as columns of the table: those that are named, or all of them in their order.
fn fitted(rows: &RecordBatch, columns: &[String], schema: &SchemaRef) -> Result<RecordBatch, Stopped> {
    let names: Vec<String> = match columns {
        [] => schema.fields().iter().map(|field| field.name().clone()).collect(),
        named => named.to_vec(),
    };
    if names.len() != rows.num_columns() {
        return Err(failed(
            "42802",
            format!(
                "[INSERT_COLUMN_ARITY_MISMATCH] {} columns get {} values",
                names.len(),
                rows.num_columns()
            ),
        ));
    }
    let unknown = names
        .iter()
        .find(|name| !schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(name)));
    let twice = names
        .iter()
        .enumerate()
        .find(|(place, name)| names[..*place].iter().any(|other| other.eq_ignore_ascii_case(name)));
    if let Some(name) = unknown.or(twice.map(|(_, name)| name)) {
        return Err(failed(
            "42703",
            format!("[UNRESOLVED_COLUMN] `{name}` is no column of the table, or named twice"),
        ));
    }
    let mut fitted: Vec<ArrayRef> = Vec::new();
    for field in schema.fields() {
        let given = names.iter().position(|name| name.eq_ignore_ascii_case(field.name()));
        let values = match given {
            None => new_null_array(field.data_type(), rows.num_rows()),
            Some(place) => {
                let given = rows.column(place);
                let values = cast(given, field.data_type()).map_err(|_| not_of(field))?;
                // A value that cannot be cast would become null unsaid.
                if values.null_count() != given.null_count() && !given.data_type().is_null() {
                    return Err(not_of(field));
                }
                values
            }
        };
        if !field.is_nullable() && values.null_count() > 0 {
            return Err(failed(
                "23502",
                format!("[NOT_NULL_CONSTRAINT_VIOLATION] `{}` cannot be null", field.name()),
            ));
        }
        fitted.push(values);
    }
    RecordBatch::try_new(Arc::clone(schema), fitted).map_err(|error| internal(&error))
}

fn not_of(field: &Field) -> Stopped {
    failed("22018", format!("[CAST_INVALID_INPUT] a value for `{}` is not of its type", field.name()))
}

/// Rows of texts.
fn table(titles: &[&str], rows: Vec<Vec<Option<String>>>) -> Rows {
    use crate::lake::arrow::array::StringArray;
    let schema =
        Schema::new(titles.iter().map(|title| Field::new(*title, DataType::Utf8, true)).collect::<Vec<_>>());
    let column = |place: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row.get(place).cloned().flatten()).collect::<StringArray>())
    };
    let columns = (0..titles.len()).map(column).collect();
    let schema = Arc::new(schema);
    let chunks = match RecordBatch::try_new(Arc::clone(&schema), columns) {
        Ok(batch) if batch.num_rows() > 0 => vec![batch],
        _ => Vec::new(),
    };
    let bytes = chunks.iter().map(RecordBatch::get_array_memory_size).sum();
    Rows { schema, chunks, bytes, truncated: false, witness: Witness::default() }
}

fn done() -> Rows {
    table(&[], Vec::new())
}
