//! Small plans that ask for nothing are spared the rule that gives operators the order and the partitions that they ask for.
//!
//! DataFusion's rule goes over a plan seven times and makes its operators anew each time, which is a tenth of what a small question costs.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// The rule `inner`, but for plans of which it would leave what they are.
#[derive(Debug)]
pub(in crate::engine) struct UnlessSettled {
    inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl UnlessSettled {
    /// `inner` gives operators the order and the partitions that they ask for.
    pub fn new(inner: Arc<dyn PhysicalOptimizerRule + Send + Sync>) -> Self {
        Self { inner }
    }
}

impl PhysicalOptimizerRule for UnlessSettled {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_check(&self) -> bool {
        self.inner.schema_check()
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if is_settled(&plan, config.execution.batch_size.get())? {
            return Ok(plan);
        }
        self.inner.optimize(plan, config)
    }
}

/// Whether a plan is one operator above the other, each in one partition and with its input in the order that it asks for, with at most
/// `few` rows at the bottom: too few to share out. A second sort, or one of rows in order already, may be needless, which is the rule's to see.
fn is_settled(plan: &Arc<dyn ExecutionPlan>, few: usize) -> Result<bool> {
    let (mut node, mut sorts) = (plan, 0);
    loop {
        if node.output_partitioning().partition_count() != 1 {
            return Ok(false);
        }
        let below = match node.children().as_slice() {
            [] => return has_at_most(node, few),
            [below] => *below,
            _ => return Ok(false),
        };
        let below_is = below.equivalence_properties();
        if let Some(sort) = node.downcast_ref::<SortExec>() {
            sorts += 1;
            if sorts > 1 || below_is.ordering_satisfy(sort.expr().iter().cloned())? {
                return Ok(false);
            }
        }
        for asked in node.required_input_ordering().into_iter().flatten() {
            if !below_is.ordering_satisfy_requirement(asked.into_single())? {
                return Ok(false);
            }
        }
        node = below;
    }
}

fn has_at_most(leaf: &Arc<dyn ExecutionPlan>, few: usize) -> Result<bool> {
    let known = StatisticsContext::new().compute(leaf.as_ref(), &StatisticsArgs::new())?;
    Ok(known.num_rows.get_value().is_some_and(|rows| *rows <= few))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_expr::{
        Distribution, LexOrdering, LexRequirement, OrderingRequirements, PhysicalSortExpr,
    };
    use datafusion::physical_optimizer::output_requirements::OutputRequirementExec;
    use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
    use datafusion::physical_plan::union::UnionExec;

    use super::*;

    fn rows(partitions: usize) -> Arc<dyn ExecutionPlan> {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int64, true)]);
        Arc::new(PlaceholderRowExec::new(Arc::new(schema)).with_partitions(partitions))
    }

    fn by(column: &str, place: usize) -> LexOrdering {
        LexOrdering::new([PhysicalSortExpr::new_default(Arc::new(Column::new(column, place)))]).expect("an order")
    }

    fn sorted(input: Arc<dyn ExecutionPlan>, order: LexOrdering) -> Arc<dyn ExecutionPlan> {
        Arc::new(SortExec::new(order, input))
    }

    fn asked(input: Arc<dyn ExecutionPlan>, order: LexOrdering) -> Arc<dyn ExecutionPlan> {
        let order = OrderingRequirements::new(LexRequirement::from(order));
        Arc::new(OutputRequirementExec::new(input, Some(order), Distribution::SinglePartition, None))
    }

    #[test]
    fn a_plan_is_settled_when_nothing_in_it_asks_for_more_than_it_gets() {
        let is_settled = |plan| is_settled(&plan, 10).expect("looked at");
        assert!(is_settled(rows(1)));
        assert!(is_settled(sorted(rows(1), by("a", 0))));
        assert!(is_settled(asked(sorted(rows(1), by("a", 0)), by("a", 0))));
    }

    #[test]
    fn a_plan_with_anything_to_do_is_left_to_the_rule() {
        let is_settled = |plan| is_settled(&plan, 10).expect("looked at");
        assert!(!is_settled(rows(2)), "partitions");
        assert!(!is_settled(asked(rows(1), by("a", 0))), "an order that is not there");
        assert!(!is_settled(asked(sorted(rows(1), by("b", 1)), by("a", 0))), "another order");
        assert!(!is_settled(sorted(sorted(rows(1), by("a", 0)), by("b", 1))), "a sort in vain");
        assert!(!is_settled(UnionExec::try_new(vec![rows(1), rows(1)]).expect("a union")), "two inputs");
        assert!(!super::is_settled(&rows(1), 0).expect("looked at"), "more rows than few");
    }
}
