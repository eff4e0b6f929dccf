//! An optimizer rule that reads the traces that a condition on when they start lets through, instead of all: `min(start_ns) >= x` holds of
//! no trace without a span for which `start_ns >= x`, the first one. The relation of trees looks for these spans, where they are few.
//!
//! Of a trace that has ended by a time the first span started by then. One that ended later may have started at any time: that says nothing.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, plan_err};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Aggregate, Expr, Filter, LogicalPlan, Operator};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::engine::functions::{conditions_on_traces, is_checked_sum, traces_with};
use crate::engine::span_tree::SpanTreeTable;
use crate::model::schema::{DURATION_NS, START_NS, TRACE_ID};

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
            let extent = Extent::of(traces).filter(|_| is_by_trace(traces) && are_spans(&traces.input));
            let Some(extent) = extent else { return Ok(None) };
            let Some(condition) = conjunction(conditions.iter().filter_map(|it| extent.implied(it))) else {
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

/// Columns of when traces start and end, where these are asked for.
struct Extent {
    /// When the spans start.
    start: Column,
    first: Option<Column>,
    last: Option<Column>,
}

impl Extent {
    fn of(traces: &Aggregate) -> Option<Self> {
        let columns = traces.schema.columns();
        let is_asked = |name: &str, start: fn(Expr) -> Option<Column>| {
            let values = traces.aggr_expr.iter().enumerate();
            let (at, start) = values.filter_map(|(at, value)| Some((at, start(argument(value, name)?)?))).next()?;
            Some((columns.get(traces.group_expr.len() + at)?.clone(), start))
        };
        let (first, last) = (is_asked("min", start_of), is_asked("max", start_of_end));
        let start = first.iter().chain(&last).map(|(_, start)| start.clone()).next()?;
        Some(Self { start, first: first.map(|(column, _)| column), last: last.map(|(column, _)| column) })
    }

    /// What a condition on when a trace starts or ends says of the start of its first span; `None` where it says nothing.
    fn implied(&self, condition: &Expr) -> Option<Expr> {
        match condition {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                match (self.implied(left), self.implied(right)) {
                    (Some(left), Some(right)) => Some(left.and(right)),
                    (left, right) => left.or(right),
                }
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Some(self.implied(left)?.or(self.implied(right)?))
            }
            _ if condition.is_volatile() || has_subquery(condition) => None,
            _ => self.of_first(condition).or_else(|| self.of_last(condition)),
        }
    }

    fn of_first(&self, condition: &Expr) -> Option<Expr> {
        let (first, columns) = (self.first.as_ref()?, condition.column_refs());
        let is_on_first = columns.len() == 1 && columns.contains(first);
        is_on_first.then(|| self.with_start(condition.clone(), first)).flatten()
    }

    /// Of `last <= x` that `start <= x`: no span starts later than the last one ends.
    fn of_last(&self, condition: &Expr) -> Option<Expr> {
        let last = self.last.as_ref()?;
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
        let (time, op, bound) = match is_time(left, last) {
            true => (left, *op, right),
            false => (right, op.swap()?, left),
        };
        let op = match op {
            Operator::Lt | Operator::LtEq => op,
            Operator::Eq => Operator::LtEq,
            _ => return None,
        };
        if !is_time(time, last) || !bound.column_refs().is_empty() {
            return None;
        }
        let start = self.with_start((**time).clone(), last)?;
        Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(start), op, bound.clone())))
    }

    /// The expression with the start of a span in the place of a column.
    fn with_start(&self, expr: Expr, column: &Column) -> Option<Expr> {
        with_columns(expr, &|known: &Column| (known == column).then(|| Expr::Column(self.start.clone())))
    }
}

/// The argument of an aggregate called `name`, of all rows.
fn argument(value: &Expr, name: &str) -> Option<Expr> {
    match value.clone().unalias() {
        Expr::AggregateFunction(call) if call.func.name() == name && call.params.filter.is_none() => {
            <[Expr; 1]>::try_from(call.params.args).ok().map(|[argument]| argument)
        }
        _ => None,
    }
}

/// The column, if it is that of when spans start.
fn start_of(expr: Expr) -> Option<Column> {
    match expr {
        Expr::Column(column) if column.name == START_NS => Some(column),
        _ => None,
    }
}

/// The column of when spans start, if it is when they end.
fn start_of_end(expr: Expr) -> Option<Column> {
    let (start, duration) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => (*left, *right),
        Expr::ScalarFunction(call) if is_checked_sum(&call.func) => <[Expr; 2]>::try_from(call.args).ok()?.into(),
        _ => return None,
    };
    let is_duration = matches!(&duration, Expr::Column(column) if column.name == DURATION_NS);
    start_of(start).filter(|_| is_duration)
}

/// Whether it is the column as a time or a number, in which an earlier one comes before a later one, as on a clock that is put back it need not.
fn is_time(expr: &Expr, column: &Column) -> bool {
    match expr {
        Expr::Column(known) => known == column,
        Expr::Cast(cast) => {
            let to = cast.field.data_type();
            (matches!(to, DataType::Timestamp(_, Some(_))) || *to == DataType::Int64) && is_time(&cast.expr, column)
        }
        _ => false,
    }
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
    use datafusion::logical_expr::{cast, col, lit};

    use super::*;

    #[test]
    fn conditions_on_the_extent_are_of_the_first_span() {
        let last = Some(Column::new_unqualified("last"));
        let first = Some(Column::new_unqualified("first"));
        let extent = Extent { start: Column::new_unqualified(START_NS), first, last };
        let (on_first, on_last, on_start) = (|| col("first"), || col("last"), || col(START_NS));
        let other = || col("errors").gt(lit(0));
        let whole = |expr| cast(expr, DataType::Int64);
        for (condition, wanted) in [
            (on_first().gt_eq(lit(5)), Some(on_start().gt_eq(lit(5)))),
            (lit(5).lt(on_first() + lit(1)), Some(lit(5).lt(on_start() + lit(1)))),
            (on_first().gt(lit(5)).or(on_first().lt(lit(2))), Some(on_start().gt(lit(5)).or(on_start().lt(lit(2))))),
            (on_first().gt(lit(5)).or(other()), None),
            (
                on_first().gt(lit(5)).and(other()).or(on_first().eq(lit(2))),
                Some(on_start().gt(lit(5)).or(on_start().eq(lit(2)))),
            ),
            (on_first().gt(on_last()), None),
            (other(), None),
            (lit(true), None),
            // It started before it ended, at any time before.
            (on_last().lt(lit(9)), Some(on_start().lt(lit(9)))),
            (lit(9).gt_eq(whole(on_last())), Some(whole(on_start()).lt_eq(lit(9)))),
            (on_last().eq(lit(9)), Some(on_start().lt_eq(lit(9)))),
            (on_last().gt(lit(9)), None),
            (lit(9).lt_eq(on_last()), None),
            (on_last().not_eq(lit(9)), None),
            ((lit(1) - on_last()).lt(lit(9)), None),
            (cast(on_last(), DataType::Utf8).lt(lit("9")), None),
            (on_last().lt(on_first()), None),
            (on_first().gt(lit(5)).and(on_last().lt(lit(9))), Some(on_start().gt(lit(5)).and(on_start().lt(lit(9))))),
            (on_last().gt(lit(5)).and(on_last().lt(lit(9))), Some(on_start().lt(lit(9)))),
            (on_last().gt(lit(5)).or(on_last().lt(lit(9))), None),
        ] {
            assert_eq!(extent.implied(&condition), wanted, "{condition}");
        }
    }
}
