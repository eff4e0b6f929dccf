//! PostgreSQL's operators of jsonb, over attributes and JSON text: `?`, `?|`, `?&`, `@>`, `<@`, `#>`, `#>>`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::planner::{PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Expr, ExprSchemable, lit, when};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::functions::{
    MOST_CONDITIONS, attribute_of, attributes_contain, cast_to_json, has_attributes, json_part_at, json_text_at,
    no_object, wanted_attributes,
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
        (BinaryOperator::Question, Some(map)) => has_key(map, given, schema)?,
        (BinaryOperator::QuestionPipe, Some(map)) => {
            keys_of(given).map(|keys| disjunction(has_each(map, keys)).unwrap_or(lit(false)))
        }
        (BinaryOperator::QuestionAnd, Some(map)) => {
            keys_of(given).map(|keys| conjunction(has_each(map, keys)).unwrap_or(lit(true)))
        }
        (BinaryOperator::AtArrow, Some(map)) => match (text_of(given), text_type(given, schema)) {
            (Some(object), _) => Some(contains(map, object)?),
            (None, Some(object)) => Some(attributes_contain(map.clone(), object)),
            (None, None) => None,
        },
        (BinaryOperator::HashArrow, _) => {
            text_of(given).and_then(|path| at_path(map.unwrap_or(json), path, map.is_some(), json_part_at))
        }
        (BinaryOperator::HashLongArrow, _) => {
            text_of(given).and_then(|path| at_path(map.unwrap_or(json), path, map.is_some(), json_text_at))
        }
        _ => None,
    };
    Ok(match planned {
        Some(expr) => PlannerResult::Planned(expr),
        None => PlannerResult::Original(raw),
    })
}

fn has_key(map: &Expr, key: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let unknown = lit(ScalarValue::Boolean(None));
    if matches!(key, Expr::Literal(value, _) if value.is_null()) {
        return Ok(Some(unknown));
    }
    let Some(key) = text_type(key, schema) else { return Ok(None) };
    let has = attribute_of(map.clone(), key.clone()).is_not_null();
    match key {
        Expr::Literal(..) | Expr::Placeholder(_) => Ok(Some(has)),
        key => when(key.is_null(), unknown).otherwise(has).map(Some),
    }
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
    Ok(match wanted.len() {
        0..=MOST_CONDITIONS => has_attributes(map, wanted),
        _ => attributes_contain(map.clone(), lit(object)),
    })
}

/// Steps of a path that are numbers: each may be a place in a list or a key of an object.
const MAX_NUMBERS: usize = 4;

/// The part at a path, `{key,…}`, which `part` takes.
fn at_path(json: &Expr, path: &str, is_map: bool, part: fn(Expr, Vec<Expr>) -> Expr) -> Option<Expr> {
    let steps: Vec<String> = array_elements(path)?.into_iter().collect::<Option<_>>()?;
    let mut steps = steps.into_iter();
    let start = match is_map {
        true => attribute_of(json.clone(), lit(steps.next()?)),
        false => json.clone(),
    };
    let mut paths = vec![Vec::new()];
    let mut numbers = 0;
    for step in steps {
        let position = step.parse::<i64>().ok().map(|position| Expr::Literal(ScalarValue::Int64(Some(position)), None));
        numbers += usize::from(position.is_some());
        let ways = std::iter::once(lit(step)).chain(position);
        paths = ways
            .flat_map(|step| paths.iter().map(move |path| [path.as_slice(), std::slice::from_ref(&step)].concat()))
            .collect();
        if numbers > MAX_NUMBERS {
            return None;
        }
    }
    let mut parts: Vec<Expr> = match paths.as_slice() {
        [path] if path.is_empty() => return is_map.then_some(start),
        _ => paths.into_iter().map(|path| part(start.clone(), path)).collect(),
    };
    match parts.len() {
        1 => parts.pop(),
        _ => Some(coalesce(parts)),
    }
}
