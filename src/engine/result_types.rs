//! The types of a result's columns before its statement runs: drivers ask for them first, and values are sent as what was told.
//!
//! The planner gives `CASE` the type of its first arm, and a set operation that of its first query. What all of them agree on is known once the
//! analyzer has seen the plan.

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::OptimizerConfig;

/// The schema of `plan`'s result, with parameters of these types. A plan that the analyzer refuses keeps the planner's: it fails when it runs.
pub(super) fn settled(state: &SessionState, plan: &LogicalPlan, parameters: &[Option<DataType>]) -> SchemaRef {
    let analysed = match has_arms(plan) {
        Ok(true) => analysed(state, plan, parameters).ok(),
        Ok(false) | Err(_) => None,
    };
    analysed.as_ref().unwrap_or(plan).schema().inner().clone()
}

fn analysed(state: &SessionState, plan: &LogicalPlan, parameters: &[Option<DataType>]) -> Result<LogicalPlan> {
    let nulls = parameters.iter().map(|data_type| match data_type {
        Some(data_type) => ScalarValue::try_from(data_type),
        None => Ok(ScalarValue::Null),
    });
    let nulls = nulls.collect::<Result<Vec<_>>>()?;
    let plan = match nulls.is_empty() {
        true => plan.clone(),
        false => plan.clone().replace_params_with_values(&ParamValues::from(nulls))?,
    };
    state.analyzer().execute_and_check(plan, &state.options(), |_, _| {})
}

/// Whether something in the plan has several arms, whose types may differ.
fn has_arms(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Union(_) | LogicalPlan::RecursiveQuery(_));
        node.apply_expressions(|expr| {
            found |= expr.exists(|part| Ok(matches!(part, Expr::Case(_))))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}
