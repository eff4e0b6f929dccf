//! How operators of the dialect are planned where DataFusion has no meaning for them, or not ours.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::functions::attribute_of;

/// Our expression planner.
#[derive(Debug)]
pub(super) struct Dialect;

impl Dialect {
    /// Ours first, then DataFusion's.
    pub fn planners() -> Vec<Arc<dyn ExprPlanner>> {
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(Self)];
        planners.extend(SessionStateDefaults::default_expr_planners());
        planners
    }
}

impl ExprPlanner for Dialect {
    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { field_access, expr } = raw;
        if !is_map(&expr, schema) {
            return Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr }));
        }
        let key = match field_access {
            GetFieldAccess::NamedStructField { name } => Expr::Literal(name, None),
            GetFieldAccess::ListIndex { key } => *key,
            other => return Ok(PlannerResult::Original(RawFieldAccessExpr { field_access: other, expr })),
        };
        Ok(PlannerResult::Planned(attribute_of(expr, key)))
    }

    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        match raw.op {
            BinaryOperator::Arrow | BinaryOperator::LongArrow if is_map(&raw.left, schema) => {
                Ok(PlannerResult::Planned(attribute_of(raw.left, raw.right)))
            }
            BinaryOperator::Divide => Ok(divide(raw, schema)),
            _ => Ok(PlannerResult::Original(raw)),
        }
    }
}

fn is_map(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Map(..)))
}

/// Division of integers gives a fraction, and NULL when the divisor is zero.
fn divide(raw: RawBinaryExpr, schema: &DFSchema) -> PlannerResult<RawBinaryExpr> {
    let is_integer = |expr: &Expr| expr.get_type(schema).is_ok_and(|data_type| data_type.is_integer());
    if !is_integer(&raw.left) || !is_integer(&raw.right) {
        return PlannerResult::Original(raw);
    }
    let double = |expr: Expr| Expr::Cast(Cast::new(Box::new(expr), DataType::Float64));
    let zero = datafusion::logical_expr::lit(0.0_f64);
    let divisor = datafusion::functions::core::expr_fn::nullif(double(raw.right), zero);
    PlannerResult::Planned(double(raw.left) / divisor)
}
