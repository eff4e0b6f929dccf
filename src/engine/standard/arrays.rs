//! Arrays that are written as text, `'{a,b}'`.

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, CastKind, DataType, Expr, FunctionArguments, Value, ValueWithSpan,
};

use super::casts;
use crate::pg::array_elements;

/// Rewrites a cast of such a text to an array, so that each element is cast, and a text that ANY or ALL compares with; `false` when there is
/// none.
pub(super) fn rewrite(expr: &mut Expr) -> bool {
    match expr {
        Expr::Cast { expr: value, data_type: DataType::Array(element), array: false, .. } => {
            let (ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) = element
            else {
                return false;
            };
            let element = innermost(element);
            let Some(elements) = elements_of(value, element) else { return false };
            if elements.is_empty() {
                // An empty array keeps its type by its cast.
                **value = array(Vec::new());
                return false;
            }
            let typed = |value| {
                let mut typed = Expr::Cast {
                    kind: CastKind::DoubleColon,
                    expr: Box::new(value),
                    data_type: element.clone(),
                    array: false,
                    format: None,
                };
                casts::rewrite(&mut typed);
                typed
            };
            *expr = array(elements.into_iter().map(typed).collect());
            true
        }
        Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
            let inner = match right.as_mut() {
                Expr::Nested(inner) => inner.as_mut(),
                other => other,
            };
            let Some(elements) = text_of(inner).and_then(array_elements) else { return false };
            **right = array(elements.into_iter().map(literal).collect());
            true
        }
        _ => false,
    }
}

/// `text[][]` is the type `text[]`.
fn innermost(element: &DataType) -> &DataType {
    match element {
        DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _) | ArrayElemTypeDef::AngleBracket(inner)) => {
            innermost(inner)
        }
        plain => plain,
    }
}

/// The elements that are written in a text, or one by one where their cast does more than change their type.
fn elements_of(value: &Expr, element: &DataType) -> Option<Vec<Expr>> {
    match value {
        Expr::Array(Array { elem, .. }) if casts::changes_values(element) => Some(elem.clone()),
        value => Some(text_of(value).and_then(array_elements)?.into_iter().map(literal).collect()),
    }
}

/// Compares with the rows of a subquery, and not with the array of them.
pub(super) fn of_rows(expr: &mut Expr) {
    let (Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }) = expr else { return };
    let inner = match right.as_ref() {
        Expr::Nested(inner) => inner.as_ref(),
        other => other,
    };
    if let Expr::Function(function) = inner
        && let FunctionArguments::Subquery(query) = &function.args
        && function.name.to_string().eq_ignore_ascii_case("array")
    {
        **right = Expr::Subquery(query.clone());
    }
}

fn array(elem: Vec<Expr>) -> Expr {
    Expr::Array(Array { elem, named: true })
}

fn literal(value: Option<String>) -> Expr {
    let value = value.map_or(Value::Null, Value::SingleQuotedString);
    Expr::Value(ValueWithSpan::from(value))
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text),
        _ => None,
    }
}
