//! An optimizer rule that reads the traces that a condition on when they start lets through, instead of all: `min(start_ns) >= x` holds of
//! no trace without a span for which `start_ns >= x`, the first one. The relation of trees looks for these spans, where they are few.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, plan_err};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Aggregate, Expr, Filter, LogicalPlan, Operator};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::engine::functions::{conditions_on_traces, traces_with};
use crate::engine::span_tree::SpanTreeTable;
use crate::model::schema::{START_NS, TRACE_ID};

/// The rule; it comes before filters are pushed down, in the passes that know what is read of a scan.
#[derive(Debug)]
pub(in crate::engine) struct TracesByStart;

impl OptimizerRule for TracesByStart {
    fn name(&self) -> &str {
        "traces_by_start"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else { return Ok(Transformed::no(plan)) };
        let conditions = split_conjunction(&filter.predicate).into_iter().cloned().collect();
        match of_chosen(&filter.input, conditions)? {
            Some(input) => {
                let filter = Filter::try_new(filter.predicate.clone(), input.into())?;
                Ok(Transformed::yes(LogicalPlan::Filter(filter)))
            }
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// The groups of traces, perhaps with a projection over them, over the traces that the conditions on these let through; `None` where they say nothing
/// of which these are.
fn of_chosen(plan: &LogicalPlan, conditions: Vec<Expr>) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(projection) if matches!(*projection.input, LogicalPlan::Aggregate(_)) => {
            let columns = projection.schema.columns();
            let computed = |column: &Column| {
                let at = columns.iter().position(|known| known == column)?;
                projection.expr.get(at).map(|expr| expr.clone().unalias())
            };
            let below = conditions.into_iter().filter_map(|condition| with_columns(condition, &computed)).collect();
            let Some(input) = of_chosen(&projection.input, below)? else { return Ok(None) };
            plan.with_new_exprs(projection.expr.clone(), vec![input]).map(Some)
        }
        LogicalPlan::Aggregate(traces) => {
            let start = first_start(traces).filter(|_| is_by_trace(traces) && are_spans(&traces.input));
            let Some((first, start)) = start else { return Ok(None) };
            let Some(condition) = conjunction(conditions.iter().filter_map(|it| implied(it, &first, &start))) else {
                return Ok(None);
            };
            let spans = Filter::try_new(traces_with(condition), traces.input.clone())?;
            let (groups, values) = (traces.group_expr.clone(), traces.aggr_expr.clone());
            let traces = Aggregate::try_new(LogicalPlan::Filter(spans).into(), groups, values)?;
            Ok(Some(LogicalPlan::Aggregate(traces)))
        }
        _ => Ok(None),
    }
}

/// The expression with what `of` gives in the place of each column; `None` where there is none for one of them.
fn with_columns(expr: Expr, of: &impl Fn(&Column) -> Option<Expr>) -> Option<Expr> {
    let put = |part: Expr| match &part {
        Expr::Column(column) => match of(column) {
            Some(other) => Ok(Transformed::new(other, true, TreeNodeRecursion::Jump)),
            None => plan_err!("a column of nothing"),
        },
        _ => Ok(Transformed::no(part)),
    };
    expr.transform_down(put).data().ok()
}

/// Whether each group is a trace.
fn is_by_trace(traces: &Aggregate) -> bool {
    matches!(traces.group_expr.as_slice(), [Expr::Column(column)] if column.name == TRACE_ID)
}

/// The column of when traces start, and that of when their spans do.
fn first_start(traces: &Aggregate) -> Option<(Column, Column)> {
    let place = |value: &Expr| match value.clone().unalias() {
        Expr::AggregateFunction(call) if call.func.name() == "min" && call.params.filter.is_none() => {
            match call.params.args.as_slice() {
                [Expr::Column(start)] if start.name == START_NS => Some(start.clone()),
                _ => None,
            }
        }
        _ => None,
    };
    let (at, start) = traces.aggr_expr.iter().enumerate().find_map(|(at, value)| Some((at, place(value)?)))?;
    let first = traces.schema.columns().into_iter().nth(traces.group_expr.len() + at)?;
    Some((first, start))
}

/// Whether rows of the relation of trees come in, of which nobody said yet which traces are wanted.
fn are_spans(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let is_said = scan.filters.iter().any(|filter| conditions_on_traces(filter).is_some());
            !is_said && source_as_provider(&scan.source).is_ok_and(|table| table.is::<SpanTreeTable>())
        }
        LogicalPlan::Filter(filter) => {
            let is_said = split_conjunction(&filter.predicate).iter().any(|it| conditions_on_traces(it).is_some());
            !is_said && are_spans(&filter.input)
        }
        LogicalPlan::Projection(projection) => are_spans(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => are_spans(&alias.input),
        _ => false,
    }
}

/// What a condition on when a trace starts says of the start of its first span; `None` where it says nothing.
fn implied(condition: &Expr, first: &Column, start: &Column) -> Option<Expr> {
    let of = |condition: &Expr| implied(condition, first, start);
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => match (of(left), of(right)) {
            (Some(left), Some(right)) => Some(left.and(right)),
            (left, right) => left.or(right),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => Some(of(left)?.or(of(right)?)),
        _ => {
            let columns = condition.column_refs();
            let is_plain = !condition.is_volatile() && !has_subquery(condition);
            if !is_plain || columns.len() != 1 || !columns.contains(first) {
                return None;
            }
            with_columns(condition.clone(), &|_: &Column| Some(Expr::Column(start.clone())))
        }
    }
}

fn has_subquery(expr: &Expr) -> bool {
    let is_subquery = |part: &Expr| {
        let is_one =
            matches!(part, Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_));
        Ok(is_one)
    };
    expr.exists(is_subquery).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    #[test]
    fn conditions_on_the_first_start_are_of_the_first_span() {
        let (first, start) = (Column::new_unqualified("first"), Column::new_unqualified(START_NS));
        let (on_first, on_start, other) = (|| col("first"), || col(START_NS), || col("errors").gt(lit(0)));
        for (condition, wanted) in [
            (on_first().gt_eq(lit(5)), Some(on_start().gt_eq(lit(5)))),
            (lit(5).lt(on_first() + lit(1)), Some(lit(5).lt(on_start() + lit(1)))),
            (on_first().gt(lit(5)).or(on_first().lt(lit(2))), Some(on_start().gt(lit(5)).or(on_start().lt(lit(2))))),
            (on_first().gt(lit(5)).or(other()), None),
            (
                on_first().gt(lit(5)).and(other()).or(on_first().eq(lit(2))),
                Some(on_start().gt(lit(5)).or(on_start().eq(lit(2)))),
            ),
            (on_first().gt(col("last")), None),
            (other(), None),
            (lit(true), None),
        ] {
            assert_eq!(implied(&condition, &first, &start), wanted, "{condition}");
        }
    }
}
