//! Comparisons that rows are sorted by are computed below the sort.
//!
//! DataFusion bounds the values of an expression to learn its order, and gives up on `<` beside a function: rows that are sorted by it then count as
//! unsorted, and cannot be merged.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, Sort};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use super::below::{Below, computed_below};

/// The rule; it runs where types agree.
#[derive(Debug)]
pub(in crate::engine) struct SortKeys;

impl AnalyzerRule for SortKeys {
    fn name(&self) -> &str {
        "sort_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut number = 0;
        let plan = plan.transform_up_with_subqueries(|plan| {
            let is_sort = matches!(plan, LogicalPlan::Sort(_));
            if !is_sort && !matches!(plan, LogicalPlan::Window(_) | LogicalPlan::Aggregate(_)) {
                return Ok(Transformed::no(plan));
            }
            number += 1;
            computed_below(plan, format!("sorted_{number}"), |expr, below| match is_sort {
                true => Ok(key(expr, below)),
                false => expr.transform_up(|expr| Ok(call(expr, below))),
            })
        })?;
        Ok(plan.data)
    }
}

/// A call of a function that sorts its rows.
fn call(mut expr: Expr, below: &mut Below) -> Transformed<Expr> {
    let mut changed = false;
    let mut change = |expr: &mut Expr| {
        let made = key(std::mem::take(expr), below);
        changed |= made.transformed;
        *expr = made.data;
    };
    let of_sorts = |keys: &mut Vec<Sort>, change: &mut dyn FnMut(&mut Expr)| {
        keys.iter_mut().for_each(|key| change(&mut key.expr));
    };
    match &mut expr {
        Expr::WindowFunction(window) => {
            window.params.partition_by.iter_mut().for_each(&mut change);
            of_sorts(&mut window.params.order_by, &mut change);
        }
        Expr::AggregateFunction(aggregate) => of_sorts(&mut aggregate.params.order_by, &mut change),
        _ => {}
    }
    Transformed::new_transformed(expr, changed)
}

fn key(expr: Expr, below: &mut Below) -> Transformed<Expr> {
    let compares = |part: &Expr| {
        use Operator::{Gt, GtEq, Lt, LtEq};
        let orders = matches!(part, Expr::BinaryExpr(BinaryExpr { op: Lt | LtEq | Gt | GtEq, .. }));
        Ok(orders || matches!(part, Expr::Between(_)))
    };
    match expr.exists(compares) {
        Ok(true) => Transformed::yes(below.column(expr)),
        _ => Transformed::no(expr),
    }
}
