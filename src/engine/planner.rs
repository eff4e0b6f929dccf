//! How operators of the dialect are planned where DataFusion has no meaning for them, or not ours.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use datafusion::common::utils::list_ndims;

use super::chains;
use super::functions::{
    attribute_of, bounded_function, cast_to_json, date_part_udf, days_of_duration, interval_scaled, is_attribute,
    json_part, json_text, value_json,
};
use super::json_operators;
use super::rules::number_from_text;
use super::times::interval_of_text;

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
            // A part of a whole map's JSON is read without making the JSON.
            BinaryOperator::LongArrow if is_text(&raw.right, schema) && is_cast_map(&raw.left, schema) => {
                let map = cast_to_json(&raw.left).cloned().unwrap_or(raw.left);
                Ok(PlannerResult::Planned(attribute_of(map, raw.right)))
            }
            BinaryOperator::Arrow if is_text(&raw.left, schema) => {
                Ok(PlannerResult::Planned(json_part(raw.left, raw.right)))
            }
            BinaryOperator::LongArrow if is_text(&raw.left, schema) => {
                Ok(PlannerResult::Planned(json_text(raw.left, raw.right)))
            }
            BinaryOperator::Arrow if is_nested(&raw.left, schema) => {
                Ok(PlannerResult::Planned(json_part(value_json(raw.left), raw.right)))
            }
            BinaryOperator::LongArrow if is_nested(&raw.left, schema) => {
                Ok(PlannerResult::Planned(json_text(value_json(raw.left), raw.right)))
            }
            BinaryOperator::Question
            | BinaryOperator::QuestionPipe
            | BinaryOperator::QuestionAnd
            | BinaryOperator::AtArrow
            | BinaryOperator::ArrowAt
            | BinaryOperator::HashArrow
            | BinaryOperator::HashLongArrow => json_operators::planned(raw, schema),
            BinaryOperator::StringConcat => Ok(concatenate(raw, schema)),
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo => {
                let raw = match chains::longer(raw, schema) {
                    PlannerResult::Original(raw) => raw,
                    planned => return Ok(planned),
                };
                let raw = intervals_from_text(signed(times_of_dates(raw, schema), schema), schema);
                let raw = days_beside_intervals(raw, schema);
                let raw = match scaled_interval(raw, schema) {
                    PlannerResult::Original(raw) => numbers_from_text(raw, schema),
                    planned => return Ok(planned),
                };
                match divide(raw, schema) {
                    PlannerResult::Original(raw) => chains::shortened(raw, schema),
                    planned => Ok(planned),
                }
            }
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => Ok(PlannerResult::Original(beside_interval(raw, schema))),
            _ => Ok(PlannerResult::Original(raw)),
        }
    }

    fn plan_array_literal(&self, exprs: Vec<Expr>, _schema: &DFSchema) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(call_bounded("make_array", exprs))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(date_part_udf().call(args)))
    }

    fn plan_overlay(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(call_bounded("overlay", args))
    }

    fn plan_aggregate(&self, mut raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if NUMERIC_AGGREGATES.contains(&raw.func.name()) {
            raw.args =
                raw.args.into_iter().map(|arg| if is_attribute(&arg) { number_from_text(arg) } else { arg }).collect();
        }
        raw.args = raw.args.into_iter().map(named_in_full).collect();
        raw.filter =
            raw.filter.map(|filter| if has_subquery(&filter) { Box::new(named_in_full(*filter)) } else { filter });
        Ok(PlannerResult::Original(raw))
    }
}

/// Aggregates of numbers: an attribute inside them is read as one.
const NUMERIC_AGGREGATES: &[&str] = &[
    "sum",
    "avg",
    "mean",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
    "quantile",
    "quantile_sketch",
    "quantiles",
    "quantileexact",
    "heatmap",
    "histogram",
    "median",
    "percentile_cont",
    "percentile_disc",
];

/// An argument with its casts and subqueries in its name: the planner names `sum(a::int)` and `sum(a::float)` alike, as all that `IN` is in, and
/// takes no two columns of one name.
fn named_in_full(arg: Expr) -> Expr {
    let is_cast = |expr: &Expr| Ok(matches!(expr, Expr::Cast(_) | Expr::TryCast(_)));
    let name = if has_subquery(&arg) {
        let mut whole = DefaultHasher::new();
        arg.hash(&mut whole);
        format!("{arg} [{:x}]", whole.finish())
    } else if arg.exists(is_cast).unwrap_or_default() {
        arg.to_string()
    } else {
        return arg;
    };
    arg.alias(name)
}

fn has_subquery(expr: &Expr) -> bool {
    let is_subquery = |expr: &Expr| {
        let is_one =
            matches!(expr, Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_));
        Ok(is_one)
    };
    expr.exists(is_subquery).unwrap_or_default()
}

