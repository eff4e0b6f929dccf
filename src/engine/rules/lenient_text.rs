//! Text compares as what it is compared with: beside a number, a boolean or a time, text that does not convert is NULL.
//!
//! Attribute values are text. DataFusion would cast them with an error at the first value that does not convert; here every such
//! conversion is one that gives NULL. Literals keep the strict conversion, so that a misspelt constant is told. The other way round, the text
//! of a map, list or row is the one that clients see.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions::math::expr_fn::round;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast, InList, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, cast, in_list};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewrite_all;
use crate::engine::functions::{bytes_length, read_bytes, read_interval, value_text};

/// The largest whole number that only its own text reads as, among doubles: 2⁵³ is what 2⁵³ + 1 becomes.
const EXACT_IN_DOUBLE: i64 = (1 << 53) - 1;

/// Functions that count the characters of a text, and the bytes of bytes.
const LENGTHS: &[&str] = &["character_length", "octet_length"];

/// The rule; it runs before DataFusion's own type coercion.
#[derive(Debug)]
pub(in crate::engine) struct LenientText;

impl AnalyzerRule for LenientText {
    fn name(&self) -> &str {
        "lenient_text"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone: Arc<str> = config.execution.time_zone.as_deref().unwrap_or("UTC").into();
        rewrite_all(plan, |expr, schema| Lenient { schema, zone: &zone }.rewrite(expr))
    }
}

/// The number in a text, NULL when there is none.
pub(in crate::engine) fn number_from_text(expr: Expr) -> Expr {
    try_cast(expr, DataType::Float64)
}

/// Text beside other values, in a session's zone.
struct Lenient<'a> {
    schema: &'a DFSchema,
    zone: &'a Arc<str>,
}

impl Lenient<'_> {
    fn rewrite(&self, expr: Expr) -> Transformed<Expr> {
        let schema = self.schema;
        match expr {
            Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field })
                if is_text_column(&expr, schema) && matches!(field.data_type(), DataType::Interval(_)) =>
            {
                Transformed::yes(read_interval(*expr))
            }
            Expr::Cast(Cast { expr, field }) if is_text_column(&expr, schema) && field.data_type().is_binary() => {
                Transformed::yes(read_bytes(*expr))
            }
            Expr::ScalarFunction(mut call) if LENGTHS.contains(&call.func.name()) && are_bytes(&call.args, schema) => {
                Transformed::yes(call.args.pop().map(bytes_length).unwrap_or_default())
            }
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
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => self.compare(*left, op, *right),
            Expr::Between(between) => self.between(between),
            Expr::InList(list) => self.in_list(list),
            other => Transformed::no(other),
        }
    }

    fn compare(&self, left: Expr, op: Operator, right: Expr) -> Transformed<Expr> {
        let (left, right, changed) = match self.wanted_type(&left, &[&right]) {
            Some(data_type) => (self.read_as(left, data_type), right, true),
            None => match self.wanted_type(&right, &[&left]) {
                Some(data_type) => (left, self.read_as(right, data_type), true),
                None => (left, right, false),
            },
        };
        let expr = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
        Transformed::new_transformed(expr, changed)
    }

    fn between(&self, between: Between) -> Transformed<Expr> {
        let Some(data_type) = self.wanted_type(&between.expr, &[&between.low, &between.high]) else {
            return Transformed::no(Expr::Between(between));
        };
        let Between { expr, negated, low, high } = between;
        if data_type == DataType::Float64 && !(exact_in_double(&low) && exact_in_double(&high)) {
            let from = compare_number(*expr.clone(), Operator::GtEq, *low);
            let within = from.and(compare_number(*expr, Operator::LtEq, *high));
            return Transformed::yes(if negated { Expr::Not(Box::new(within)) } else { within });
        }
        let expr = Box::new(self.read_as(*expr, data_type));
        Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
    }

    fn in_list(&self, InList { expr, list, negated }: InList) -> Transformed<Expr> {
        let Some(data_type) = self.wanted_type(&expr, &list.iter().collect::<Vec<_>>()) else {
            return Transformed::no(Expr::InList(InList { expr, list, negated }));
        };
        let is_plain = |item: &Expr| data_type != DataType::Float64 || exact_in_double(item);
        let (plain, large): (Vec<_>, Vec<_>) = list.into_iter().partition(is_plain);
        if large.is_empty() {
            let expr = Box::new(self.read_as(*expr, data_type));
            return Transformed::yes(Expr::InList(InList { expr, list: plain, negated }));
        }
        let number = try_cast(*expr.clone(), DataType::Float64);
        let equals = |item| compare_number(*expr.clone(), Operator::Eq, item);
        let found = large.into_iter().map(equals).fold(in_list(number, plain, false), Expr::or);
        Transformed::yes(if negated { Expr::Not(Box::new(found)) } else { found })
    }

    /// A text as a value of that type, NULL when it is none; a time without a zone is one of the session's.
    fn read_as(&self, text: Expr, data_type: DataType) -> Expr {
        match &data_type {
            DataType::Timestamp(unit, Some(zone)) if zone != self.zone => {
                let of_session = DataType::Timestamp(*unit, Some(self.zone.clone()));
                cast(try_cast(text, of_session), data_type)
            }
            _ => try_cast(text, data_type),
        }
    }

    /// What a text has to become to be compared with `others`; `None` when it stays text or is none.
    fn wanted_type(&self, text: &Expr, others: &[&Expr]) -> Option<DataType> {
        if !is_text_column(text, self.schema) {
            return None;
        }
        let mut wanted = None;
        for other in others {
            let data_type = match other.get_type(self.schema).ok()? {
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
}

/// A text that is compared with a number as a double, or with an integer that no double equals: a whole number as one, and others as doubles.
fn compare_number(text: Expr, op: Operator, number: Expr) -> Expr {
    let compared = |text, number| Expr::BinaryExpr(BinaryExpr::new(Box::new(text), op, Box::new(number)));
    let as_double = |number| compared(try_cast(text.clone(), DataType::Float64), number);
    if exact_in_double(&number) {
        return as_double(number);
    }
    let as_whole = compared(try_cast(text.clone(), DataType::Int64), number.clone());
    coalesce(vec![as_whole, as_double(cast(number, DataType::Float64))])
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
            data_type.is_nested()
                || data_type.is_binary()
                || data_type.is_temporal()
                || data_type.is_floating()
                || data_type.is_decimal()
        }
    })
}

fn are_bytes(args: &[Expr], schema: &DFSchema) -> bool {
    matches!(args, [bytes] if bytes.get_type(schema).is_ok_and(|data_type| data_type.is_binary()))
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
