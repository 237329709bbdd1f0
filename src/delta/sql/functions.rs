//! The functions that statements may call.

mod bounded;

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{FunctionRegistry, SessionStateDefaults};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionConfig;

use super::barrier;
use super::constants::BATCH;
use super::through::ThroughViews;

const NAMES: &str = include_str!("functions/names.txt");

/// Whether a function of DataFusion's is one that statements may call.
fn is_ours(name: &str) -> bool {
    let lines = NAMES.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).any(|ours| ours == name)
}

/// Whether a function may make much of little.
pub(super) fn makes_much(name: &str) -> bool {
    bounded::is_bounded(name)
}

/// A session that knows functions and no tables, files or formats.
pub(super) fn session(threads: usize) -> datafusion::common::Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_batch_size(BATCH);
    let options = config.options_mut();
    options.execution.parquet.pushdown_filters = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some("UTC".to_owned());
    // As tables are declared; otherwise each text is read in one form and copied into the other.
    options.execution.parquet.schema_force_view_types = true;
    let scalar = SessionStateDefaults::default_scalar_functions()
        .into_iter()
        .filter(|function| is_ours(function.name()))
        .map(bounded::bounded)
        .collect();
    let aggregate = SessionStateDefaults::default_aggregate_functions().into_iter();
    let window = SessionStateDefaults::default_window_functions().into_iter();
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_scalar_functions(scalar)
        .with_aggregate_functions(aggregate.filter(|function| is_ours(function.name())).collect())
        .with_window_functions(window.filter(|function| is_ours(function.name())).collect())
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_query_planner(Arc::new(barrier::Planner))
        .with_optimizer_rule(Arc::new(ThroughViews))
        .build();
    datafusion_functions_json::register_all(&mut state)?;
    bounded::register(&mut state)?;
    aliases(&mut state)?;
    Ok(state)
}

/// Names that Databricks has for functions that are here under another.
fn aliases(state: &mut SessionState) -> datafusion::common::Result<()> {
    const SAME: &[(&str, &str)] = &[
        ("size", "cardinality"),
        ("unix_timestamp", "to_unixtime"),
        ("array_size", "array_length"),
        ("json_array_length", "json_length"),
        ("len", "length"),
        ("ucase", "upper"),
        ("lcase", "lower"),
    ];
    for (alias, name) in SAME {
        if let Ok(function) = state.udf(name) {
            let function: ScalarUDF = function.as_ref().clone().with_aliases([*alias]);
            state.register_udf(Arc::new(function))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that is no function any more would let another one in later.
    #[test]
    fn every_name_is_a_function_and_no_other_is() {
        let state = session(2).unwrap();
        for name in NAMES.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace) {
            let known = state.scalar_functions().contains_key(name)
                || state.aggregate_functions().contains_key(name)
                || state.window_functions().contains_key(name);
            assert!(known, "{name}");
        }
        let own = |name: &str| name.starts_with("json_") || name == "concat_strict";
        for function in state.scalar_functions().values() {
            assert!(is_ours(function.name()) || own(function.name()), "{}", function.name());
        }
        for name in ["version", "input_file_name", "arrow_cast", "levenshtein", "file_row_index"] {
            assert!(!state.scalar_functions().contains_key(name), "{name}");
        }
    }
}
