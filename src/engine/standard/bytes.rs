//! Bytes that are written as text: `'\xff'::bytea`.

use datafusion::sql::sqlparser::ast::{DataType, DollarQuotedString, Expr, TypedString, Value, ValueWithSpan};

use crate::engine::functions::bytes_of;
use crate::error::{Error, Result};

/// Rewrites a constant that is cast to bytes.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] for a text that stands for none.
pub(super) fn rewrite(expr: &mut Expr) -> Result<()> {
    let constant = match &*expr {
        Expr::TypedString(TypedString { data_type: DataType::Bytea, value, .. }) => value,
        Expr::Cast { data_type: DataType::Bytea, expr: inner, .. } => match inner.as_ref() {
            Expr::Value(value) => value,
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    if let Value::SingleQuotedString(text)
    | Value::EscapedStringLiteral(text)
    | Value::UnicodeStringLiteral(text)
    | Value::DollarQuotedString(DollarQuotedString { value: text, .. }) = &constant.value
    {
        *expr = bytes(text)?;
    }
    Ok(())
}

/// The bytes that a text stands for.
fn bytes(text: &str) -> Result<Expr> {
    let (message, sqlstate) = match text.starts_with("\\x") {
        true => ("invalid hexadecimal data for type bytea", "22023"),
        false => ("invalid input syntax for type bytea", "22P02"),
    };
    let bytes = bytes_of(text).ok_or_else(|| Error::bad_input(message).with_sqlstate(sqlstate))?;
    let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Expr::Value(ValueWithSpan::from(Value::HexStringLiteral(digits))))
}
