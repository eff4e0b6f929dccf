//! PostgreSQL's operators of jsonb, over attributes and JSON text: `?`, `?|`, `?&`, `@>`, `<@`, `#>`, `#>>`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::planner::{PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Expr, ExprSchemable, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::functions::{
    attribute_of, attributes_contain, cast_to_json, has_attributes, json_part, json_text, no_object, wanted_attributes,
};
use crate::pg::array_elements;

/// Plans one of these operators; others stay as they are.
pub(super) fn planned(raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
    let (op, json, given) = match raw.op {
        BinaryOperator::ArrowAt => (&BinaryOperator::AtArrow, &raw.right, &raw.left),
        ref op => (op, &raw.left, &raw.right),
    };
    // Attributes are asked as they are, and not as the JSON that could be made of them.
    let is_map = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Map(..)));
    let map = cast_to_json(json).filter(|inner| is_map(inner)).or(Some(json).filter(|json| is_map(json)));
    let given = cast_to_json(given).unwrap_or(given);
    let planned = match (op, map) {
        (BinaryOperator::Question, Some(map)) => has_key(map, given),
        (BinaryOperator::QuestionPipe, Some(map)) => keys_of(given).and_then(|keys| disjunction(has_each(map, keys))),
        (BinaryOperator::QuestionAnd, Some(map)) => keys_of(given).and_then(|keys| conjunction(has_each(map, keys))),
        (BinaryOperator::AtArrow, Some(map)) => match (text_of(given), text_type(given, schema)) {
            (Some(object), _) => Some(contains(map, object)?),
            (None, Some(object)) => Some(attributes_contain(map.clone(), object)),
            (None, None) => None,
        },
        (BinaryOperator::HashArrow, _) => {
            text_of(given).and_then(|path| at_path(map.unwrap_or(json), path, map.is_some(), json_part))
        }
        (BinaryOperator::HashLongArrow, _) => {
            text_of(given).and_then(|path| at_path(map.unwrap_or(json), path, map.is_some(), json_text))
        }
        _ => None,
    };
    Ok(match planned {
        Some(expr) => PlannerResult::Planned(expr),
        None => PlannerResult::Original(raw),
    })
}

fn has_key(map: &Expr, key: &Expr) -> Option<Expr> {
    let key = if text_of(key).is_some() { Some(key.clone()) } else { parameter(key) };
    key.map(|key| attribute_of(map.clone(), key).is_not_null())
}

fn has_each(map: &Expr, keys: Vec<String>) -> impl Iterator<Item = Expr> {
    keys.into_iter().map(|key| attribute_of(map.clone(), lit(key)).is_not_null())
}

/// The texts of a constant array.
fn keys_of(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == "make_array" => {
            call.args.iter().map(|key| text_of(key).map(str::to_string)).collect()
        }
        constant => array_elements(text_of(constant)?)?.into_iter().collect(),
    }
}

/// A parameter that is text.
fn parameter(expr: &Expr) -> Option<Expr> {
    let Expr::Placeholder(Placeholder { id, field: None }) = expr else { return None };
    let text = Arc::new(Field::new("", DataType::Utf8, true));
    Some(Expr::Placeholder(Placeholder::new_with_field(id.clone(), Some(text))))
}

/// A text that is known when the statement runs.
fn text_type(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    parameter(expr).or_else(|| expr.get_type(schema).is_ok_and(|it| it.is_string()).then(|| expr.clone()))
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// Whether attributes have each of an object's values, compared as text.
fn contains(map: &Expr, object: &str) -> Result<Expr> {
    let wanted = wanted_attributes(object).ok_or_else(no_object)?;
    Ok(has_attributes(map, wanted))
}

/// The part at a path, `{key,…}`, of which the last step is taken by `last`.
fn at_path(json: &Expr, path: &str, is_map: bool, last: fn(Expr, Expr) -> Expr) -> Option<Expr> {
    let mut steps: Vec<String> = array_elements(path)?.into_iter().collect::<Option<_>>()?;
    let end = steps.pop()?;
    // A number steps into a list.
    let step = |text: String| match text.parse::<i64>() {
        Ok(position) => Expr::Literal(ScalarValue::Int64(Some(position)), None),
        Err(_) => lit(text),
    };
    if is_map && steps.is_empty() {
        return Some(attribute_of(json.clone(), lit(end)));
    }
    let mut steps = steps.into_iter();
    let start = if is_map { attribute_of(json.clone(), lit(steps.next()?)) } else { json.clone() };
    let inner = steps.fold(start, |json, text| json_part(json, step(text)));
    Some(last(inner, step(end)))
}
