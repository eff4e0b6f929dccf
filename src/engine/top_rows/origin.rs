//! What an expression at the top of a plan is in terms of the columns of the files below.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;

use crate::engine::scan::file_scan;
use crate::engine::tap::TapExec;

/// The one scan of files below; `None` when there is none or several, or when what lies between does more than filter, project and unite.
pub(super) fn only_file_scan(plan: &Arc<dyn ExecutionPlan>) -> Option<&Arc<dyn ExecutionPlan>> {
    if file_scan(plan.as_ref()).is_some() {
        return Some(plan);
    }
    if plan.is::<UnionExec>() {
        let mut below = plan.children().into_iter().filter(|child| !is_other_source(child));
        return match (below.next(), below.next()) {
            (Some(child), None) => only_file_scan(child),
            _ => None,
        };
    }
    match gives_rows_of_its_input(plan) {
        true => plan.children().first().and_then(|child| only_file_scan(child)),
        false => None,
    }
}

fn gives_rows_of_its_input(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<FilterExec>() || plan.is::<ProjectionExec>() || plan.is::<CooperativeExec>() || plan.is::<TapExec>()
}

/// Whether this reads something else than files, perhaps through filters and projections.
fn is_other_source(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match gives_rows_of_its_input(plan) {
        true => plan.children().first().is_some_and(|child| is_other_source(child)),
        false => plan.is::<DataSourceExec>() && file_scan(plan.as_ref()).is_none(),
    }
}

/// `expr` over the rows of `plan` as an expression over the columns of the files that [`only_file_scan`] finds.
pub(super) fn origin(plan: &Arc<dyn ExecutionPlan>, expr: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    if let Some((config, _)) = file_scan(plan.as_ref()) {
        let Some(projection) = config.file_source().projection() else { return Some(expr.clone()) };
        let made: Vec<_> = projection.iter().map(|projected| projected.expr.clone()).collect();
        return replaced(expr, |at| made.get(at).cloned());
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let below = replaced(expr, |at| projection.expr().get(at).map(|projected| projected.expr.clone()))?;
        return origin(projection.input(), &below);
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let below = match filter.projection() {
            None => expr.clone(),
            Some(kept) => {
                let schema = filter.input().schema();
                replaced(expr, |at| {
                    let at = *kept.get(at)?;
                    Some(Arc::new(Column::new(schema.field(at).name(), at)) as Arc<dyn PhysicalExpr>)
                })?
            }
        };
        return origin(filter.input(), &below);
    }
    let child = plan.children().into_iter().find(|child| only_file_scan(child).is_some())?;
    origin(child, expr)
}

/// `expr` with each column replaced by what `by` gives for its place; `None` when it lacks one.
pub(super) fn replaced(
    expr: &Arc<dyn PhysicalExpr>,
    by: impl Fn(usize) -> Option<Arc<dyn PhysicalExpr>>,
) -> Option<Arc<dyn PhysicalExpr>> {
    let mut missing = false;
    let done = expr.clone().transform_up(|expr| {
        let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
        match by(column.index()) {
            Some(by) => Ok(Transformed::yes(by)),
            None => {
                missing = true;
                Ok(Transformed::no(expr))
            }
        }
    });
    done.ok().filter(|_| !missing).map(|done| done.data)
}

/// The column that `expr` never falls with, if it rests on one column only: the column, a cast to a type that keeps its order, times or
/// divided by a positive number.
pub(super) fn rises_with(expr: &Arc<dyn PhysicalExpr>) -> Option<&Column> {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return Some(column);
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return match cast.cast_type() {
            DataType::Int64 | DataType::Float64 | DataType::Timestamp(..) => rises_with(cast.expr()),
            _ => None,
        };
    }
    let binary = expr.downcast_ref::<BinaryExpr>()?;
    let is_scale = matches!(binary.op(), Operator::Divide | Operator::Multiply);
    let factor = binary.right().downcast_ref::<Literal>()?.value();
    match factor {
        ScalarValue::Float64(Some(factor)) if is_scale && *factor > 0.0 && factor.is_finite() => {
            rises_with(binary.left())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::physical_expr::expressions::lit;

    #[test]
    fn only_what_cannot_fall_rises() {
        let column = || Arc::new(Column::new("n", 0)) as Arc<dyn PhysicalExpr>;
        let double = || Arc::new(CastExpr::new(column(), DataType::Float64, None)) as Arc<dyn PhysicalExpr>;
        let scaled = |left, op, by: ScalarValue| Arc::new(BinaryExpr::new(left, op, lit(by))) as Arc<dyn PhysicalExpr>;
        let million = ScalarValue::Float64(Some(1e6));
        for (expr, rises) in [
            (column(), true),
            (double(), true),
            (scaled(double(), Operator::Divide, million.clone()), true),
            (scaled(double(), Operator::Multiply, million), true),
            (scaled(double(), Operator::Divide, ScalarValue::Float64(Some(-1.0))), false),
            (scaled(double(), Operator::Multiply, ScalarValue::Float64(Some(0.0))), false),
            (scaled(double(), Operator::Divide, ScalarValue::Float64(None)), false),
            (scaled(column(), Operator::Modulo, ScalarValue::Int64(Some(10))), false),
            (scaled(column(), Operator::Multiply, ScalarValue::Int64(Some(10))), false),
            (Arc::new(CastExpr::new(column(), DataType::Int32, None)), false),
            (Arc::new(CastExpr::new(column(), DataType::Utf8View, None)), false),
            (Arc::new(BinaryExpr::new(column(), Operator::Plus, column())), false),
            (lit(1_i64), false),
        ] {
            assert_eq!(rises_with(&expr).is_some(), rises, "{expr}");
        }
    }
}
