use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures_util::StreamExt;

use super::*;

mod attacks;
mod commands;
mod delta;
mod limits;
mod queries;
mod results;
mod through;

#[derive(Debug)]
struct Memory;

/// `id`, `owner`, `secret` (a text that is no number on the rows of others), `amount` (0 on the rows of others).
fn people() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("owner", DataType::Utf8, false),
        Field::new("secret", DataType::Utf8, true),
        Field::new("amount", DataType::Int64, false),
        Field::new("attributes", DataType::Utf8, true),
    ]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
            Arc::new(StringArray::from(vec!["ann", "ann", "bob", "bob"])),
            Arc::new(StringArray::from(vec![Some("11"), Some("22"), Some("hush"), None])),
            Arc::new(Int64Array::from(vec![5, 7, 0, 0])),
            Arc::new(StringArray::from(vec![
                Some(r#"{"a":{"b":"x"},"n":3,"l":[1,2]}"#),
                Some(r#"{"a":{"b":null}}"#),
                None,
                Some("{}"),
            ])),
        ],
    )
    .unwrap()
}

#[async_trait]
impl Tables for Memory {
    async fn provider(&self, place: &str) -> Result<Arc<dyn TableProvider>, LakeError> {
        match place {
            "mem:people" => {
                let rows = people();
                Ok(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap()))
            }
            _ => Err(LakeError::NoTable(place.to_owned())),
        }
    }
}

#[derive(Default)]
struct World {
    relations: BTreeMap<String, Relation>,
    functions: BTreeMap<String, Function>,
    asked: Mutex<Vec<(String, usize)>>,
}

#[async_trait]
impl Governor for World {
    async fn relation(&self, name: &TableName, through: &[TableName]) -> Result<Relation, Refused> {
        let name = names::key(name);
        self.asked.lock().unwrap().push((name.clone(), through.len()));
        match self.relations.get(&name) {
            // What lies below a view is not the caller's to read.
            Some(_) if name.starts_with("main.below.") && through.is_empty() => Err(Refused::Missing(name)),
            Some(relation) => Ok(relation.clone()),
            None => Err(Refused::Missing(name)),
        }
    }

    async fn function(&self, name: &TableName) -> Result<Function, Refused> {
        self.functions.get(&names::key(name)).cloned().ok_or_else(|| Refused::Missing(names::key(name)))
    }

    fn current_user(&self) -> String {
        "ann".to_owned()
    }

    fn is_member(&self, group: &str) -> bool {
        group == "analysts"
    }
}

fn function(name: &str, parameters: &[(&str, &str)], returns: &str, body: &str) -> Function {
    Function {
        name: name.to_owned(),
        parameters: parameters.iter().map(|(name, kind)| (name.to_string(), kind.to_string())).collect(),
        returns: returns.to_owned(),
        body: body.to_owned(),
    }
}

fn call(function: Function, arguments: &[&str]) -> Call {
    Call { function, arguments: arguments.iter().map(|name| name.to_string()).collect() }
}

/// `main.t.open` has no rules, `main.t.ruled` shows the caller's rows, with `secret` masked; `main.t.masked` all rows.
fn world() -> World {
    let mut world = World::default();
    let own = call(function("own", &[("who", "STRING")], "BOOLEAN", "who = current_user()"), &["owner"]);
    let mask = call(
        function(
            "mask",
            &[("v", "STRING")],
            "STRING",
            "CASE WHEN is_account_group_member('admins') THEN v ELSE '***' END",
        ),
        &["SECRET"],
    );
    let masks = BTreeMap::from([("Secret".to_owned(), mask)]);
    let table = |rules| Relation::Table { place: "mem:people".to_owned(), rules };
    let mut add = |name: &str, relation| world.relations.insert(name.to_owned(), relation);
    add("main.t.open", table(Rules::default()));
    add("main.below.base", table(Rules::default()));
    add("main.t.ruled", table(Rules { row_filter: Some(own), masks: masks.clone() }));
    add("main.t.masked", table(Rules { row_filter: None, masks }));
    let mut view = |name: &str, definition: &str| {
        add(name, Relation::View { definition: definition.to_owned() });
    };
    view("main.t.mine", "SELECT id, secret, amount FROM main.below.base WHERE owner = current_user()");
    view("main.t.over", "SELECT id + 100 AS id FROM mine");
    view(
        "main.t.picked",
        "SELECT id FROM main.t.ruled WHERE amount = (SELECT max(amount) FROM main.t.ruled)",
    );
    view("main.t.loop", "SELECT * FROM main.t.pool");
    view("main.t.pool", "SELECT * FROM main.t.loop");
    for depth in 0..40 {
        view(&format!("main.t.v{depth}"), &format!("SELECT * FROM main.t.v{}", depth + 1));
    }
    world
        .functions
        .insert("main.t.twice".to_owned(), function("main.t.twice", &[("x", "BIGINT")], "BIGINT", "x * 2"));
    world
}

fn limits_of(seconds: u64) -> QueryLimits {
    let time = Duration::from_secs(seconds);
    QueryLimits { memory_bytes: 64 << 20, time, rows: None, bytes: None, held: None }
}

fn engine() -> Engine {
    Engine::over(Arc::new(Memory), 256 << 20).unwrap()
}

async fn rows_of(rows: Rows) -> Result<Vec<String>, SqlError> {
    let mut lines = Vec::new();
    let mut batches = rows.batches;
    while let Some(batch) = batches.next().await {
        for row in result::json_rows(&batch?) {
            let row: Vec<String> =
                row.into_iter().map(|value| value.unwrap_or_else(|| "NULL".to_owned())).collect();
            lines.push(row.join("|"));
        }
    }
    Ok(lines)
}

async fn with(world: World, text: &str, parameters: &[Parameter]) -> Result<Vec<String>, SqlError> {
    let Statement::Query(query) = parse(text)? else {
        return Err(SqlError::Statement("a command".to_owned()));
    };
    let defaults = Defaults { catalog: Some("main".to_owned()), schema: Some("t".to_owned()) };
    let rows = engine().run(&query, parameters, &defaults, Arc::new(world), &limits_of(60)).await?;
    rows_of(rows).await
}

async fn ask(text: &str) -> Result<Vec<String>, SqlError> {
    with(world(), text, &[]).await
}

/// The rows as lines, or the error's text.
async fn said(text: &str) -> String {
    match ask(text).await {
        Ok(lines) => lines.join("\n"),
        Err(error) => format!("error: {error}"),
    }
}
