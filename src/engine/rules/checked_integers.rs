//! Arithmetic of integers is checked: a sum that does not fit is an error, and no number of the other sign.

use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite_all;
use crate::engine::functions::checked;

/// The rule; it runs when both sides of each operator have one type.
#[derive(Debug)]
pub(in crate::engine) struct CheckedIntegers;

impl AnalyzerRule for CheckedIntegers {
    fn name(&self) -> &str {
        "checked_integers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_all(plan, with_check)
    }
}

fn with_check(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expr else { return Transformed::no(expr) };
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
        return Transformed::no(expr);
    };
    if !left_type.is_integer() || left_type != right_type {
        return Transformed::no(expr);
    }
    match checked((**left).clone(), *op, (**right).clone()) {
        Some(checked) => Transformed::yes(checked),
        None => Transformed::no(expr),
    }
}
