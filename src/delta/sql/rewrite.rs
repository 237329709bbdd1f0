//! What Databricks writes otherwise than the planner does, and what only the caller's identity can say, is put into
//! the syntax as the planner knows it. Values are put in as values, never as text.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, JsonPathElem, ObjectName, Query, Select, SelectItem, Value, VisitMut, VisitorMut,
};

use super::{Governor, Parameter, SqlError, syntax};

/// Steps of a path into JSON text.
const STEPS: usize = 64;

pub(super) fn query(query: &mut Query, governor: &dyn Governor, parameters: &[Parameter]) -> Result<(), SqlError> {
    let mut values = BTreeMap::new();
    for parameter in parameters {
        if values.insert(parameter.name.clone(), literal(parameter)?).is_some() {
            return Err(SqlError::Statement(format!("the parameter `{}` is given twice", parameter.name)));
        }
    }
    let mut rewrite = Rewrite { governor, values, used: Default::default() };
    run(query, &mut rewrite)?;
    match rewrite.values.keys().find(|name| !rewrite.used.contains(*name)) {
        Some(name) => Err(SqlError::Statement(format!("the statement has no parameter `:{name}`"))),
        None => Ok(()),
    }
}

pub(super) fn expression(expression: &mut Expr, governor: &dyn Governor) -> Result<(), SqlError> {
    run(expression, &mut Rewrite { governor, values: BTreeMap::new(), used: Default::default() })
}

fn run(syntax: &mut impl VisitMut, rewrite: &mut Rewrite<'_>) -> Result<(), SqlError> {
    match syntax.visit(rewrite) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(why) => Err(why),
    }
}

struct Rewrite<'a> {
    governor: &'a dyn Governor,
    values: BTreeMap<String, Expr>,
    used: std::collections::BTreeSet<String>,
}

impl VisitorMut for Rewrite<'_> {
    type Break = SqlError;

    /// A column that is rewritten keeps the name it has in Databricks.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(expression) = item else { continue };
            let name = match &*expression {
                Expr::JsonAccess { path, .. } => match path.path.last() {
                    Some(JsonPathElem::Dot { key, .. }) => key.clone(),
                    _ => expression.to_string(),
                },
                Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => expression.to_string(),
                Expr::Function(function) if rewritten(function).is_some() => expression.to_string(),
                _ => continue,
            };
            *item = SelectItem::ExprWithAlias {
                expr: expression.clone(),
                alias: Ident::with_quote('`', syntax::short(&name)),
            };
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<SqlError> {
        match self.replacement(expression) {
            Ok(Some(new)) => {
                *expression = new;
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(why) => ControlFlow::Break(why),
        }
    }
}

