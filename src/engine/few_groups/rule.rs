//! Which aggregations the operator takes over.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode, replace_children_if_necessary};

use super::exec::FewGroupsExec;
use crate::engine::among_traces::AmongTracesExec;
use crate::engine::key_codes::Key;
use crate::engine::scan::scan_coded;

/// The rule. It comes last: the rules before it know DataFusion's aggregation and not this one.
#[derive(Debug)]
pub(in crate::engine) struct FewGroups;

impl PhysicalOptimizerRule for FewGroups {
    fn name(&self) -> &str {
        "few_groups"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| match plan.downcast_ref::<AggregateExec>().filter(|plan| is_fit(plan)) {
            Some(aggregate) => {
                let input = coded(aggregate.input(), &only_keys(aggregate));
                let plan = replace_children_if_necessary(plan, vec![input?])?;
                Ok(Transformed::yes(Arc::new(FewGroupsExec::new(plan)) as Arc<dyn ExecutionPlan>))
            }
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }
}

/// Whether text is among the keys, and nothing needs what only DataFusion's operator does.
fn is_fit(plan: &AggregateExec) -> bool {
    let input = plan.input().schema();
    let types: Option<Vec<DataType>> =
        plan.group_expr().input_exprs().iter().map(|expr| expr.data_type(&input).ok()).collect();
    *plan.mode() == AggregateMode::Partial
        && plan.group_expr().is_single()
        && *plan.input_order_mode() == InputOrderMode::Linear
        && plan.limit_options().is_none()
        && plan.dynamic_expressions_produced().is_empty()
        && plan.aggr_expr().iter().all(|aggregate| aggregate.groups_accumulator_supported())
        && types.is_some_and(|types| types.contains(&DataType::Utf8View) && types.iter().all(Key::supports))
}

/// The input's columns that are keys and nothing else.
fn only_keys(aggregate: &AggregateExec) -> Vec<usize> {
    let key_exprs = aggregate.group_expr().input_exprs();
    let keys = key_exprs.iter().filter_map(|expr| expr.downcast_ref::<Column>()).map(Column::index);
    let arguments = aggregate.aggr_expr().iter().flat_map(|aggregate| aggregate.expressions());
    let others = key_exprs.iter().filter(|expr| !expr.is::<Column>()).cloned();
    let used: Vec<Arc<dyn PhysicalExpr>> =
        arguments.chain(aggregate.filter_expr().iter().flatten().cloned()).chain(others).collect();
    let is_used = |key: &usize| used.iter().any(|expr| collect_columns(expr).iter().any(|used| used.index() == *key));
    keys.filter(|key| !is_used(key)).collect()
}

/// The plan over scans whose batches may have dictionaries in `columns`, as far as scans are right below, or below what lets rows of some traces
/// through as they are.
fn coded(plan: &Arc<dyn ExecutionPlan>, columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
    if plan.is::<UnionExec>() {
        let inputs = plan.children().into_iter().map(|input| coded(input, columns)).collect::<Result<_>>()?;
        return replace_children_if_necessary(plan.clone(), inputs);
    }
    if let Some(among) = plan.downcast_ref::<AmongTracesExec>() {
        return Ok(Arc::new(among.over(coded(among.spans(), columns)?)));
    }
    Ok(scan_coded(plan.as_ref(), columns).unwrap_or_else(|| plan.clone()))
}
