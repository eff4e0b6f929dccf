//! Spans that have expired: no statement sees them, wherever they still lie.

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::prelude::col;

use super::catalog::INTERNAL;
use crate::model::schema::START_NS;

/// The plan over the spans that start at `before_ns` or later: a filter above every scan of spans, in subqueries too.
pub(super) fn without_expired(plan: LogicalPlan, before_ns: Option<i64>) -> Result<LogicalPlan> {
    let Some(before_ns) = before_ns else { return Ok(plan) };
    let filtered = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::TableScan(scan)
            if scan.table_name.schema() == Some(INTERNAL) && scan.table_name.table() == "spans" =>
        {
            let builder = LogicalPlanBuilder::from(node);
            builder.filter(col(START_NS).gt_eq(lit(before_ns)))?.build().map(Transformed::yes)
        }
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(filtered.data)
}
