//! The order of runs: as asked for, then the newest first, then by id.

use super::identifiers::{self, Entity};
use crate::backend::embedded::filter::order::{Key, KeyKind, Order, printed};
use crate::backend::embedded::filter::parse_order_by;
use crate::backend::embedded::filter::sql::Query;
use crate::backend::embedded::problem::Problem;

pub struct Ordering {
    pub order: Order,
    /// Tables that the order looks at: name, alias, key.
    joins: Vec<(&'static str, String, String)>,
}

impl Ordering {
    /// Runs without a value stay, last.
    pub fn join(&self, query: &mut Query) {
        for (table, alias, key) in &self.joins {
            query
                .push(&format!(" LEFT JOIN {table} {alias} ON {alias}.run_no = r.run_no AND {alias}.key = "));
            query.bind(key.as_str());
        }
    }
}

pub fn parse(clauses: &[String]) -> Result<Ordering, Problem> {
    let mut keys = Vec::new();
    let mut joins = Vec::new();
    let mut seen: Vec<(Entity, String)> = Vec::new();
    for clause in clauses {
        let asked = parse_order_by(clause)?;
        let (entity, key) =
            identifiers::identify(asked.split(), &identifiers::ORDERABLE).map_err(Problem::invalid)?;
        let table = match entity {
            Entity::Attribute => None,
            Entity::Metric => Some("run_metrics"),
            Entity::Param => Some("run_params"),
            Entity::Tag => Some("run_tags"),
            Entity::Dataset => return Err(Problem::invalid("Invalid identifier type 'dataset'")),
        };
        let same = if entity == Entity::Attribute { identifiers::column(key) } else { key };
        if seen.iter().any(|(known, key)| (*known, key.as_str()) == (entity, same)) {
            return Err(Problem::invalid(format!(
                "`order_by` contains duplicate fields: {}",
                printed(clauses)
            )));
        }
        seen.push((entity, same.to_owned()));
        let Some(table) = table else {
            let column = identifiers::column(key);
            let kind = if identifiers::is_time(key) { KeyKind::Integer } else { KeyKind::Text };
            let by = Key::new(column, kind, asked.ascending);
            keys.push(if column == "r.end_time" { by.nullable() } else { by });
            continue;
        };
        let alias = format!("o{}", joins.len());
        let kind = if entity == Entity::Metric { KeyKind::Float } else { KeyKind::Text };
        if entity == Entity::Metric {
            // What is no number comes behind all numbers, whatever the direction.
            keys.push(Key::new(format!("coalesce({alias}.is_nan, 2)"), KeyKind::Integer, true));
        }
        keys.push(Key::new(format!("{alias}.value"), kind, asked.ascending).nullable());
        joins.push((table, alias, key.to_owned()));
    }
    if !seen.iter().any(|(entity, key)| *entity == Entity::Attribute && key == "r.start_time") {
        keys.push(Key::new("r.start_time", KeyKind::Integer, false));
    }
    keys.push(Key::new("r.run_id", KeyKind::Text, true));
    Ok(Ordering { order: Order(keys), joins })
}
