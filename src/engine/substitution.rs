//! How large expressions become once each column stands for what it is made of.
//!
//! The optimizer moves conditions, and bounds of sorts and joins, below the projections that make their columns. Where each of many
//! subqueries names a column of the one below twice, what is moved doubles level by level, without a place to stop at. What can become of
//! an expression is counted here before anything is optimized.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::error::{Error, Kind};

/// The most columns of relations that an expression may name in the end. Optimizing a condition of so many takes seconds.
const MAX_NAMED: usize = 50_000;

/// Refuses a plan with an expression that may become too large.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    weights(plan).map(|_| ())
}

/// For each column of the plan's result, how many columns of relations it names in the end.
fn weights(plan: &LogicalPlan) -> Result<Vec<usize>> {
    let mut below = Below::default();
    for input in plan.inputs() {
        below.inputs.push((input.schema(), weights(input)?));
    }
    plan.apply_expressions(|expr| {
        below.weight(expr)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    plan.apply_subqueries(|subquery| {
        check(subquery)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    let made: &[Expr] = match plan {
        LogicalPlan::Projection(projection) => &projection.expr,
        LogicalPlan::Aggregate(aggregate) => &aggregate.group_expr,
        LogicalPlan::Union(_) => return Ok(below.widest_by_place(plan.schema().fields().len())),
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Distinct(_) if below.is_same_width(plan) => {
            return Ok(below.inputs.pop().map(|(_, weights)| weights).unwrap_or_default());
        }
        _ => return Ok(plan.schema().columns().iter().map(|column| below.of(column)).collect()),
    };
    let mut weights = made.iter().map(|expr| below.weight(expr)).collect::<Result<Vec<_>>>()?;
    // Results of aggregates follow the groups, and nothing moves below them.
    weights.resize(plan.schema().fields().len(), 1);
    Ok(weights)
}

/// The columns below a step.
#[derive(Default)]
struct Below<'a> {
    inputs: Vec<(&'a DFSchema, Vec<usize>)>,
}

impl Below<'_> {
    fn of(&self, column: &Column) -> usize {
        let found = self
            .inputs
            .iter()
            .find_map(|(schema, weights)| schema.maybe_index_of_column(column).and_then(|at| weights.get(at)));
        found.copied().unwrap_or(1)
    }

    fn weight(&self, expr: &Expr) -> Result<usize> {
        let mut named = 0_usize;
        expr.apply(|part| {
            if let Expr::Column(column) = part {
                named = named.saturating_add(self.of(column));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        match named {
            0..=MAX_NAMED => Ok(named),
            _ => Err(too_large()),
        }
    }

    fn widest_by_place(&self, columns: usize) -> Vec<usize> {
        let widest = |at: usize| self.inputs.iter().filter_map(|(_, weights)| weights.get(at)).copied().max();
        (0..columns).map(|at| widest(at).unwrap_or(1)).collect()
    }

    fn is_same_width(&self, plan: &LogicalPlan) -> bool {
        matches!(self.inputs.as_slice(), [(_, weights)] if weights.len() == plan.schema().fields().len())
    }
}

fn too_large() -> DataFusionError {
    let message =
        format!("an expression would name columns more than {MAX_NAMED} times once each stands for what it is made of");
    let error = Error::new(Kind::TooLarge, message).with_sqlstate("54001");
    DataFusionError::External(Box::new(
        error.with_hint("name a computed column fewer times in the subqueries above it"),
    ))
}
