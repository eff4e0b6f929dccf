//! PostgreSQL's operators of jsonb, over attributes and JSON text: `?`, `@>`, `#>`, `#>>`.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::{PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use serde_json::Value;

use super::functions::{attribute_of, json_part, json_text};
use crate::error::Error;
use crate::pg::array_elements;

/// Plans one of these operators; others stay as they are.
pub(super) fn planned(raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
    let is_map = matches!(raw.left.get_type(schema), Ok(DataType::Map(..)));
    let Some(constant) = text_of(&raw.right).map(str::to_string) else { return Ok(PlannerResult::Original(raw)) };
    let planned = match raw.op {
        BinaryOperator::Question if is_map => Some(attribute_of(raw.left.clone(), raw.right.clone()).is_not_null()),
        BinaryOperator::AtArrow if is_map => Some(contains(&raw.left, &constant)?),
        BinaryOperator::HashArrow => at_path(&raw.left, &constant, is_map, json_part),
        BinaryOperator::HashLongArrow => at_path(&raw.left, &constant, is_map, json_text),
        _ => None,
    };
    Ok(match planned {
        Some(expr) => PlannerResult::Planned(expr),
        None => PlannerResult::Original(raw),
    })
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// Whether attributes have each of an object's values, compared as text.
fn contains(map: &Expr, object: &str) -> Result<Expr> {
    let Ok(Value::Object(wanted)) = serde_json::from_str(object) else {
        let error = Error::bad_input("attributes @> wants the text of a JSON object").with_sqlstate("22P02");
        return Err(DataFusionError::External(Box::new(error.with_hint("write attributes @> '{\"key\": \"value\"}'"))));
    };
    let is_equal = |(key, value): (String, Value)| {
        let attribute = attribute_of(map.clone(), lit(key));
        match value {
            Value::String(text) => attribute.eq(lit(text)),
            other => attribute.eq(lit(other.to_string())),
        }
    };
    Ok(conjunction(wanted.into_iter().map(is_equal)).unwrap_or_else(|| map.clone().is_not_null()))
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
