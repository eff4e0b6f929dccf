//! Long chains of operators become one call with all of their operands while they are planned.
//!
//! The planner takes `a + b + c` for a tree that is as deep as the chain is long, and asks each operator for the types of what is below it; so do the
//! rules after it. Short chains stay the trees that rules know.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::planner::{PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::functions::{arithmetic, arithmetic_type, bounded_function, has_arithmetic};
use crate::error::{Error, Kind};

/// The operators of a chain that stays a tree. Planning so many takes some milliseconds.
const MOST_IN_TREE: usize = 64;

/// The operators of a tree that cannot be one call, because its operands are of several kinds. Planning so many takes some tenths of a second.
const MOST_OF_SEVERAL_KINDS: usize = 256;

/// The name of the function that `||` of texts is.
const CONCAT: &str = "text_concat";

/// Takes an operand into a chain that is one call already, without a look at the types of all that are in it.
pub(super) fn longer(raw: RawBinaryExpr, schema: &DFSchema) -> PlannerResult<RawBinaryExpr> {
    let of_chain = arithmetic_type(&raw.left).or_else(|| arithmetic_type(&raw.right)).cloned();
    let (Some(op), Some(data_type)) = (operator(&raw.op), of_chain) else { return PlannerResult::Original(raw) };
    let fits = |expr: &Expr| match arithmetic_type(expr) {
        Some(other) => *other == data_type,
        None => expr.get_type(schema).is_ok_and(|other| other == data_type || widens(&other, &data_type)),
    };
    if !fits(&raw.left) || !fits(&raw.right) {
        return PlannerResult::Original(raw);
    }
    let (left, right) = (cast(raw.left, schema, &data_type), cast(raw.right, schema, &data_type));
    PlannerResult::Planned(arithmetic(left, op, right, &data_type))
}

/// Makes a chain of numbers one call, once it is long.
pub(super) fn shortened(raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
    let Some(op) = operator(&raw.op) else { return Ok(PlannerResult::Original(raw)) };
    let operators = operators(&raw.left, MOST_OF_SEVERAL_KINDS) + operators(&raw.right, MOST_OF_SEVERAL_KINDS);
    if operators < MOST_IN_TREE {
        return Ok(PlannerResult::Original(raw));
    }
    let whole = Expr::BinaryExpr(BinaryExpr { left: Box::new(raw.left), op, right: Box::new(raw.right) });
    let data_type = whole.get_type(schema);
    match data_type.ok().and_then(|data_type| flat(&whole, schema, &data_type)) {
        Some(flat) => Ok(PlannerResult::Planned(flat)),
        None if operators < MOST_OF_SEVERAL_KINDS => Ok(PlannerResult::Planned(whole)),
        None => Err(too_long()),
    }
}

/// `left || right` of two texts: a tree of calls, or one call once the chain is long.
pub(super) fn concatenated(raw: RawBinaryExpr) -> PlannerResult<RawBinaryExpr> {
    let Some(function) = bounded_function(CONCAT) else { return PlannerResult::Original(raw) };
    let joined = [raw.left, raw.right];
    let is_long = joined.iter().any(|side| texts(side).is_some_and(|args| args.len() > 2))
        || joined.iter().map(|side| calls(side, MOST_IN_TREE)).sum::<usize>() >= MOST_IN_TREE;
    let mut args = Vec::new();
    match is_long {
        true => joined.into_iter().for_each(|side| gather(side, &mut args)),
        false => args.extend(joined),
    }
    PlannerResult::Planned(function.call(args))
}

/// Whether it is a `||` of texts, as [`concatenated`] makes them.
pub(super) fn is_concatenated(expr: &Expr) -> bool {
    texts(expr).is_some()
}

fn operator(op: &BinaryOperator) -> Option<Operator> {
    match op {
        BinaryOperator::Plus => Some(Operator::Plus),
        BinaryOperator::Minus => Some(Operator::Minus),
        BinaryOperator::Multiply => Some(Operator::Multiply),
        _ => None,
    }
}

fn sides(expr: &Expr) -> Option<(&Expr, Operator, &Expr)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply) =>
        {
            Some((left, *op, right))
        }
        _ => None,
    }
}

/// The operators of a tree, counted up to `most`.
fn operators(expr: &Expr, most: usize) -> usize {
    let (mut count, mut open) = (0, vec![expr]);
    while count < most
        && let Some(expr) = open.pop()
    {
        if let Some((left, _, right)) = sides(expr) {
            count += 1;
            open.extend([left, right]);
        }
    }
    count
}

/// The tree as one call where all of it is worked out in this type; `None` where something in it is not.
fn flat(expr: &Expr, schema: &DFSchema, data_type: &DataType) -> Option<Expr> {
    if !has_arithmetic(data_type) {
        return None;
    }
    let of = expr.get_type(schema).ok()?;
    match sides(expr) {
        Some((left, op, right)) if of == *data_type => {
            let (left, right) = (flat(left, schema, data_type)?, flat(right, schema, data_type)?);
            Some(arithmetic(left, op, right, data_type))
        }
        _ if of == *data_type || widens(&of, data_type) => Some(cast(expr.clone(), schema, data_type)),
        _ => None,
    }
}

/// Whether numbers of one type beside those of another become these.
fn widens(from: &DataType, to: &DataType) -> bool {
    match to {
        DataType::Float64 => from.is_integer() || matches!(from, DataType::Float32),
        DataType::Int64 => matches!(from, DataType::Int32 | DataType::Int16 | DataType::Int8),
        DataType::Int32 => matches!(from, DataType::Int16 | DataType::Int8),
        _ => false,
    }
}

fn cast(expr: Expr, schema: &DFSchema, data_type: &DataType) -> Expr {
    let is_there = |expr: &Expr| arithmetic_type(expr).is_some_and(|of| of == data_type);
    if is_there(&expr) || expr.get_type(schema).is_ok_and(|of| of == *data_type) {
        return expr;
    }
    match &expr {
        Expr::Literal(value, _) => match value.cast_to(data_type) {
            Ok(value) => Expr::Literal(value, None),
            Err(_) => Expr::Cast(Cast::new(Box::new(expr), data_type.clone())),
        },
        _ => Expr::Cast(Cast::new(Box::new(expr), data_type.clone())),
    }
}

fn texts(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == CONCAT => Some(args),
        _ => None,
    }
}

/// The calls of `||` in a tree of them, counted up to `most`.
fn calls(expr: &Expr, most: usize) -> usize {
    let (mut count, mut open) = (0, vec![expr]);
    while count < most
        && let Some(expr) = open.pop()
    {
        if let Some(args) = texts(expr) {
            count += 1;
            open.extend(args);
        }
    }
    count
}

fn gather(expr: Expr, all: &mut Vec<Expr>) {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == CONCAT => {
            args.into_iter().for_each(|arg| gather(arg, all));
        }
        other => all.push(other),
    }
}

fn too_long() -> DataFusionError {
    let message = format!("a chain of more than {MOST_OF_SEVERAL_KINDS} operators between values of several types");
    let error = Error::new(Kind::TooLarge, message).with_sqlstate("54001");
    DataFusionError::External(Box::new(error.with_hint("cast the operands to one type of number")))
}