/// Arithmetic reads text as numbers: beside a number, or beside other text.
fn numbers_from_text(raw: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    let is_text = |expr: &Expr| {
        !matches!(expr, Expr::Literal(..)) && expr.get_type(schema).is_ok_and(|data_type| data_type.is_string())
    };
    let is_number = |expr: &Expr| expr.get_type(schema).is_ok_and(|data_type| data_type.is_numeric());
    let (left, right) = (is_text(&raw.left), is_text(&raw.right));
    let RawBinaryExpr { op, left: l, right: r } = raw;
    match (left, right) {
        (true, true) => RawBinaryExpr { op, left: number_from_text(l), right: number_from_text(r) },
        (true, false) if is_number(&r) => RawBinaryExpr { op, left: number_from_text(l), right: r },
        (false, true) if is_number(&l) => RawBinaryExpr { op, left: l, right: number_from_text(r) },
        _ => RawBinaryExpr { op, left: l, right: r },
    }
}

/// A date beside an interval is a time: the interval may have hours.
fn times_of_dates(raw: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    let is_date = |expr: &Expr| expr.get_type(schema).is_ok_and(|data_type| data_type == DataType::Date32);
    let is_interval = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Interval(_)));
    let time = |date| Expr::Cast(Cast::new(Box::new(date), DataType::Timestamp(TimeUnit::Nanosecond, None)));
    let RawBinaryExpr { op, left, right } = raw;
    match op {
        BinaryOperator::Plus | BinaryOperator::Minus if is_date(&left) && is_interval(&right) => {
            RawBinaryExpr { op, left: time(left), right }
        }
        BinaryOperator::Plus if is_interval(&left) && is_date(&right) => RawBinaryExpr { op, left, right: time(right) },
        _ => RawBinaryExpr { op, left, right },
    }
}

/// A duration beside an interval is one, with days.
fn days_beside_intervals(raw: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    let is_interval = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Interval(_)));
    let is_duration = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Duration(_)));
    let RawBinaryExpr { op, left, right } = raw;
    match op {
        BinaryOperator::Plus | BinaryOperator::Minus if is_duration(&left) && is_interval(&right) => {
            RawBinaryExpr { op, left: days_of_duration(left), right }
        }
        BinaryOperator::Plus | BinaryOperator::Minus if is_interval(&left) && is_duration(&right) => {
            RawBinaryExpr { op, left, right: days_of_duration(right) }
        }
        _ => RawBinaryExpr { op, left, right },
    }
}

/// A text constant that is compared with an interval or a duration as one: the type of a column is asked for before any rule runs.
fn beside_interval(raw: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    let interval = |expr: Expr, other: &Expr| {
        let wanted = other.get_type(schema).ok();
        let text = match &expr {
            Expr::Literal(value, _) => value.try_as_str().flatten(),
            _ => None,
        };
        match text.zip(wanted).and_then(|(text, wanted)| interval_of_text(text, &wanted)) {
            Some(interval) => Expr::Literal(interval, None),
            None => expr,
        }
    };
    let RawBinaryExpr { op, left, right } = raw;
    let right = interval(right, &left);
    RawBinaryExpr { op, left: interval(left, &right), right }
}

/// A text constant beside a time or an interval is an interval, if it reads as one.
fn intervals_from_text(raw: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    let takes_interval = |expr: &Expr| {
        matches!(expr.get_type(schema), Ok(DataType::Timestamp(..) | DataType::Interval(_) | DataType::Duration(_)))
    };
    let interval = |expr: Expr| match &expr {
        Expr::Literal(value, metadata) => value
            .try_as_str()
            .flatten()
            .and_then(|text| interval_of_text(text, &DataType::Interval(IntervalUnit::MonthDayNano)))
            .map(|interval| Expr::Literal(interval, metadata.clone()))
            .unwrap_or(expr),
        _ => expr,
    };
    let RawBinaryExpr { op, left, right } = raw;
    match op {
        BinaryOperator::Plus | BinaryOperator::Minus if takes_interval(&left) => {
            RawBinaryExpr { op, left, right: interval(right) }
        }
        BinaryOperator::Plus if takes_interval(&right) => RawBinaryExpr { op, left: interval(left), right },
        _ => RawBinaryExpr { op, left, right },
    }
}

/// An interval by a number.
fn scaled_interval(raw: RawBinaryExpr, schema: &DFSchema) -> PlannerResult<RawBinaryExpr> {
    let is_interval = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Interval(_) | DataType::Duration(_)));
    let is_number =
        |expr: &Expr| expr.get_type(schema).is_ok_and(|it| it.is_numeric() || it.is_null()) || is_attribute(expr);
    let number = |expr: Expr| if is_attribute(&expr) { number_from_text(expr) } else { expr };
    let RawBinaryExpr { op, left, right } = raw;
    match op {
        BinaryOperator::Multiply | BinaryOperator::Divide if is_interval(&left) && is_number(&right) => {
            let number = number(right);
            let is_over = op == BinaryOperator::Divide;
            let number = if is_over { nullif(number, lit(0_i64)) } else { number };
            PlannerResult::Planned(interval_scaled(left, number, is_over))
        }
        BinaryOperator::Multiply if is_number(&left) && is_interval(&right) => {
            PlannerResult::Planned(interval_scaled(right, number(left), false))
        }
        _ => PlannerResult::Original(RawBinaryExpr { op, left, right }),
    }
}

