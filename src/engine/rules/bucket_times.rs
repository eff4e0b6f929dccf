//! An optimizer rule that adds what a condition on a bucket of time says of the time itself: `time_bucket('1 hour', t) >= x` holds for no `t`
//! before `x`, and files are left out by when their spans start.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, Cast, ScalarFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Operator, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::model::schema::START_NS;

/// The rule; it runs where filters have reached the scans.
#[derive(Debug)]
pub(in crate::engine) struct BucketTimes;

impl OptimizerRule for BucketTimes {
    fn name(&self) -> &str {
        "bucket_times"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(filter) if matches!(*filter.input, LogicalPlan::TableScan(_)) => {
                let conditions: Vec<Expr> = split_conjunction(&filter.predicate).into_iter().cloned().collect();
                let Some(predicate) = with_bounds(&conditions).and_then(conjunction) else {
                    return Ok(Transformed::no(LogicalPlan::Filter(filter)));
                };
                Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
            }
            LogicalPlan::TableScan(mut scan) => match with_bounds(&scan.filters) {
                Some(filters) => {
                    scan.filters = filters;
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
                None => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
            },
            other => Ok(Transformed::no(other)),
        }
    }
}

/// The conditions with the bounds that they imply; `None` when they have them all.
fn with_bounds(conditions: &[Expr]) -> Option<Vec<Expr>> {
    let mut all = conditions.to_vec();
    for bound in conditions.iter().filter_map(implied).flatten() {
        if !all.contains(&bound) {
            all.push(bound);
        }
    }
    (all.len() > conditions.len()).then_some(all)
}

/// What a condition on a bucket says of the column behind it.
fn implied(condition: &Expr) -> Option<Vec<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (bucket, op, at) = match time_of(right) {
        Some(at) => (left, *op, at),
        None => (right, op.swap()?, time_of(left)?),
    };
    let (start, width_ns) = bucketed(bucket)?;
    let (least, below) = bounds(op, at, width_ns);
    let column = || Expr::Column(start.clone());
    let least = least.map(|least| column().gt_eq(lit(least)));
    let below = below.map(|below| column().lt(lit(below)));
    Some(least.into_iter().chain(below).collect())
}

/// The least time, and the one below which times are, whose bucket of that width compares so with a time; all in nanoseconds.
fn bounds(op: Operator, at: i64, width_ns: i64) -> (Option<i64>, Option<i64>) {
    // A bucket begins at or before its times, and ends less than its width after it began.
    let end = at.checked_add(width_ns);
    match op {
        Operator::GtEq | Operator::Gt => (Some(at), None),
        Operator::Eq => (Some(at), end),
        Operator::Lt | Operator::LtEq => (None, end),
        _ => (None, None),
    }
}

fn time_of(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::TimestampNanosecond(at, _), _) => *at,
        _ => None,
    }
}

/// The column behind `date_bin(interval, start_ns as a time, …)`, and how long the interval is.
fn bucketed(expr: &Expr) -> Option<(Column, i64)> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return None };
    let [Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(width)), _), Expr::Cast(Cast { expr, field }), ..] =
        args.as_slice()
    else {
        return None;
    };
    let is_time = matches!(field.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _));
    let Expr::Column(column) = expr.as_ref() else { return None };
    if func.name() != "date_bin" || !is_time || column.name != START_NS || width.months != 0 {
        return None;
    }
    let width_ns = i64::from(width.days).checked_mul(DAY_NS)?.checked_add(width.nanoseconds)?;
    (width_ns > 0).then(|| (column.clone(), width_ns))
}

const DAY_NS: i64 = 86_400_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_bounds_its_times() {
        let (at, width) = (600, 300);
        for (op, wanted) in [
            (Operator::GtEq, (Some(600), None)),
            (Operator::Gt, (Some(600), None)),
            (Operator::Lt, (None, Some(900))),
            (Operator::LtEq, (None, Some(900))),
            (Operator::Eq, (Some(600), Some(900))),
            (Operator::NotEq, (None, None)),
        ] {
            assert_eq!(bounds(op, at, width), wanted, "{op}");
        }
        assert_eq!(bounds(Operator::Eq, i64::MAX, width), (Some(i64::MAX), None));
        // Every time that a condition takes is within the bounds.
        for (op, holds) in [
            (Operator::GtEq, (|a, b| a >= b) as fn(i64, i64) -> bool),
            (Operator::Gt, |a, b| a > b),
            (Operator::Lt, |a, b| a < b),
            (Operator::LtEq, |a, b| a <= b),
            (Operator::Eq, |a, b| a == b),
        ] {
            for time in 0_i64..200 {
                for at in 0..200 {
                    let (least, below) = bounds(op, at, 30);
                    let within = least.is_none_or(|least| time >= least) && below.is_none_or(|below| time < below);
                    assert!(within || !holds(time - time % 30, at), "{op} {time} {at}");
                }
            }
        }
    }
}
