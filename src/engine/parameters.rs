//! Types of parameters that DataFusion does not infer.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::functions::is_attribute;

/// Aggregates whose arguments after the first are shares, 0‥1.
const SHARES: [&str; 5] = ["percentile_cont", "percentile_disc", "quantile", "quantileexact", "quantiles"];

/// Functions of a session's process id.
const STOPS: [&str; 2] = ["pg_cancel_backend", "pg_terminate_backend"];

/// Finds the type of each `$n` in `$n::type`, in `x = ANY($n)` (a list of what `x` is), and of row counts (`LIMIT $n`).
pub(super) fn infer(plan: &LogicalPlan, types: &mut [Option<DataType>]) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let inputs = node.inputs();
        let counts_rows = matches!(node, LogicalPlan::Limit(_));
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Some((number, target)) = cast_of_parameter(expr)
                    && let Some(unknown @ None) = types.get_mut(number - 1)
                {
                    *unknown = Some(target);
                }
                for number in shares(expr) {
                    if let Some(unknown) = types.get_mut(number - 1) {
                        *unknown = Some(DataType::Float64);
                    }
                }
                for number in process_ids(expr) {
                    if let Some(unknown) = types.get_mut(number - 1) {
                        *unknown = Some(DataType::Int32);
                    }
                }
                if counts_rows
                    && let Some(number) = number_of(expr)
                    && let Some(unknown) = types.get_mut(number - 1)
                {
                    *unknown = Some(DataType::Int64);
                }
                if let Some((number, needle)) = any_of_parameter(expr)
                    && let Some(unknown @ None) = types.get_mut(number - 1)
                {
                    *unknown = inputs
                        .iter()
                        .find_map(|input| needle.get_type(input.schema()).ok())
                        .map(|element| DataType::new_list(element, true));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// Which parameters are ordered against an attribute (`attributes['k'] >= $n`): a number there is compared as one, as a constant is.
pub(super) fn ordered_beside_attributes(plan: &LogicalPlan, count: usize) -> Result<Vec<bool>> {
    let mut ordered = vec![false; count];
    if count == 0 {
        return Ok(ordered);
    }
    let mut mark = |parameter: &Expr, other: &Expr| {
        if is_attribute(other)
            && let Some(found) = number_of(parameter).and_then(|number| ordered.get_mut(number - 1))
        {
            *found = true;
        }
    };
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::BinaryExpr(BinaryExpr {
                        left,
                        op: Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq,
                        right,
                    }) => {
                        mark(left, right);
                        mark(right, left);
                    }
                    Expr::Between(between) => {
                        mark(&between.low, &between.expr);
                        mark(&between.high, &between.expr);
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(ordered)
}

/// Takes `time ± $n` for a time and an interval; DataFusion would take the parameter for a second time.
#[derive(Debug)]
pub(super) struct TimesAndIntervals;

impl ExprPlanner for TimesAndIntervals {
    fn plan_binary_op(&self, mut raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_time = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Timestamp(..)));
        // The parameter is looked for first: types of what is beside it are worked out anew for each operator of a chain.
        let is_parameter = |expr: &Expr| matches!(expr, Expr::Placeholder(_));
        match raw.op {
            BinaryOperator::Plus | BinaryOperator::Minus if is_parameter(&raw.right) && is_time(&raw.left) => {
                as_interval(&mut raw.right)
            }
            BinaryOperator::Plus if is_parameter(&raw.left) && is_time(&raw.right) => as_interval(&mut raw.left),
            _ => {}
        }
        Ok(PlannerResult::Original(raw))
    }
}

fn as_interval(expr: &mut Expr) {
    if let Expr::Placeholder(parameter) = expr {
        let data_type = DataType::Interval(IntervalUnit::MonthDayNano);
        parameter.field.get_or_insert_with(|| Arc::new(Field::new("", data_type, true)));
    }
}

/// Returns the parameters that are a session's process id.
fn process_ids(expr: &Expr) -> Vec<usize> {
    match expr {
        Expr::ScalarFunction(call) if STOPS.contains(&call.func.name()) => {
            call.args.iter().take(1).filter_map(number_of).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the parameters that are the share of a quantile.
fn shares(expr: &Expr) -> Vec<usize> {
    match expr {
        Expr::AggregateFunction(call) if SHARES.contains(&call.func.name()) => {
            call.params.args.iter().skip(1).filter_map(number_of).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the parameter's number and what is looked for in it.
fn any_of_parameter(expr: &Expr) -> Option<(usize, &Expr)> {
    let Expr::ScalarFunction(function) = expr else { return None };
    match (function.func.name(), function.args.as_slice()) {
        ("array_has", [parameter, needle]) => Some((number_of(parameter)?, needle)),
        _ => None,
    }
}

/// Returns the parameter's number and the type it is cast to.
fn cast_of_parameter(expr: &Expr) -> Option<(usize, DataType)> {
    match expr {
        Expr::Cast(cast) => Some((number_of(&cast.expr)?, cast.field.data_type().clone())),
        Expr::TryCast(cast) => Some((number_of(&cast.expr)?, cast.field.data_type().clone())),
        _ => None,
    }
}

fn number_of(expr: &Expr) -> Option<usize> {
    let Expr::Placeholder(parameter) = expr else { return None };
    parameter.id.strip_prefix('$')?.parse().ok().filter(|number| *number > 0)
}
