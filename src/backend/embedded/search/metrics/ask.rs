//! What a call for metrics asks.

use serde_json::Value;

use super::super::super::problem::Problem;
use super::super::super::python;
use super::super::super::request::{Request, integer, missing, wrong_type};
use super::super::experiment_numbers;

/// Groups in one answer if no number is asked for, and at most.
const DEFAULT_LIMIT: i64 = 1000;
const LARGEST_LIMIT: i64 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    Traces,
    Spans,
    Assessments,
}

impl View {
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Spans => "SPANS",
            Self::Assessments => "ASSESSMENTS",
        }
    }

    /// An enumeration of protobuf, by name or by number; the first if it is unknown.
    fn read(value: &Value) -> Self {
        match (value.as_str(), value.as_i64()) {
            (Some("SPANS"), _) | (_, Some(2)) => Self::Spans,
            (Some("ASSESSMENTS"), _) | (_, Some(3)) => Self::Assessments,
            _ => Self::Traces,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregation {
    Count,
    Sum,
    Average,
    Percentile(f64),
    Least,
    Most,
}

impl Aggregation {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Sum => "SUM",
            Self::Average => "AVG",
            Self::Percentile(_) => "PERCENTILE",
            Self::Least => "MIN",
            Self::Most => "MAX",
        }
    }

    /// What its value is called in an answer.
    pub fn label(self) -> String {
        match self {
            Self::Percentile(percent) => format!("P{}", python::float(percent)),
            other => other.name().to_owned(),
        }
    }

    fn read(value: &Value) -> Result<Self, Problem> {
        let kind = value.get("aggregation_type").unwrap_or(&Value::Null);
        let percent = match value.get("percentile_value") {
            None | Some(Value::Null) => None,
            Some(percent) => Some(percent.as_f64().ok_or_else(|| wrong_type("aggregations", value))?),
        };
        let plain = match (kind.as_str(), kind.as_i64()) {
            (Some("SUM"), _) | (_, Some(2)) => Self::Sum,
            (Some("AVG"), _) | (_, Some(3)) => Self::Average,
            (Some("PERCENTILE"), _) | (_, Some(4)) => {
                let percent = percent.ok_or_else(|| {
                    Problem::invalid("Percentile value is required for PERCENTILE aggregation")
                })?;
                if !(0.0..=100.0).contains(&percent) {
                    return Err(Problem::invalid(format!(
                        "Percentile value must be between 0 and 100, got {}",
                        python::float(percent)
                    )));
                }
                return Ok(Self::Percentile(percent));
            }
            (Some("MIN"), _) | (_, Some(5)) => Self::Least,
            (Some("MAX"), _) | (_, Some(6)) => Self::Most,
            _ => Self::Count,
        };
        if percent.is_some() {
            return Err(Problem::invalid(format!(
                "Percentile value is only allowed for PERCENTILE aggregation type, got {}",
                plain.name()
            )));
        }
        Ok(plain)
    }
}

