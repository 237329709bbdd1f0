//! What the planner may find: the tables the governor answered for in this statement, and functions.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, Result, TableReference};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::planner::ContextProvider;

use super::TableName;

pub(super) struct Context<'a> {
    pub state: &'a SessionState,
    pub tables: HashMap<TableName, Arc<dyn TableSource>>,
    /// Functions of the catalog, by [`super::names::key`].
    pub functions: HashMap<String, Arc<ScalarUDF>>,
    pub planners: Vec<Arc<dyn ExprPlanner>>,
}

impl<'a> Context<'a> {
    pub fn new(state: &'a SessionState) -> Self {
        Self { state, tables: HashMap::new(), functions: HashMap::new(), planners: state.expr_planners().to_vec() }
    }
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let TableReference::Full { catalog, schema, table } = &name else {
            // Names were made full before; what is left is a name of WITH, which the planner has by itself.
            return Err(DataFusionError::Plan(format!("`{name}` is no table here")));
        };
        let known =
            TableName { catalog: catalog.to_string(), schema: schema.to_string(), table: table.to_string() };
        self.tables
            .get(&known)
            .cloned()
            .ok_or_else(|| DataFusionError::Plan(format!("the table or view `{name}` cannot be found")))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        match self.functions.get(name) {
            Some(function) => Some(Arc::clone(function)),
            None => self.state.scalar_functions().get(name).cloned(),
        }
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
