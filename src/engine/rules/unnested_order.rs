//! The keys of an order stay where rows were made of lists.
//!
//! DataFusion leaves out a key that those before it determine, and takes what was one row a group below `unnest` for one row a group above it:
//! `ORDER BY key, element` would lose the element.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// DataFusion's rule that leaves out keys.
const LEAVES_OUT: &str = "eliminate_duplicated_expr";

/// That rule, not for an order above `unnest`.
#[derive(Debug)]
pub(in crate::engine) struct UnnestedOrder(Arc<dyn OptimizerRule + Send + Sync>);

impl UnnestedOrder {
    /// Wraps the rule if it is that one.
    pub(in crate::engine) fn where_needed(
        rule: Arc<dyn OptimizerRule + Send + Sync>,
    ) -> Arc<dyn OptimizerRule + Send + Sync> {
        if rule.name() == LEAVES_OUT { Arc::new(Self(rule)) } else { rule }
    }
}

impl OptimizerRule for UnnestedOrder {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let is_kept =
            matches!(plan, LogicalPlan::Sort(_)) && plan.exists(|plan| Ok(matches!(plan, LogicalPlan::Unnest(_))))?;
        if is_kept { Ok(Transformed::no(plan)) } else { self.0.rewrite(plan, config) }
    }
}