/// Row numbers and ranks are unsigned in DataFusion; their differences may be negative.
fn signed(raw: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    let signed = |expr: Expr| match expr.get_type(schema) {
        Ok(DataType::UInt64) => Expr::Cast(Cast::new(Box::new(expr), DataType::Int64)),
        _ => expr,
    };
    RawBinaryExpr { op: raw.op, left: signed(raw.left), right: signed(raw.right) }
}

/// `||` of texts, of lists, and of a list and an element.
fn concatenate(raw: RawBinaryExpr, schema: &DFSchema) -> PlannerResult<RawBinaryExpr> {
    let type_of = |expr: &Expr| match chains::is_concatenated(expr) {
        true => Ok(DataType::Utf8View),
        false => expr.get_type(schema),
    };
    let (Ok(left), Ok(right)) = (type_of(&raw.left), type_of(&raw.right)) else {
        return PlannerResult::Original(raw);
    };
    let name = match (list_ndims(&left), list_ndims(&right)) {
        (0, 0) if left.is_binary() && right.is_binary() => return PlannerResult::Original(raw),
        (0, 0) if is_plain(&left) && is_plain(&right) => return chains::concatenated(raw),
        (0, 0) => return PlannerResult::Original(raw),
        (left, right) if left == right => "array_concat",
        (left, right) if left > right => "array_append",
        _ => "array_prepend",
    };
    match bounded_function(name) {
        Some(function) => PlannerResult::Planned(function.call(vec![raw.left, raw.right])),
        None => PlannerResult::Original(raw),
    }
}

/// Whether a value has a text that `||` takes.
fn is_plain(data_type: &DataType) -> bool {
    !data_type.is_nested() && !data_type.is_binary()
}

fn call_bounded(name: &str, args: Vec<Expr>) -> PlannerResult<Vec<Expr>> {
    match bounded_function(name) {
        Some(function) => PlannerResult::Planned(function.call(args)),
        None => PlannerResult::Original(args),
    }
}

fn is_text(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_string())
}

/// Whether a value is a list or a row, as `events` is.
fn is_nested(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| data_type.is_nested() && !matches!(data_type, DataType::Map(..)))
}

/// Whether an expression is a map cast to JSON.
fn is_cast_map(expr: &Expr, schema: &DFSchema) -> bool {
    cast_to_json(expr).is_some_and(|inner| is_map(inner, schema))
}

fn is_map(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Map(..)))
}

/// A whole constant as the double that it is, so that later rules still see a constant.
fn constant_as_double(expr: Expr) -> Expr {
    match &expr {
        Expr::Literal(value, _) if !value.is_null() => match value.cast_to(&DataType::Float64) {
            Ok(value) => Expr::Literal(value, None),
            Err(_) => Expr::Cast(Cast::new(Box::new(expr), DataType::Float64)),
        },
        _ => Expr::Cast(Cast::new(Box::new(expr), DataType::Float64)),
    }
}

/// Division of integers gives a fraction; division by zero is NULL, for any numbers.
fn divide(raw: RawBinaryExpr, schema: &DFSchema) -> PlannerResult<RawBinaryExpr> {
    if !matches!(raw.op, BinaryOperator::Divide | BinaryOperator::Modulo) {
        return PlannerResult::Original(raw);
    }
    let (Ok(left), Ok(right)) = (raw.left.get_type(schema), raw.right.get_type(schema)) else {
        return PlannerResult::Original(raw);
    };
    if !left.is_numeric() || !right.is_numeric() {
        return PlannerResult::Original(raw);
    }
    let RawBinaryExpr { op, left: dividend, right: divisor } = raw;
    let (dividend, divisor, zero) = match op {
        BinaryOperator::Divide if left.is_integer() && right.is_integer() => {
            (constant_as_double(dividend), constant_as_double(divisor), ScalarValue::Float64(Some(0.0)))
        }
        _ => match ScalarValue::new_zero(&right) {
            Ok(zero) => (dividend, divisor, zero),
            Err(_) => return PlannerResult::Original(RawBinaryExpr { op, left: dividend, right: divisor }),
        },
    };
    // A constant that is not zero needs no guard, and hides less from the optimizer without one.
    let divisor = match &divisor {
        Expr::Literal(value, _)
            if !value.is_null() && value.cast_to(&zero.data_type()).is_ok_and(|value| value != zero) =>
        {
            divisor
        }
        _ => nullif(divisor, Expr::Literal(zero, None)),
    };
    PlannerResult::Planned(if op == BinaryOperator::Divide { dividend / divisor } else { dividend % divisor })
}
