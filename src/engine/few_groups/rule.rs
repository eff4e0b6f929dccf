//! Which aggregations the operator takes over.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

use super::exec::FewGroupsExec;
use super::keys::Key;

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
        plan.transform_up(|plan| match plan.downcast_ref::<AggregateExec>().is_some_and(is_fit) {
            true => Ok(Transformed::yes(Arc::new(FewGroupsExec::new(plan)) as Arc<dyn ExecutionPlan>)),
            false => Ok(Transformed::no(plan)),
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
