//! Bytes that are written as text: `'\xff'::bytea`.

use datafusion::sql::sqlparser::ast::{DataType, Expr, TypedString, Value, ValueWithSpan};

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
    if let Value::SingleQuotedString(text) = &constant.value {
        *expr = bytes(text)?;
    }
    Ok(())
}

/// The bytes that a text stands for: hexadecimal after `\x`, else as they are, with `\\` and three octal digits after a backslash.
fn bytes(text: &str) -> Result<Expr> {
    let digits = match text.strip_prefix("\\x") {
        Some(digits) => Some(digits.split_ascii_whitespace().collect::<String>()).filter(|digits| is_hex(digits)),
        None => escaped(text.as_bytes()).map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    };
    let (message, sqlstate) = match text.starts_with("\\x") {
        true => ("invalid hexadecimal data for type bytea", "22023"),
        false => ("invalid input syntax for type bytea", "22P02"),
    };
    let digits = digits.ok_or_else(|| Error::bad_input(message).with_sqlstate(sqlstate))?;
    Ok(Expr::Value(ValueWithSpan::from(Value::HexStringLiteral(digits))))
}

fn is_hex(digits: &str) -> bool {
    digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn escaped(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        (bytes, text) = match (first, rest) {
            (b'\\', [b'\\', rest @ ..]) => (pushed(bytes, b'\\'), rest),
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..]) => {
                (pushed(bytes, (a - b'0') * 64 + (b - b'0') * 8 + (c - b'0')), rest)
            }
            (b'\\', _) => return None,
            (plain, rest) => (pushed(bytes, *plain), rest),
        };
    }
    Some(bytes)
}

fn pushed(mut bytes: Vec<u8>, byte: u8) -> Vec<u8> {
    bytes.push(byte);
    bytes
}
