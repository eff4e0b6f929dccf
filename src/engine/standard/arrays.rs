//! Arrays that are written as text, `'{a,b}'`.

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, FunctionArguments, Value, ValueWithSpan,
};

use super::{casts, check_copies};
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
            if let Some(elements) = text_of(inner).and_then(array_elements) {
                **right = array(elements.into_iter().map(literal).collect());
            }
            compared_with_each(expr);
            true
        }
        _ => false,
    }
}

/// Elements that something is compared with one by one.
const MAX_COMPARED: usize = 64;

/// `x IN (a, b)` for `x = ANY (ARRAY[a, b])`, and `x > a OR x > b` for `x > ANY (ARRAY[a, b])`: the array as such would not say what NULL in it does.
fn compared_with_each(expr: &mut Expr) {
    let (left, op, right, is_any) = match expr {
        Expr::AnyOp { left, compare_op, right, .. } => (left, compare_op, right, true),
        Expr::AllOp { left, compare_op, right } => (left, compare_op, right, false),
        _ => return,
    };
    let inner = match right.as_ref() {
        Expr::Nested(inner) => inner.as_ref(),
        other => other,
    };
    let Expr::Array(Array { elem: elements, .. }) = inner else { return };
    if elements.is_empty() || elements.iter().any(|element| matches!(element, Expr::Array(_))) {
        return;
    }
    let is_membership = matches!((&*op, is_any), (BinaryOperator::Eq, true) | (BinaryOperator::NotEq, false));
    if is_membership {
        *expr = Expr::InList { expr: left.clone(), list: elements.clone(), negated: !is_any };
        return;
    }
    if elements.len() > MAX_COMPARED || check_copies(left.as_ref(), elements.len()).is_err() {
        return;
    }
    let joined_by = if is_any { BinaryOperator::Or } else { BinaryOperator::And };
    let compared = elements.iter().map(|element| Expr::BinaryOp {
        left: left.clone(),
        op: op.clone(),
        right: Box::new(Expr::Nested(Box::new(element.clone()))),
    });
    let all = compared.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: joined_by.clone(),
        right: Box::new(right),
    });
    if let Some(all) = all {
        *expr = Expr::Nested(Box::new(all));
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
