//! Which limits the operator takes over.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use super::exec::{Key, TopRowsExec};
use super::origin::{only_file_scan, origin, replaced, rises_with};
use crate::engine::footers::is_chosen;
use crate::engine::functions::shown_id;
use crate::engine::scan::file_scan;

/// The most rows: more than a person reads, and few enough to be kept and merged at each step.
const MAX_ROWS: usize = 1_000;

/// The rule. It comes last: it takes a finished plan apart.
#[derive(Debug)]
pub(in crate::engine) struct TopRows;

impl PhysicalOptimizerRule for TopRows {
    fn name(&self) -> &str {
        "top_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|plan| match top_rows(&plan)? {
            Some(top) => Ok(Transformed::yes(top)),
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }
}

fn top_rows(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    match plan.downcast_ref::<SortPreservingMergeExec>() {
        // Partitions are sorted each for itself, and merged: what gives one partition needs no merge.
        Some(merge) => instead_of_sort(merge.input(), merge.fetch()),
        None => match plan.properties().output_partitioning().partition_count() {
            1 if plan.is::<SortExec>() => instead_of_sort(plan, None),
            _ => Ok(None),
        },
    }
}

/// The plan with the operator in the place of the sort under its projections.
fn instead_of_sort(plan: &Arc<dyn ExecutionPlan>, merged: Option<usize>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let Some(input) = instead_of_sort(projection.input(), merged)? else { return Ok(None) };
        return replace_children_if_necessary(plan.clone(), vec![input]).map(Some);
    }
    let Some(sort) = plan.downcast_ref::<SortExec>() else { return Ok(None) };
    let fetch = sort.fetch().filter(|fetch| (1..=MAX_ROWS).contains(fetch));
    let Some(fetch) = fetch.filter(|fetch| merged.is_none_or(|merged| merged == *fetch)) else { return Ok(None) };
    let top = |sort: &SortExec| key(sort).map(|key| Arc::new(TopRowsExec::new(sort, fetch, key)) as _);
    if let Some(top) = below_projection(sort).and_then(|below| top(&below)) {
        return replace_children_if_necessary(sort.input().clone(), vec![top]).map(Some);
    }
    Ok(top(sort))
}

/// The sort below the projection that it is above: what the projection makes, it then makes of the best rows only.
fn below_projection(sort: &SortExec) -> Option<SortExec> {
    let projection = sort.input().downcast_ref::<ProjectionExec>()?;
    let order = sort.expr().iter().map(|key| {
        let made = replaced(&key.expr, |at| projection.expr().get(at).map(|made| made.expr.clone()))?;
        let expr = shown_id(&made).cloned().unwrap_or(made);
        Some(PhysicalSortExpr::new(expr, key.options))
    });
    let order = LexOrdering::new(order.collect::<Option<Vec<_>>>()?)?;
    let below = SortExec::new(order, projection.input().clone());
    Some(below.with_fetch(sort.fetch()).with_preserve_partitioning(true))
}

fn key(sort: &SortExec) -> Option<Key> {
    let first = sort.expr().first();
    let (config, _) = file_scan(only_file_scan(sort.input())?.as_ref())?;
    if is_chosen(config) {
        return None;
    }
    let expr = origin(sort.input(), &first.expr)?;
    let column = rises_with(&expr)?;
    let field = config.file_schema().field_with_name(column.name()).ok()?;
    let is_fit = *field.data_type() == DataType::Int64 && !field.is_nullable();
    let column = column.name().to_string();
    is_fit.then(|| Key { expr, column, largest_first: first.options.descending })
}
