//! Whether the head of a trace fits a filter, by MLflow's rules.

use serde_json::{Map, Value};

use super::time;
use crate::classify::trace_filter::{Clause, Comparison};
use crate::wire::Malformed;

/// Refuses what cannot be decided on heads, or for spans in SQL.
pub(in crate::http) fn check(clauses: &[Clause]) -> Result<(), Malformed> {
    for clause in clauses {
        let refuse = |problem: String| Err(Malformed::new("filter", problem));
        let Some((entity, name)) = clause.key.split_once('.') else {
            return refuse(format!("has `{}`, which names nothing of a trace", clause.key));
        };
        let known = match entity {
            "attribute" => matches!(
                name,
                "status"
                    | "timestamp_ms"
                    | "execution_time_ms"
                    | "end_time_ms"
                    | "request_id"
                    | "trace_id"
                    | "client_request_id"
                    | "state"
            ),
            "tag" | "request_metadata" | "feedback" | "expectation" => true,
            "span" => matches!(name, "name" | "status" | "content"),
            _ => false,
        };
        if !known {
            return refuse(format!("has `{}`, by which traces in tables cannot be searched", clause.key));
        }
        let of_span = entity == "span";
        let by_text = matches!(
            clause.comparison,
            Comparison::Equal | Comparison::NotEqual | Comparison::Like | Comparison::ILike
        );
        if clause.comparison == Comparison::RLike || (of_span && !by_text) {
            return refuse(format!("compares `{}` in a way that is not done on tables", clause.key));
        }
    }
    Ok(())
}

pub(in crate::http) fn all(clauses: &[Clause], info: &Map<String, Value>) -> bool {
    clauses.iter().all(|clause| one(clause, info))
}

fn one(clause: &Clause, info: &Map<String, Value>) -> bool {
    let Some((entity, name)) = clause.key.split_once('.') else { return false };
    let text = |value: Option<&Value>| value.map(as_text);
    match entity {
        // SQL decided.
        "span" => true,
        "tag" => compare(clause, text(info.get("tags").and_then(|tags| tags.get(name)))),
        "request_metadata" => {
            compare(clause, text(info.get("trace_metadata").and_then(|metadata| metadata.get(name))))
        }
        "feedback" | "expectation" => {
            let made = info.get("assessments").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let values: Vec<String> = made
                .iter()
                .filter(|made| made.get("assessment_name").and_then(Value::as_str) == Some(name))
                .filter_map(|made| made.get(entity)?.get("value").map(as_text))
                .collect();
            match clause.comparison {
                Comparison::IsNull => values.is_empty(),
                _ => values.into_iter().any(|value| compare(clause, Some(value))),
            }
        }
        "attribute" => compare(clause, attribute(name, info)),
        _ => false,
    }
}

fn attribute(name: &str, info: &Map<String, Value>) -> Option<String> {
    let text = |field: &str| info.get(field).and_then(Value::as_str);
    let started = || time::micros(text("request_time")?, "request_time").ok();
    let lasted = || time::nanos(text("execution_duration")?, "execution_duration").ok();
    match name {
        "status" | "state" => text("state").map(str::to_owned),
        "request_id" | "trace_id" => text("trace_id").map(str::to_owned),
        "client_request_id" => text("client_request_id").map(str::to_owned),
        "timestamp_ms" => Some((started()? / 1000).to_string()),
        "execution_time_ms" => Some((lasted()? / 1_000_000).to_string()),
        "end_time_ms" => Some((started()? / 1000 + lasted()? / 1_000_000).to_string()),
        _ => None,
    }
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What is not there fits `IS NULL` and nothing else.
fn compare(clause: &Clause, found: Option<String>) -> bool {
    let Some(found) = found else { return clause.comparison == Comparison::IsNull };
    let wanted = clause.values.first().map_or("", String::as_str);
    let ordered = || {
        let numbers = found.parse::<f64>().ok().zip(wanted.parse::<f64>().ok());
        numbers.map_or_else(|| Some(found.as_str().cmp(wanted)), |(found, wanted)| found.partial_cmp(&wanted))
    };
    match clause.comparison {
        Comparison::Equal => found == wanted || ordered().is_some_and(std::cmp::Ordering::is_eq),
        Comparison::NotEqual => found != wanted && !ordered().is_some_and(std::cmp::Ordering::is_eq),
        Comparison::Less => ordered().is_some_and(std::cmp::Ordering::is_lt),
        Comparison::LessOrEqual => ordered().is_some_and(std::cmp::Ordering::is_le),
        Comparison::Greater => ordered().is_some_and(std::cmp::Ordering::is_gt),
        Comparison::GreaterOrEqual => ordered().is_some_and(std::cmp::Ordering::is_ge),
        Comparison::Like => like(&found, wanted),
        Comparison::ILike => like(&found.to_lowercase(), &wanted.to_lowercase()),
        Comparison::In => clause.values.contains(&found),
        Comparison::NotIn => !clause.values.contains(&found),
        Comparison::IsNotNull => true,
        Comparison::IsNull | Comparison::RLike => false,
    }
}

/// `%` is any text, `_` any character. In time linear in text times pattern at most.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(p) {
            Some('%') => {
                retry = Some((at, p));
                p += 1;
            }
            Some(wanted) if *wanted == '_' || *wanted == text[at] => {
                at += 1;
                p += 1;
            }
            _ => match retry {
                Some((from, percent)) => {
                    retry = Some((from + 1, percent));
                    at = from + 1;
                    p = percent + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|rest| *rest == '%')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::classify::trace_filter::clauses_of_filter;

    #[test]
    fn heads_fit_filters() {
        let info = json!({
            "trace_id": "ab", "state": "OK", "request_time": "1970-01-01T00:00:05Z", "execution_duration": "0.5s",
            "tags": {"team": "a", "mlflow.traceName": "f"}, "trace_metadata": {"k": "v"},
            "assessments": [{"assessment_name": "q", "feedback": {"value": 0.9}}],
        });
        let fits = |filter: &str| all(&clauses_of_filter(filter).unwrap(), info.as_object().unwrap());
        for filter in [
            "",
            "status = 'OK'",
            "tag.team = 'a' AND name LIKE 'f%'",
            "timestamp >= 5000 AND timestamp < 5001",
            "execution_time > 499.5",
            "metadata.k IN ('u', 'v')",
            "feedback.q > 0.5",
            "tag.other IS NULL",
            "tag.team != 'b'",
        ] {
            assert!(fits(filter), "{filter}");
        }
        for filter in [
            "status = 'ERROR'",
            "tag.team = 'A'",
            "tag.other != 'x'",
            "feedback.q > 0.95",
            "metadata.k NOT IN ('v')",
        ] {
            assert!(!fits(filter), "{filter}");
        }
    }

    #[test]
    fn like_knows_its_two_signs() {
        for (text, pattern, fits) in [
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "a_c", true),
            ("abc", "%b%", true),
            ("", "%", true),
            ("abc", "b%", false),
            ("abc", "_", false),
            ("aab", "%ab", true),
        ] {
            assert_eq!(like(text, pattern), fits, "{text} {pattern}");
        }
    }
}
