//! Values that a step cannot compute itself, computed below it.

use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

/// The values that are computed below a step, and the name of the relation that they are columns of.
pub(super) struct Below {
    relation: String,
    values: Vec<Expr>,
}

impl Below {
    /// The column that has the value.
    pub(super) fn column(&mut self, value: Expr) -> Expr {
        let at = self.values.iter().position(|known| *known == value).unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        });
        Expr::Column(Column::new(Some(self.relation.clone()), format!("value_{at}")))
    }
}

/// The step over what `choose` leaves of its expressions, and the step's own columns.
pub(super) fn computed_below(
    plan: LogicalPlan,
    relation: String,
    mut choose: impl FnMut(Expr, &mut Below) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let [input] = plan.inputs()[..] else { return Ok(Transformed::no(plan)) };
    let input = input.clone();
    let columns = plan.schema().columns();
    let is_aggregate = matches!(plan, LogicalPlan::Aggregate(_));
    let preserver = NamePreserver::new(&plan);
    let mut below = Below { relation, values: Vec::new() };
    let rewritten = plan.map_expressions(|expr| {
        let name = preserver.save(&expr);
        Ok(choose(expr, &mut below)?.update_data(|expr| name.restore(expr)))
    })?;
    if below.values.is_empty() {
        return Ok(rewritten);
    }
    let Below { relation, values } = below;
    let own = input.schema().columns().into_iter().map(Expr::Column);
    let values = values.into_iter().enumerate();
    let values = values.map(|(at, value)| value.alias_qualified(Some(relation.clone()), format!("value_{at}")));
    let input = LogicalPlanBuilder::from(input).project(own.chain(values))?.build()?;
    let exprs = rewritten.data.expressions();
    let wider = rewritten.data.with_new_exprs(exprs, vec![input])?;
    if is_aggregate {
        return Ok(Transformed::yes(wider));
    }
    LogicalPlanBuilder::from(wider).project(columns.into_iter().map(Expr::Column))?.build().map(Transformed::yes)
}
