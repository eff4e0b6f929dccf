//! Types of parameters that DataFusion does not infer.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

/// Finds the type of each `$n` in `$n::type`, and in `x = ANY($n)`: a list of what `x` is.
pub(super) fn infer(plan: &LogicalPlan, types: &mut [Option<DataType>]) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let inputs = node.inputs();
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Some((number, target)) = cast_of_parameter(expr)
                    && let Some(unknown @ None) = types.get_mut(number - 1)
                {
                    *unknown = Some(target);
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