impl Rewrite<'_> {
    fn replacement(&mut self, expression: &Expr) -> Result<Option<Expr>, SqlError> {
        match expression {
            Expr::Value(value) => match &value.value {
                Value::Placeholder(name) => {
                    let name = name.trim_start_matches(':');
                    let Some(value) = self.values.get(name) else {
                        return Err(SqlError::Statement(format!(
                            "[UNBOUND_SQL_PARAMETER] the statement has a parameter `:{name}` that no value is given for"
                        )));
                    };
                    self.used.insert(name.to_owned());
                    Ok(Some(value.clone()))
                }
                _ => Ok(None),
            },
            Expr::JsonAccess { value, path } => {
                let mut arguments = vec![(**value).clone()];
                for step in &path.path {
                    arguments.push(match step {
                        JsonPathElem::Dot { key, .. } => text(key),
                        JsonPathElem::Bracket { key } | JsonPathElem::ColonBracket { key } => key.clone(),
                    });
                }
                json_text(arguments).map(Some)
            }
            // `||` has no bound on what it makes; concat() here has one.
            Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } => {
                Ok(Some(call("concat_strict", vec![(**left).clone(), (**right).clone()])))
            }
            Expr::Function(function) => match rewritten(function) {
                Some(kind) => self.function(kind, function).map(Some),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    fn function(&mut self, kind: Kind, function: &Function) -> Result<Expr, SqlError> {
        let arguments = arguments(function)?;
        let wrong = |form: &str| SqlError::Statement(format!("`{}` is written `{form}`", function.name));
        match (kind, arguments.as_slice()) {
            (Kind::CurrentUser, []) => Ok(text(&self.governor.current_user())),
            (Kind::CurrentUser, _) => Err(wrong("current_user()")),
            (Kind::IsMember, [group]) => match literal_text(group) {
                Some(group) => Ok(Expr::value(Value::Boolean(self.governor.is_member(group)))),
                None => Err(wrong("is_account_group_member('group'), with a text")),
            },
            (Kind::IsMember, _) => Err(wrong("is_account_group_member('group'), with a text")),
            (Kind::GetJsonObject, [json, path]) => {
                json_text(std::iter::once(json.clone()).chain(steps(path)?).collect())
            }
            (Kind::GetJsonObject, _) => Err(wrong("get_json_object(json, '$.path')")),
            (Kind::VariantGet { lenient }, [json, path, rest @ ..]) if rest.len() <= 1 => {
                let found = json_text(std::iter::once(json.clone()).chain(steps(path)?).collect())?;
                let Some(wanted) = rest.first() else { return Ok(found) };
                let Some(wanted) = literal_text(wanted) else {
                    return Err(wrong("variant_get(json, '$.path', 'type')"));
                };
                let kind = if lenient { CastKind::TryCast } else { CastKind::Cast };
                Ok(cast(kind, found, wanted)?)
            }
            (Kind::VariantGet { .. }, _) => Err(wrong("variant_get(json, '$.path', 'type')")),
            (Kind::ParseJson, [json]) => Ok(json.clone()),
            (Kind::ParseJson, _) => Err(wrong("parse_json(json)")),
            (Kind::If, [condition, yes, no]) => Ok(call_case(condition, yes, no)),
            (Kind::If, _) => Err(wrong("if(condition, then, else)")),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    CurrentUser,
    IsMember,
    GetJsonObject,
    VariantGet { lenient: bool },
    ParseJson,
    If,
}

fn rewritten(function: &Function) -> Option<Kind> {
    let [name] = function.name.0.as_slice() else { return None };
    Some(match name.as_ident()?.value.to_lowercase().as_str() {
        "current_user" | "session_user" | "user" => Kind::CurrentUser,
        "is_account_group_member" | "is_member" => Kind::IsMember,
        "get_json_object" => Kind::GetJsonObject,
        "variant_get" => Kind::VariantGet { lenient: false },
        "try_variant_get" => Kind::VariantGet { lenient: true },
        "parse_json" | "try_parse_json" => Kind::ParseJson,
        "if" | "iff" => Kind::If,
        _ => return None,
    })
}

fn arguments(function: &Function) -> Result<Vec<Expr>, SqlError> {
    let list = match &function.args {
        FunctionArguments::None => return Ok(Vec::new()),
        FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => list,
        _ => return Err(SqlError::Statement(format!("`{}` is not called this way", function.name))),
    };
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Ok(expression.clone()),
            _ => Err(SqlError::Statement(format!("`{}` takes plain arguments alone", function.name))),
        })
        .collect()
}

/// `$.a.b[0]['c']` as steps.
fn steps(path: &Expr) -> Result<Vec<Expr>, SqlError> {
    let Some(path) = literal_text(path) else {
        return Err(SqlError::Statement("a path into JSON is a text such as '$.a.b[0]' here".to_owned()));
    };
    let wrong = || SqlError::Statement(format!("`{}` is no path into JSON; it is written $.a.b[0]", syntax::short(path)));
    let mut rest = path.strip_prefix('$').ok_or_else(wrong)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            if end == 0 {
                return Err(wrong());
            }
            steps.push(text(&after[..end]));
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix('[') {
            let quote = after.chars().next().filter(|first| matches!(first, '\'' | '"'));
            let end = match quote {
                Some(quote) => after[1..].find(quote).map(|end| end + 2).ok_or_else(wrong)?,
                None => after.find(']').ok_or_else(wrong)?,
            };
            steps.push(match quote {
                Some(_) => text(&after[1..end - 1]),
                None => number(&after[..end].parse::<u32>().map_err(|_| wrong())?.to_string()),
            });
            rest = after[end..].strip_prefix(']').ok_or_else(wrong)?;
        } else {
            return Err(wrong());
        }
    }
    Ok(steps)
}

