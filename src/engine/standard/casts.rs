//! Casts to types that the planner does not know, or takes for others.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CharacterLength, DataType, ExactNumberInfo, Expr, Interval, TypedString,
    UnaryOperator, Value, ValueWithSpan,
};

use super::{call, take};
use crate::engine::functions::VALUE_JSON;

/// A real has 24 binary digits; `float(25)` and more is double precision.
const REAL_DIGITS: u64 = 24;

/// Rewrites a cast, or a constant that names its type.
pub(super) fn rewrite(expr: &mut Expr) {
    match expr {
        Expr::TypedString(TypedString { data_type: DataType::JSON | DataType::JSONB, .. }) => {
            if let Expr::TypedString(TypedString { value, .. }) = take(expr) {
                *expr = call(VALUE_JSON, vec![Expr::Value(value)]);
            }
        }
        Expr::Cast { data_type: DataType::JSON | DataType::JSONB, .. } => {
            if let Expr::Cast { expr: value, .. } = take(expr) {
                *expr = call(VALUE_JSON, vec![*value]);
            }
        }
        Expr::Cast { data_type, .. } if matches!(data_type, DataType::Array(_)) => {
            *data_type = element_types(data_type.clone());
        }
        Expr::Cast { data_type: DataType::Timestamp(digits @ Some(0..=8), _), .. } => {
            let digits = digits.take().and_then(|digits| usize::try_from(digits).ok()).unwrap_or_default();
            let half = seconds(&format!("0.{:0>1$}", 5, digits + 1));
            let unit = if digits == 0 { seconds("1") } else { seconds(&format!("0.{:0>digits$}", 1)) };
            let raised = Expr::BinaryOp { left: Box::new(take(expr)), op: BinaryOperator::Plus, right: Box::new(half) };
            *expr = call("date_bin", vec![unit, raised]);
        }
        Expr::Cast { expr: value, data_type, .. } => {
            if is_exact(data_type)
                && let Some(digits) = digits_of(value)
            {
                **value = Expr::Value(ValueWithSpan::from(Value::SingleQuotedString(digits)));
            }
            let Some((planned, cut)) = text_type(data_type) else {
                *data_type = number_type(data_type.clone());
                return;
            };
            *data_type = planned;
            if let Some(Cut { chars, trimmed }) = cut {
                let chars = Expr::Value(ValueWithSpan::from(Value::Number(chars.to_string(), false)));
                let cut = call("left", vec![take(expr), chars]);
                *expr = if trimmed { call("rtrim", vec![cut]) } else { cut };
            }
        }
        _ => {}
    }
}

fn is_exact(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_))
}

/// The digits of a constant that would be a double, as they were written; `None` for anything else.
fn digits_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, false), .. }) => {
            (digits.contains('.') && !digits.contains(['e', 'E'])).then(|| digits.clone())
        }
        Expr::Nested(inner) => digits_of(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            digits_of(expr).filter(|digits| !digits.starts_with('-')).map(|digits| format!("-{digits}"))
        }
        _ => None,
    }
}

fn seconds(number: &str) -> Expr {
    let text = Value::SingleQuotedString(format!("{number} seconds"));
    Expr::Interval(Interval {
        value: Box::new(Expr::Value(ValueWithSpan::from(text))),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}

/// The planner's types for those of an array's elements. Where the elements are not written out, JSON is text and no text is cut.
fn element_types(data_type: DataType) -> DataType {
    let of = |element: Box<DataType>| Box::new(element_types(*element));
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, length)) => {
            DataType::Array(ArrayElemTypeDef::SquareBracket(of(element), length))
        }
        DataType::Array(ArrayElemTypeDef::AngleBracket(element)) => {
            DataType::Array(ArrayElemTypeDef::AngleBracket(of(element)))
        }
        DataType::JSON | DataType::JSONB => DataType::Text,
        plain => text_type(&plain).map_or_else(|| number_type(plain), |(planned, _)| planned),
    }
}

/// Whether a cast to this type is more than the planner's cast.
pub(super) fn changes_values(data_type: &DataType) -> bool {
    match data_type {
        DataType::JSON | DataType::JSONB | DataType::Timestamp(Some(0..=8), _) => true,
        other => text_type(other).is_some_and(|(_, cut)| cut.is_some()),
    }
}

/// How a cast shortens text.
struct Cut {
    chars: u64,
    /// Blanks at the end of `char(n)` mean nothing.
    trimmed: bool,
}

/// The planner's type for a type of text, and what a cast to it cuts; `None` for other types.
fn text_type(data_type: &DataType) -> Option<(DataType, Option<Cut>)> {
    let (length, trimmed) = match data_type {
        DataType::Varchar(length)
        | DataType::CharVarying(length)
        | DataType::CharacterVarying(length)
        | DataType::Nvarchar(length) => (*length, false),
        DataType::Char(length) | DataType::Character(length) => {
            (Some(length.unwrap_or(CharacterLength::IntegerLength { length: 1, unit: None })), true)
        }
        DataType::Custom(name, arguments) if arguments.is_empty() && is_text(&name.to_string()) => (None, false),
        _ => return None,
    };
    let cut = match length {
        Some(CharacterLength::IntegerLength { length: chars, .. }) => Some(Cut { chars, trimmed }),
        Some(CharacterLength::Max) | None => None,
    };
    Some((DataType::Text, cut))
}

fn is_text(name: &str) -> bool {
    ["bpchar", "name", "citext"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The planner takes `float` for four bytes; PostgreSQL has eight.
fn number_type(data_type: DataType) -> DataType {
    match data_type {
        DataType::Float(ExactNumberInfo::Precision(digits)) if digits <= REAL_DIGITS => DataType::Real,
        DataType::Float(_) => DataType::DoublePrecision,
        DataType::Dec(info) => DataType::Decimal(info),
        other => other,
    }
}
