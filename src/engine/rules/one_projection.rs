//! What a statement takes of a view is computed by one projection.
//!
//! A view is a projection under a name, and the name keeps DataFusion from joining it with the statement's own. Each operator that a plan
//! has less is made anew less often by the rules that come.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, SubqueryAlias};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule; it runs when columns that nobody needs are gone.
#[derive(Debug)]
pub(in crate::engine) struct OneProjection;

impl OptimizerRule for OneProjection {
    fn name(&self) -> &str {
        "one_projection"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Projection(outer) = &plan else { return Ok(Transformed::no(plan)) };
        match joined(outer)? {
            Some(joined) => Ok(Transformed::yes(LogicalPlan::Projection(joined))),
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// `outer` over what the projection below is made of, when it takes each of its columns as it is, and once.
fn joined(outer: &Projection) -> Result<Option<Projection>> {
    let LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) = outer.input.as_ref() else { return Ok(None) };
    let LogicalPlan::Projection(inner) = input.as_ref() else { return Ok(None) };
    let mut taken = vec![false; inner.expr.len()];
    let mut exprs = Vec::with_capacity(outer.expr.len());
    for expr in &outer.expr {
        let Expr::Column(column) = expr else { return Ok(None) };
        let place = outer.input.schema().index_of_column(column)?;
        if std::mem::replace(&mut taken[place], true) {
            return Ok(None);
        }
        exprs.push(named(&inner.expr[place], column));
    }
    Projection::try_new_with_schema(exprs, inner.input.clone(), outer.schema.clone()).map(Some)
}

fn named(expr: &Expr, column: &Column) -> Expr {
    expr.clone().unalias().alias_qualified(column.relation.clone(), column.name.clone())
}
