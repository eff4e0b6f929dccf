//! `EXCEPT ALL` and `INTERSECT ALL` count duplicates: the n-th copy of a row goes with the n-th copy on the other side.
//!
//! DataFusion plans them as an anti or semi join on all columns, where one copy on the right stands for any number on the left.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::AnalyzerRule;

/// The column with the number of a row's copy.
const COPY: &str = "copy of the row";

/// The rule; it runs before types are made to agree.
#[derive(Debug)]
pub(in crate::engine) struct Multisets;

impl AnalyzerRule for Multisets {
    fn name(&self) -> &str {
        "multisets"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Join(join) if is_all(&join) => counted(&join).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        })
        .map(|plan| plan.data)
    }
}

/// Whether a join is one of these. Without `ALL` the left side has no duplicates, and nothing is to be counted.
fn is_all(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftAnti | JoinType::LeftSemi)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(_))
}

fn counted(join: &Join) -> Result<LogicalPlan> {
    let (left, right) = (numbered(join.left.clone())?, numbered(join.right.clone())?);
    let copy = |plan: &LogicalPlan| plan.schema().columns().pop().unwrap_or_else(|| Column::from_name(COPY));
    let (mut left_keys, mut right_keys): (Vec<_>, Vec<_>) = join.on.iter().cloned().unzip();
    left_keys.push(Expr::Column(copy(&left)));
    right_keys.push(Expr::Column(copy(&right)));
    let columns = join.left.schema().columns();
    let on = left_keys.into_iter().zip(right_keys).collect();
    let joined = LogicalPlan::Join(Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?);
    LogicalPlanBuilder::from(joined).project(columns.into_iter().map(Expr::Column))?.build()
}

/// The rows with the number of each one's copy behind them.
fn numbered(plan: Arc<LogicalPlan>) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let number = row_number().partition_by(columns).build()?.alias(COPY);
    LogicalPlanBuilder::from(plan).window(vec![number])?.build()
}
