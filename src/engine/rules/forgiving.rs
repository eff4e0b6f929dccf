//! An optimizer rule that may fail: the plan then stays as it was.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rules of DataFusion, and one of ours that uses them, that only make plans faster and are known to give up with an error: moving an expression to the scan fails
/// where a projection beside it gives a column of the scan a new name, and the old name to something else.
const MAY_FAIL: [&str; 3] = ["extract_leaf_expressions", "push_down_leaf_projections", "attributes_below_windows"];

/// Takes a rule's errors for nothing to do.
#[derive(Debug)]
pub(in crate::engine) struct Forgiving(Arc<dyn OptimizerRule + Send + Sync>);

impl Forgiving {
    /// Wraps the rule if it is one of those that may fail.
    pub(in crate::engine) fn where_needed(
        rule: Arc<dyn OptimizerRule + Send + Sync>,
    ) -> Arc<dyn OptimizerRule + Send + Sync> {
        if MAY_FAIL.contains(&rule.name()) { Arc::new(Self(rule)) } else { rule }
    }
}

impl OptimizerRule for Forgiving {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let rewritten = self.0.rewrite(plan.clone(), config);
        Ok(rewritten.unwrap_or_else(|error| {
            tracing::debug!(rule = self.name(), %error, "a plan stays as it was");
            Transformed::no(plan)
        }))
    }
}