/// Metrics with the aggregations and the dimensions that they have.
type Known = (&'static str, &'static [&'static str], &'static [&'static str]);

const COUNT: &[&str] = &["COUNT"];
const SPREAD: &[&str] = &["AVG", "MAX", "MIN", "PERCENTILE"];
const SUMMED: &[&str] = &["AVG", "MAX", "MIN", "PERCENTILE", "SUM"];
const BY_NAME: &[&str] = &["trace_name"];
const BY_MODEL: &[&str] = &["span_model_name", "span_model_provider"];

const OF_TRACES: &[Known] = &[
    ("trace_count", COUNT, &["trace_name", "trace_status"]),
    ("session_count", COUNT, &[]),
    ("latency", SPREAD, BY_NAME),
    ("input_tokens", SUMMED, BY_NAME),
    ("output_tokens", SUMMED, BY_NAME),
    ("total_tokens", SUMMED, BY_NAME),
    ("cache_read_input_tokens", SUMMED, BY_NAME),
    ("cache_creation_input_tokens", SUMMED, BY_NAME),
];
const OF_SPANS: &[Known] = &[
    (
        "span_count",
        COUNT,
        &["span_model_name", "span_model_provider", "span_name", "span_status", "span_type"],
    ),
    ("latency", SPREAD, &["span_name", "span_status"]),
    ("input_cost", SUMMED, BY_MODEL),
    ("output_cost", SUMMED, BY_MODEL),
    ("total_cost", SUMMED, BY_MODEL),
];
const OF_ASSESSMENTS: &[Known] = &[
    ("assessment_count", COUNT, &["assessment_name", "assessment_value"]),
    ("assessment_value", SPREAD, &["assessment_name"]),
];

/// A call, checked but for its filters.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    pub experiments: Vec<i64>,
    pub view: View,
    pub metric: String,
    pub aggregations: Vec<Aggregation>,
    pub dimensions: Vec<String>,
    pub filters: Vec<String>,
    /// Seconds.
    pub interval: Option<i64>,
    pub start: Option<i64>,
    pub end: Option<i64>,
    pub limit: i64,
}

impl Ask {
    pub fn read(request: &Request) -> Result<Self, Problem> {
        for name in ["experiment_ids", "view_type"] {
            if request.json.get(name).is_none_or(Value::is_null) {
                return Err(missing(name));
            }
        }
        let experiments = request.texts("experiment_ids")?;
        let view = request.json.get("view_type").unwrap_or(&Value::Null);
        if !view.is_string() && !view.is_number() {
            return Err(wrong_type("view_type", view));
        }
        let view = View::read(view);
        let metric = request.required("metric_name")?.to_owned();
        if request.json.get("aggregations").is_none_or(Value::is_null) {
            return Err(missing("aggregations"));
        }
        let aggregations = request.list("aggregations")?;
        let dimensions = request.texts("dimensions")?;
        let filters = request.texts("filters")?;
        let whole = |name: &str| match request.json.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => integer(value).map(Some).ok_or_else(|| wrong_type(name, value)),
        };
        let interval = whole("time_interval_seconds")?;
        let (start, end) = (whole("start_time_ms")?, whole("end_time_ms")?);
        let limit = whole("max_results")?.unwrap_or(DEFAULT_LIMIT);
        let aggregations = aggregations.iter().map(Aggregation::read).collect::<Result<Vec<_>, _>>()?;
        fits(view, &metric, &aggregations, &dimensions)?;
        let interval = interval.filter(|seconds| *seconds != 0);
        if interval.is_some() && (start.is_none() || end.is_none()) {
            return Err(Problem::invalid(
                "start_time_ms and end_time_ms are required if time_interval_seconds is set",
            ));
        }
        for (name, value) in [("time_interval_seconds", interval.unwrap_or(1)), ("max_results", limit)] {
            if value < 0 {
                return Err(Problem::invalid(format!(
                    "Invalid value {value} for parameter '{name}' supplied. It must not be negative"
                )));
            }
        }
        let experiments = experiment_numbers(&experiments)?;
        let limit = limit.min(LARGEST_LIMIT);
        Ok(Self { experiments, view, metric, aggregations, dimensions, filters, interval, start, end, limit })
    }

    pub fn has_percentile(&self) -> bool {
        self.aggregations.iter().any(|aggregation| matches!(aggregation, Aggregation::Percentile(_)))
    }

    pub fn counts(&self) -> bool {
        self.aggregations == [Aggregation::Count]
    }
}

fn fits(
    view: View,
    metric: &str,
    aggregations: &[Aggregation],
    dimensions: &[String],
) -> Result<(), Problem> {
    let known = match view {
        View::Traces => OF_TRACES,
        View::Spans => OF_SPANS,
        View::Assessments => OF_ASSESSMENTS,
    };
    let Some((_, aggregated, grouped)) = known.iter().find(|(name, _, _)| *name == metric) else {
        return Err(Problem::invalid(format!(
            "metric_name must be one of {}, got '{metric}'",
            python::repr_list(known.iter().map(|(name, _, _)| *name))
        )));
    };
    let unknown = |asked: Vec<&str>, known: &[&str]| {
        let mut unknown: Vec<String> =
            asked.into_iter().filter(|name| !known.contains(name)).map(str::to_owned).collect();
        unknown.sort();
        unknown.dedup();
        unknown
    };
    let list = |names: &[String]| python::repr_list(names.iter().map(String::as_str));
    let wrong = unknown(aggregations.iter().map(|aggregation| aggregation.name()).collect(), aggregated);
    if !wrong.is_empty() {
        return Err(Problem::invalid(format!(
            "Found invalid aggregation_type(s): {}. Supported aggregation types: {}",
            list(&wrong),
            python::repr_list(aggregated.iter().copied())
        )));
    }
    let wrong = unknown(dimensions.iter().map(String::as_str).collect(), grouped);
    if !wrong.is_empty() {
        return Err(Problem::invalid(format!(
            "Found invalid dimension(s): {}. Supported dimensions: {}",
            list(&wrong),
            python::repr_list(grouped.iter().copied())
        )));
    }
    Ok(())
}
