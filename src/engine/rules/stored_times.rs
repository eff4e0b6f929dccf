//! An optimizer rule that compares columns as they are stored.
//!
//! A condition on `timestamp` reaches the scan as one on a cast of `start_ns`. DataFusion takes the cast out of it before it simplifies again: as
//! the common part of both ends of a range, computed for each row in a projection between scan and filter that nothing else gets past.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule; it runs where filters have reached the scans, before common parts are looked for.
#[derive(Debug)]
pub(in crate::engine) struct StoredTimes;

impl OptimizerRule for StoredTimes {
    fn name(&self) -> &str {
        "stored_times"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let compares_casts = match &plan {
            LogicalPlan::Filter(filter) if matches!(*filter.input, LogicalPlan::TableScan(_)) => {
                has_cast(&filter.predicate)
            }
            LogicalPlan::TableScan(scan) => scan.filters.iter().any(has_cast),
            _ => false,
        };
        match compares_casts {
            true => SimplifyExpressions::new().rewrite(plan, config),
            false => Ok(Transformed::no(plan)),
        }
    }
}

fn has_cast(expr: &Expr) -> bool {
    matches!(expr.exists(|part| Ok(matches!(part, Expr::Cast(_)))), Ok(true))
}
