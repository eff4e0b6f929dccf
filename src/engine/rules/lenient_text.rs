//! Text compares as what it is compared with: beside a number, a boolean or a time, text that does not convert is NULL.
//!
//! Attribute values are text. DataFusion would cast them with an error at the first value that does not convert; here every such
//! conversion is one that gives NULL. Literals keep the strict conversion, so that a misspelt constant is told. The other way round, the text
//! of a map, list or row is the one that clients see.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::math::expr_fn::round;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, InList, TryCast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use crate::engine::functions::value_text;

/// The largest whole number below which every whole number is a double.
const EXACT_IN_DOUBLE: i64 = 1 << 53;

/// The rule; it runs before DataFusion's own type coercion.
#[derive(Debug)]
pub(in crate::engine) struct LenientText;

impl AnalyzerRule for LenientText {
    fn name(&self) -> &str {
        "lenient_text"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let mut schema = merge_schema(&plan.inputs());
            if let LogicalPlan::TableScan(scan) = &plan {
                schema.merge(&scan.projected_schema);
            }
            let names = NamePreserver::new(&plan);
            let changed = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| Ok(lenient(expr, &schema)))?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })?;
            if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
        })
        .map(|plan| plan.data)
    }
}

/// The number in a text, NULL when there is none.
pub(in crate::engine) fn number_from_text(expr: Expr) -> Expr {
    try_cast(expr, DataType::Float64)
}

fn lenient(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::Cast(Cast { expr, field }) if is_text_column(&expr, schema) && converts(field.data_type()) => {
            Transformed::yes(Expr::TryCast(TryCast::new_from_field(expr, field)))
        }
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field })
            if field.data_type().is_string() && is_shown_otherwise(&expr, schema) =>
        {
            Transformed::yes(value_text(*expr))
        }
        // PostgreSQL rounds where Arrow cuts.
        Expr::Cast(Cast { expr, field }) if field.data_type().is_integer() && is_fraction(&expr, schema) => {
            let rounded = Box::new(round(vec![*expr]));
            Transformed::yes(Expr::Cast(Cast::new_from_field(rounded, field)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => compare(*left, op, *right, schema),
        Expr::Between(Between { expr, negated, low, high }) => match wanted_type(&expr, &[&low, &high], schema) {
            Some(data_type) => {
                let expr = Box::new(try_cast(*expr, data_type));
                Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
            }
            None => Transformed::no(Expr::Between(Between { expr, negated, low, high })),
        },
        Expr::InList(InList { expr, list, negated }) => {
            match wanted_type(&expr, &list.iter().collect::<Vec<_>>(), schema) {
                Some(data_type) => {
                    let expr = Box::new(try_cast(*expr, data_type));
                    Transformed::yes(Expr::InList(InList { expr, list, negated }))
                }
                None => Transformed::no(Expr::InList(InList { expr, list, negated })),
            }
        }
        other => Transformed::no(other),
    }
}

fn compare(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let (left, right, changed) = match wanted_type(&left, &[&right], schema) {
        Some(data_type) => (try_cast(left, data_type), right, true),
        None => match wanted_type(&right, &[&left], schema) {
            Some(data_type) => (left, try_cast(right, data_type), true),
            None => (left, right, false),
        },
    };
    let expr = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
    Transformed::new_transformed(expr, changed)
}

/// What a text has to become to be compared with `others`; `None` when it stays text or is none.
fn wanted_type(text: &Expr, others: &[&Expr], schema: &DFSchema) -> Option<DataType> {
    if !is_text_column(text, schema) {
        return None;
    }
    let mut wanted = None;
    for other in others {
        let data_type = match other.get_type(schema).ok()? {
            DataType::Null => continue,
            data_type if data_type.is_integer() && exact_in_double(other) => DataType::Float64,
            data_type if data_type.is_integer() => DataType::Int64,
            data_type if data_type.is_numeric() => DataType::Float64,
            data_type if data_type == DataType::Boolean || data_type.is_temporal() => data_type,
            _ => return None,
        };
        wanted = match wanted {
            None => Some(data_type),
            Some(before) if before == data_type => Some(before),
            Some(before) if before.is_numeric() && data_type.is_numeric() => Some(DataType::Float64),
            Some(_) => return None,
        };
    }
    wanted
}

/// Whether comparing with this integer as a double is exact. Columns are taken to be, since attributes may hold fractions.
fn exact_in_double(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(n)), _) => (-EXACT_IN_DOUBLE..=EXACT_IN_DOUBLE).contains(n),
        Expr::Literal(ScalarValue::UInt64(Some(_)), _) => false,
        _ => true,
    }
}

fn is_text_column(expr: &Expr, schema: &DFSchema) -> bool {
    let literal = matches!(expr, Expr::Literal(..) | Expr::Placeholder(_));
    !literal && expr.get_type(schema).is_ok_and(|data_type| data_type.is_string())
}

/// Whether a value's text is the one that clients see and Arrow has another: that of maps, lists, rows, times and fractions.
fn is_shown_otherwise(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| match data_type {
        DataType::Dictionary(..) => false,
        data_type => {
            data_type.is_nested() || data_type.is_temporal() || data_type.is_floating() || data_type.is_decimal()
        }
    })
}

/// Whether a number has a fraction.
fn is_fraction(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_floating() || data_type.is_decimal())
}

fn converts(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_temporal() || *data_type == DataType::Boolean
}

pub(super) fn is_comparison(op: Operator) -> bool {
    use Operator::*;
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn try_cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::TryCast(TryCast::new(Box::new(expr), data_type))
}