fn json_text(arguments: Vec<Expr>) -> Result<Expr, SqlError> {
    if arguments.len() > STEPS {
        return Err(SqlError::Statement(format!("a path into JSON has more than {STEPS} steps")));
    }
    match <[Expr; 1]>::try_from(arguments) {
        Ok([whole]) => Ok(whole),
        Err(arguments) => Ok(call("json_as_text", arguments)),
    }
}

pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments
                .into_iter()
                .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
                .collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn call_case(condition: &Expr, yes: &Expr, no: &Expr) -> Expr {
    use datafusion::sql::sqlparser::ast::{CaseWhen, helpers::attached_token::AttachedToken};
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition: condition.clone(), result: yes.clone() }],
        else_result: Some(Box::new(no.clone())),
    }
}

fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_owned()))
}

fn number(value: &str) -> Expr {
    Expr::value(Value::Number(value.to_owned(), false))
}

fn literal_text(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn cast(kind: CastKind, expression: Expr, sql_type: &str) -> Result<Expr, SqlError> {
    Ok(Expr::Cast {
        kind,
        expr: Box::new(expression),
        data_type: syntax::data_type(sql_type)?,
        array: false,
        format: None,
    })
}

/// A parameter's value as a literal of its type.
fn literal(parameter: &Parameter) -> Result<Expr, SqlError> {
    let written = parameter.sql_type.as_deref().unwrap_or("STRING").trim();
    let kind = written.split('(').next().unwrap_or_default().trim().to_uppercase();
    let wrong = || SqlError::Statement(format!("the value of the parameter `{}` is no {kind}", parameter.name));
    let Some(value) = &parameter.value else {
        return match kind.as_str() {
            "VOID" | "NULL" => Ok(Expr::value(Value::Null)),
            _ => cast(CastKind::Cast, Expr::value(Value::Null), written),
        };
    };
    let trimmed = value.trim();
    match kind.as_str() {
        "STRING" | "VARCHAR" | "CHAR" => Ok(text(value)),
        "TINYINT" | "BYTE" | "SMALLINT" | "SHORT" | "INT" | "INTEGER" | "BIGINT" | "LONG" => {
            let number = trimmed.parse::<i64>().map_err(|_| wrong())?;
            let (sql_type, least, most) = match kind.as_str() {
                "TINYINT" | "BYTE" => ("TINYINT", i64::from(i8::MIN), i64::from(i8::MAX)),
                "SMALLINT" | "SHORT" => ("SMALLINT", i64::from(i16::MIN), i64::from(i16::MAX)),
                "INT" | "INTEGER" => ("INT", i64::from(i32::MIN), i64::from(i32::MAX)),
                _ => ("BIGINT", i64::MIN, i64::MAX),
            };
            if !(least..=most).contains(&number) {
                return Err(wrong());
            }
            cast(CastKind::Cast, text(&number.to_string()), sql_type)
        }
        "FLOAT" | "REAL" | "DOUBLE" => {
            trimmed.parse::<f64>().map_err(|_| wrong())?;
            cast(CastKind::Cast, text(trimmed), if kind == "DOUBLE" { "DOUBLE" } else { "FLOAT" })
        }
        "BOOLEAN" => match trimmed.to_lowercase().as_str() {
            "true" => Ok(Expr::value(Value::Boolean(true))),
            "false" => Ok(Expr::value(Value::Boolean(false))),
            _ => Err(wrong()),
        },
        "DECIMAL" | "NUMERIC" | "DEC" | "DATE" | "TIMESTAMP" | "TIMESTAMP_NTZ" => {
            let written = if kind == "TIMESTAMP_NTZ" { "TIMESTAMP" } else { written };
            cast(CastKind::Cast, text(trimmed), written)
        }
        _ => Err(SqlError::Statement(format!(
            "a parameter of type `{}` is not done here (`{}`)",
            syntax::short(written),
            parameter.name
        ))),
    }
}
