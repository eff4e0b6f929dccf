//! Windows within bounds: what they give for each row, what they hold of their input, and how soon they stop.
//!
//! A window function is asked once a row, outside the memory pool and without a place to stop at. A list that grows with its partition
//! (`array_agg(x) OVER (ORDER BY t)`) is copied for each row, so that half a million rows would be a hundred thousand million elements.
//! Functions in windows are therefore put into guards, which count what they give until it is passed on, and look at the statement's stop.
//! May not know sessions or clients.

mod exec;
mod functions;
mod made;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, LogicalPlan, Window, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};

pub(super) use exec::watched;
use functions::Call;
pub(super) use made::Made;

/// The optimized plan with guards around the functions of its windows.
pub(super) fn guarded(plan: LogicalPlan, made: &Made) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Window(window) => {
            let window_expr = window.window_expr.into_iter().map(|expr| guarded_expr(expr, made));
            let window_expr = window_expr.collect::<Result<_>>()?;
            Ok(Transformed::yes(LogicalPlan::Window(Window { window_expr, ..window })))
        }
        plan => Ok(Transformed::no(plan)),
    })
    .data()
}

fn guarded_expr(expr: Expr, made: &Made) -> Result<Expr> {
    expr.transform_up(|expr| match expr {
        Expr::WindowFunction(mut call) => {
            call.fun = match call.fun.clone() {
                WindowFunctionDefinition::AggregateUDF(inner) => {
                    let constant = is_constant(&call);
                    let filtered = match (constant, call.params.filter.take()) {
                        (true, Some(condition)) => {
                            let name = name_with(&call, &condition)?;
                            call.params.args.push(*condition);
                            Some(name)
                        }
                        (_, condition) => {
                            call.params.filter = condition;
                            None
                        }
                    };
                    WindowFunctionDefinition::AggregateUDF(functions::aggregate(
                        inner,
                        Call { constant, filtered },
                        made,
                    ))
                }
                WindowFunctionDefinition::WindowUDF(inner) => {
                    WindowFunctionDefinition::WindowUDF(functions::window(inner, made))
                }
            };
            Ok(Transformed::yes(Expr::WindowFunction(call)))
        }
        expr => Ok(Transformed::no(expr)),
    })
    .data()
}

/// The name that the call has with its FILTER, which the columns above know it by.
fn name_with(call: &WindowFunction, condition: &Expr) -> Result<String> {
    let mut params = call.params.clone();
    params.filter = Some(Box::new(condition.clone()));
    match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => function.window_function_schema_name(&params),
        WindowFunctionDefinition::WindowUDF(function) => Ok(function.name().to_string()),
    }
}

/// Whether all rows of a partition get the same, which is then made once and copied.
fn is_constant(call: &WindowFunction) -> bool {
    let frame = &call.params.window_frame;
    let is_open = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => frame.units == WindowFrameUnits::Range && call.params.order_by.is_empty(),
        bound => bound.is_unbounded(),
    };
    is_open(&frame.start_bound) && is_open(&frame.end_bound)
}
