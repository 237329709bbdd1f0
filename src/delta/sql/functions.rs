//! The functions that statements may call.

mod bounded;

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{FunctionRegistry, SessionStateDefaults};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionConfig;

use super::barrier;
use super::through::ThroughViews;

/// Functions that tell about the machine and its files, or about how a plan is made.
const NOT_OURS: &[&str] = &[
    "version",
    "input_file_name",
    "file_row_index",
    "arrow_metadata",
    "arrow_field",
    "with_metadata",
    "cast_to_type",
    "try_cast_to_type",
];

/// A session that knows functions and no tables, files or formats.
pub(super) fn session(threads: usize) -> datafusion::common::Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_batch_size(8192);
    let options = config.options_mut();
    options.execution.parquet.pushdown_filters = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some("UTC".to_owned());
    // As tables are declared; otherwise each text is read in one form and copied into the other.
    options.execution.parquet.schema_force_view_types = true;
    let scalar = SessionStateDefaults::default_scalar_functions()
        .into_iter()
        .filter(|function| !NOT_OURS.contains(&function.name()))
        .map(bounded::bounded)
        .collect();
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_scalar_functions(scalar)
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
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
