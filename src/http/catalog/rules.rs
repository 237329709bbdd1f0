//! What SQL alone changes of an object: a table's row filter and masks, what a view or a function is.

use serde_json::{Map, Value};

use super::kinds::missing;
use super::{at_one_version, input, sight};
use crate::access::{Privilege, Securable, SecurableKind};
use crate::http::call::Call;
use crate::http::error::Refusal;
use crate::http::trail::Trail;
use crate::store::{ColumnMask, Detail, ObjectChange, RowFilter};
use crate::wire::Malformed;

/// A function, and the columns that it is given.
pub(in crate::http) struct Rule {
    pub function: Securable,
    pub columns: Vec<String>,
}

/// Parameters by name and type, what it returns, and an SQL expression.
pub(in crate::http) struct FunctionDetail {
    pub parameters: Vec<(String, String)>,
    pub returns: String,
    pub body: String,
}

impl FunctionDetail {
    /// As clients of the catalog would send it.
    pub fn definition(&self) -> Map<String, Value> {
        let parameters: Vec<Value> = self
            .parameters
            .iter()
            .enumerate()
            .map(|(place, (name, of))| {
                serde_json::json!({ "name": name, "type_text": of, "type_name": "STRING", "position": place })
            })
            .collect();
        Map::from_iter([
            ("input_params".to_owned(), serde_json::json!({ "parameters": parameters })),
            ("full_data_type".to_owned(), self.returns.clone().into()),
            ("routine_body".to_owned(), "SQL".into()),
            ("routine_definition".to_owned(), self.body.clone().into()),
        ])
    }
}

/// Sets or drops the row filter of a table, or the mask of one of its columns, for whoever manages the table and may
/// run the function.
pub(in crate::http) async fn set_rule(
    call: &Call<'_>,
    trail: &Trail,
    table: &Securable,
    column: Option<&str>,
    rule: Option<&Rule>,
) -> Result<(), Refusal> {
    let by = call.caller.principal.to_string();
    at_one_version(call, trail, SecurableKind::Table, async |store| {
        let object = sight::managed(call, table).await?;
        let Detail::Table { external, format, mut columns, row_filter } = object.detail.clone() else {
            return Err(Malformed::new("statement", "row filters and masks are for tables alone").into());
        };
        let function = match rule {
            Some(rule) => Some(function(call, rule).await?),
            None => None,
        };
        let known = |name: &String| columns.iter().find(|known| known.name.eq_ignore_ascii_case(name));
        let mut given = Vec::new();
        for name in rule.iter().flat_map(|rule| &rule.columns) {
            let refuse = || Malformed::new("statement", "names a column that the table does not have");
            given.push(known(name).ok_or_else(refuse)?.name.clone());
        }
        let takes = given.len() + usize::from(column.is_some());
        if let Some((function, parameters)) = &function
            && *parameters != takes
        {
            let problem = format!("gives {takes} columns to `{}`, which takes {parameters}", function.0);
            return Err(Malformed::new("statement", problem).into());
        }
        let row_filter = match (column, function) {
            (None, function) => function.map(|((function_name, id), _)| RowFilter {
                function_name,
                function_id: Some(id),
                input_column_names: given,
            }),
            (Some(column), function) => {
                let masked = columns.iter_mut().find(|known| known.name.eq_ignore_ascii_case(column));
                let refuse = || Malformed::new("statement", "names a column that the table does not have");
                masked.ok_or_else(refuse)?.mask = function.map(|((function_name, id), _)| ColumnMask {
                    function_name,
                    function_id: Some(id),
                    using_column_names: given,
                });
                row_filter
            }
        };
        let detail = Some(Detail::Table { external, format, columns, row_filter });
        let change = ObjectChange { detail, ..ObjectChange::default() };
        Ok(store.change_catalog_object(&object.securable, &change, &by, call.app.clock.now()).await)
    })
    .await
}

/// Name and id of a function that the caller may run, and how many parameters it has.
async fn function(call: &Call<'_>, rule: &Rule) -> Result<((String, String), usize), Refusal> {
    let (object, _) = sight::seen(call, &rule.function, false).await?;
    sight::demand(call, Privilege::Execute, &object.securable)?;
    let Some(function) = crate::http::sql::function_of(&object) else {
        return Err(Malformed::new("statement", "names a function that is no SQL expression").into());
    };
    Ok(((object.securable.id, object.id), function.parameters.len()))
}

/// Gives a view or a function another definition, for whoever manages it. Of a view it is noted who did: it reads no
/// more than he may.
pub(in crate::http) async fn redefine(
    call: &Call<'_>,
    trail: &Trail,
    named: &Securable,
    definition: &str,
    function: Option<&FunctionDetail>,
    comment: Option<String>,
) -> Result<(), Refusal> {
    let by = call.caller.principal.to_string();
    let comment = input::comment(comment)?;
    at_one_version(call, trail, named.kind, async |store| {
        let object = sight::managed(call, named).await?;
        let detail = match (&object.detail, function) {
            (Detail::View { .. }, None) => Detail::View {
                definition: definition.to_owned(),
                definer: Some(by.clone()),
                columns: Vec::new(),
            },
            (Detail::Function { .. }, Some(function)) => {
                Detail::Function { definition: input::definition(function.definition())? }
            }
            _ => return Err(missing(named)),
        };
        let change =
            ObjectChange { detail: Some(detail), comment: comment.clone(), ..ObjectChange::default() };
        Ok(store.change_catalog_object(&object.securable, &change, &by, call.app.clock.now()).await)
    })
    .await
}
