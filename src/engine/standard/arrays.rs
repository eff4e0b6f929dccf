//! Arrays that are written as text, `'{a,b}'`.

use datafusion::sql::sqlparser::ast::{Array, ArrayElemTypeDef, CastKind, DataType, Expr, Value, ValueWithSpan};

use crate::pg::array_elements;

/// Rewrites a cast of such a text to an array, or one that ANY or ALL compares with; `false` when there is none.
pub(super) fn rewrite(expr: &mut Expr) -> bool {
    match expr {
        Expr::Cast { expr: text, data_type: DataType::Array(element), array: false, .. } => {
            let (ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) = element
            else {
                return false;
            };
            let Some(elements) = text_of(text).and_then(array_elements) else { return false };
            if elements.is_empty() {
                // An empty array keeps its type by its cast.
                **text = array(Vec::new());
                return true;
            }
            let typed = |value| Expr::Cast {
                kind: CastKind::DoubleColon,
                expr: Box::new(literal(value)),
                data_type: (**element).clone(),
                array: false,
                format: None,
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
