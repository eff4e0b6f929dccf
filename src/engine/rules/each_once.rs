//! What drops duplicates is given each value once.
//!
//! `SELECT DISTINCT service_name` is a grouping that computes nothing. When one column is all that it reads, and only filters, projections and
//! the taking apart of lists come between, a scan may tell the column's values from dictionaries instead of reading rows. So with the keys
//! of attributes: `SELECT DISTINCT unnest(map_keys(attributes))`.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use crate::engine::scan::{Once, file_scan, scan_once};
use crate::model::promoted::Owner;

/// The rule. It comes late: filters and projections have moved into scans.
#[derive(Debug)]
pub(in crate::engine) struct EachOnce;

impl PhysicalOptimizerRule for EachOnce {
    fn name(&self) -> &str {
        "each_once"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| match plan.downcast_ref::<AggregateExec>().filter(|it| drops_duplicates(it)) {
            Some(aggregate) => {
                let input = once(aggregate.input(), false)?;
                replace_children_if_necessary(plan, vec![input]).map(Transformed::yes)
            }
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }
}

/// Whether duplicates among its rows make no difference.
fn drops_duplicates(aggregate: &AggregateExec) -> bool {
    let reads_rows =
        matches!(aggregate.mode(), AggregateMode::Partial | AggregateMode::Single | AggregateMode::SinglePartitioned);
    let groups = aggregate.group_expr();
    reads_rows
        && aggregate.aggr_expr().is_empty()
        && groups.is_single()
        && groups.input_exprs().iter().all(|expr| !is_volatile(expr))
}

/// The plan over scans that give each row once, as far as what is between works row by row. `unnests` says whether lists are taken apart
/// next.
fn once(plan: &Arc<dyn ExecutionPlan>, unnests: bool) -> Result<Arc<dyn ExecutionPlan>> {
    if file_scan(plan.as_ref()).is_some() {
        let keys = if unnests { keys(plan) } else { None };
        let scan = scan_once(plan.as_ref(), keys.map_or(Once::Rows, Once::Keys));
        return Ok(scan.unwrap_or_else(|| plan.clone()));
    }
    let is_by_row = match (plan.downcast_ref::<FilterExec>(), plan.downcast_ref::<ProjectionExec>()) {
        (Some(filter), _) => filter.fetch().is_none() && !is_volatile(filter.predicate()),
        (_, Some(projection)) => projection.expr().iter().all(|projected| !is_volatile(&projected.expr)),
        _ => plan.is::<UnnestExec>() || plan.is::<RepartitionExec>() || plan.is::<UnionExec>(),
    };
    if !is_by_row {
        return Ok(plan.clone());
    }
    // Lists must be taken apart as the scan gives them.
    let unnests = plan.is::<UnnestExec>() || unnests && (plan.is::<RepartitionExec>() || plan.is::<UnionExec>());
    let inputs = plan.children().into_iter().map(|input| once(input, unnests)).collect::<Result<_>>()?;
    replace_children_if_necessary(plan.clone(), inputs)
}

/// Whose keys a scan gives, when it gives nothing else.
fn keys(scan: &Arc<dyn ExecutionPlan>) -> Option<Owner> {
    let (_, source) = file_scan(scan.as_ref())?;
    let mut given = datafusion::datasource::physical_plan::FileSource::projection(source)?.expr_iter();
    let (only, None) = (given.next()?, given.next()) else { return None };
    let call = only.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.name() == "map_keys")?;
    let [map] = call.args() else { return None };
    let map = map.downcast_ref::<Column>()?.name();
    Owner::ALL.into_iter().find(|owner| owner.map_column() == map)
}
