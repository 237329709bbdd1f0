//! Updates of the fields that a mask names. Who assessed, and which span, stays.

use serde_json::{Map, Value};
use sqlx::{AnyConnection, AssertSqlSafe};

use super::super::EmbeddedShared;
use super::super::many;
use super::super::problem::Problem;
use super::super::request::{Request, missing};
use super::super::traces;
use super::parse::{self, Kind};
use super::row::{self, Stored};
use crate::database::Dialect;
use crate::wire::Reply;

pub(super) async fn answer(store: &EmbeddedShared, request: &Request) -> Result<Reply, Problem> {
    let Some(Value::Object(given)) = request.json.get("assessment") else {
        return Err(missing("assessment"));
    };
    let mask = parse::text(&request.json, "update_mask")?.filter(|mask| !mask.is_empty());
    let change = Change::parse(given, &mask.ok_or_else(|| missing("update_mask"))?)?;
    let (trace, id) = (request.param("trace_id").to_owned(), request.param("assessment_id").to_owned());
    let (dialect, now) = (store.database.dialect, store.clock.now().0);
    let updated = store.writer.write(move |connection| {
        Box::pin(async move {
            traces::lock(connection, dialect, std::slice::from_ref(&trace)).await?;
            let mut stored = row::find(connection, &trace, &id).await?;
            change.apply(&mut stored)?;
            stored.assessment.updated = now;
            write(connection, dialect, &stored).await?;
            Ok(stored)
        })
    });
    super::reply_with(&updated.await?)
}

#[derive(Default)]
struct Change {
    name: Option<String>,
    feedback: Option<(Value, Option<String>)>,
    expectation: Option<Value>,
    rationale: Option<String>,
    metadata: Map<String, Value>,
}

impl Change {
    /// A mask is a list of fields in camelCase, as protobuf's JSON has it. One with another spelling in it is
    /// none at all.
    fn parse(given: &Map<String, Value>, mask: &str) -> Result<Self, Problem> {
        let mut change = Self::default();
        let fields: Vec<&str> = mask.split(',').collect();
        if mask.contains('_') {
            return Ok(change);
        }
        if fields.contains(&"expectation") && fields.contains(&"feedback") {
            return Err(Problem::invalid("Cannot specify both `expectation` and `feedback` parameters."));
        }
        for field in fields {
            match field {
                "assessmentName" => {
                    change.name = Some(parse::text(given, "assessment_name")?.unwrap_or_default());
                }
                "rationale" => change.rationale = Some(parse::text(given, "rationale")?.unwrap_or_default()),
                "metadata" => change.metadata = parse::parse_metadata(given)?,
                "expectation" | "feedback" => match parse::parse_value(given)? {
                    (Kind::Expectation, value, _) if field == "expectation" => {
                        change.expectation = Some(value);
                    }
                    (Kind::Feedback, value, error) if field == "feedback" => {
                        change.feedback = Some((value, error));
                    }
                    _ => return Err(missing(&format!("assessment.{field}"))),
                },
                "valid" => {
                    return Err(Problem::invalid(
                        "`valid` cannot be updated; it says whether another assessment overrides this one",
                    ));
                }
                _ => {}
            }
        }
        Ok(change)
    }

    fn apply(self, stored: &mut Stored) -> Result<(), Problem> {
        let assessment = &mut stored.assessment;
        if self.expectation.is_some() && assessment.kind != Kind::Expectation {
            return Err(Problem::invalid("Cannot update expectation value on a Feedback assessment."));
        }
        if self.feedback.is_some() && assessment.kind != Kind::Feedback {
            return Err(Problem::invalid("Cannot update feedback value on an Expectation assessment."));
        }
        if let Some(name) = self.name {
            assessment.name = name;
        }
        if let Some((value, error)) = self.feedback {
            assessment.value = value;
            assessment.error = error;
        }
        if let Some(value) = self.expectation {
            assessment.value = value;
        }
        if let Some(rationale) = self.rationale.filter(|_| assessment.kind != Kind::Expectation) {
            assessment.rationale = Some(rationale);
        }
        assessment.metadata.extend(self.metadata);
        Ok(())
    }
}

async fn write(connection: &mut AnyConnection, dialect: Dialect, stored: &Stored) -> Result<(), Problem> {
    let assessment = &stored.assessment;
    let (aggregate, numeric) = row::aggregate(&assessment.value);
    let sql = format!(
        "UPDATE assessments SET name = $2, value = $3, error = $4, rationale = $5, metadata = $6, \
         last_updated_time = $7, aggregate_value = {}, is_numeric_value = $9 WHERE assessment_id = $1",
        many::float(dialect, 8)
    );
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(&assessment.id)
        .bind(&assessment.name)
        .bind(row::stored_value(&assessment.value))
        .bind(&assessment.error)
        .bind(&assessment.rationale)
        .bind(row::stored_metadata(assessment))
        .bind(assessment.updated);
    many::bind_float(query, dialect, aggregate).bind(i64::from(numeric)).execute(connection).await?;
    Ok(())
}
