//! `without_literals(statement)`: a statement of SQL with `?` for each constant, so that calls which differ in these alone are one.
//!
//! Texts in single quotes or between dollars, numbers and bytes become `?`, and a list of such alone, `(?, ?)`, becomes `(?)`; so do several of
//! these after VALUES. What a driver has put for a parameter (`$1`, `%s`, `:name`) stays. Comments go, blanks become one. Names in quotes stay.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, Volatility};

/// The function.
pub(super) fn udf() -> ScalarUDF {
    let call = |args: &[ColumnarValue]| {
        let [texts] = args else { return exec_err!("without_literals wants one text") };
        Ok(match texts {
            ColumnarValue::Scalar(text) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&each(&text.to_array()?)?, 0)?)
            }
            ColumnarValue::Array(texts) => ColumnarValue::Array(each(texts)?),
        })
    };
    let signature = Signature::string(1, Volatility::Immutable);
    ScalarUDF::from(SimpleScalarUDF::new_with_signature(
        "without_literals",
        signature,
        DataType::Utf8View,
        Arc::new(call),
    ))
}

fn each(texts: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8View)?;
    let mut out = StringViewBuilder::with_capacity(texts.len()).with_deduplicate_strings();
    for text in texts.as_string_view() {
        out.append_option(text.map(without_literals));
    }
    Ok(Arc::new(out.finish()))
}

/// What a statement is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Blank,
    Literal,
    /// A name, a word or a sign, as it is written.
    Other(&'a str),
}

fn without_literals(statement: &str) -> String {
    let mut out = String::with_capacity(statement.len());
    let mut rest = statement;
    let mut is_apart = false;
    while let Some((piece, length)) = first_piece(rest) {
        rest = &rest[length..];
        let written = match piece {
            Piece::Blank => {
                is_apart = !out.is_empty();
                continue;
            }
            Piece::Literal => "?",
            Piece::Other(text) => text,
        };
        if std::mem::take(&mut is_apart) {
            out.push(' ');
        }
        out.push_str(written);
        if written == ")" {
            shorten_list(&mut out);
        }
    }
    out
}

/// `(?, ?)` at the end becomes `(?)`, and `(?), (?)` too.
fn shorten_list(out: &mut String) {
    let Some(open) = out.rfind('(') else { return };
    let inside = &out[open + 1..out.len() - 1];
    let of_literals =
        inside.contains('?') && inside.bytes().all(|byte| matches!(byte, b'?' | b',' | b' ' | b'-' | b'+'));
    if !of_literals {
        return;
    }
    let before = out[..open].trim_end();
    let shorter = match before.strip_suffix(',').map(str::trim_end) {
        Some(before) if before.ends_with("(?)") => before.len(),
        _ => {
            out.truncate(open);
            out.push_str("(?)");
            return;
        }
    };
    out.truncate(shorter);
}

/// The first piece of a text and its length in bytes; `None` at the end. What is not closed goes to the end.
fn first_piece(text: &str) -> Option<(Piece<'_>, usize)> {
    let first = text.chars().next()?;
    let bytes = text.as_bytes();
    let next = bytes.get(1).copied();
    let to_end = |found: Option<usize>| found.unwrap_or(text.len());
    Some(match first {
        _ if first.is_whitespace() => (Piece::Blank, length_while(text, char::is_whitespace)),
        '-' if next == Some(b'-') => (Piece::Blank, to_end(text.find('\n'))),
        '/' if next == Some(b'*') => {
            (Piece::Blank, to_end(text.get(2..).and_then(|rest| rest.find("*/")).map(|at| at + 4)))
        }
        '\'' => (Piece::Literal, quoted_length(text, b'\'')),
        '"' | '`' => {
            let length = quoted_length(text, bytes[0]);
            (Piece::Other(&text[..length]), length)
        }
        '$' => dollar(text),
        '0'..='9' => (Piece::Literal, number_length(text)),
        '.' if next.is_some_and(|byte| byte.is_ascii_digit()) => (Piece::Literal, number_length(text)),
        '%' if next.is_some_and(|byte| byte.is_ascii_alphabetic()) => word(text),
        _ if first.is_alphabetic() || matches!(first, '_' | '@' | ':') => word(text),
        _ => (Piece::Other(&text[..first.len_utf8()]), first.len_utf8()),
    })
}

fn length_while(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|letter| !belongs(letter)).unwrap_or(text.len())
}

/// The length of what stands in quotes, with both; two quotes, or one after a backslash, are one inside.
fn quoted_length(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote == b'\'' => at += 1,
            byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 1,
            byte if byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// `$1`, or a text between `$tag$`.
fn dollar(text: &str) -> (Piece<'_>, usize) {
    let tag = 1 + length_while(&text[1..], |letter| letter.is_alphanumeric() || letter == '_');
    let is_tag = text.as_bytes().get(tag) == Some(&b'$') && !text.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    if !is_tag {
        return (Piece::Other(&text[..tag]), tag);
    }
    let (open, inside) = text.split_at(tag + 1);
    let length = inside.find(open).map_or(text.len(), |at| at + 2 * open.len());
    (Piece::Literal, length)
}

/// The length of a number, with fraction, exponent or hexadecimal digits.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let is_sign_of_exponent =
            matches!(byte, b'+' | b'-') && at > 0 && matches!(bytes[at - 1], b'e' | b'E') && !text.starts_with("0x");
        if !byte.is_ascii_alphanumeric() && *byte != b'.' && *byte != b'_' && !is_sign_of_exponent {
            break;
        }
        at += 1;
    }
    at
}

/// A word; the letter before a text in quotes (`E'…'`, `X'…'`) belongs to that.
fn word(text: &str) -> (Piece<'_>, usize) {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let length =
        first + length_while(&text[first..], |letter| letter.is_alphanumeric() || matches!(letter, '_' | '$' | '#'));
    let prefixes = length == 1 && text.as_bytes().get(1) == Some(&b'\'');
    if prefixes && matches!(text.as_bytes()[0].to_ascii_lowercase(), b'e' | b'x' | b'b' | b'n') {
        return (Piece::Literal, 1 + quoted_length(&text[1..], b'\''));
    }
    (Piece::Other(&text[..length]), length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn constants_go_and_the_rest_stays() {
        for (statement, wanted) in [
            ("SELECT * FROM t WHERE a = 'x' AND b=12.5e-3", "SELECT * FROM t WHERE a = ? AND b=?"),
            ("  SELECT\n\t1 ", "SELECT ?"),
            ("SELECT 'it''s', 'a\\'b', E'\\n', X'ff', 0x1F, .5, 1_000", "SELECT ?, ?, ?, ?, ?, ?, ?"),
            ("a IN (1, 2,3) OR b IN ('x')", "a IN (?) OR b IN (?)"),
            ("INSERT INTO t (a, b2) VALUES (1, 'x'), (2, 'y') , (3, 'z')", "INSERT INTO t (a, b2) VALUES (?)"),
            ("f(1, a), g(-1)", "f(?, a), g(?)"),
            ("SELECT t1.c2 FROM \"T 1\" t1, `x 5`", "SELECT t1.c2 FROM \"T 1\" t1, `x 5`"),
            (
                "a = $1 AND b = %s AND c = :id AND d = ? AND e = @p2",
                "a = $1 AND b = %s AND c = :id AND d = ? AND e = @p2",
            ),
            ("SELECT $$it's$$, $tag$ $$ $tag$, 2", "SELECT ?, ?, ?"),
            ("SELECT 1 -- why 2\nFROM t /* a 3 */ WHERE a/2 - 1", "SELECT ? FROM t WHERE a/? - ?"),
            ("SELECT 'not closed", "SELECT ?"),
            ("/* not closed", ""),
            ("SELECT 'ä', ünder1", "SELECT ?, ünder1"),
            ("(SELECT 1)", "(SELECT ?)"),
            ("x::int + a->>'k' + b%3", "x::int + a->>? + b%?"),
            ("", ""),
        ] {
            assert_eq!(without_literals(statement), wanted, "{statement}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_and_a_shape_is_its_own(text in "[a-z0-9'\"`$ (),?.\\\\é/*-]{0,40}") {
            let shape = without_literals(&text);
            prop_assert!(shape.len() <= text.len() + 1);
            prop_assert!(!shape.contains("  ") || shape.contains(['"', '`']));
        }

        #[test]
        fn other_constants_make_no_other_shape(a in 0_u32.., b in "[a-z ']{0,8}", many in 1_usize..6) {
            let list = vec![a.to_string(); many].join(", ");
            let quoted = b.replace('\'', "''");
            let statement = format!("SELECT x FROM t WHERE y = '{quoted}' AND z IN ({list})");
            prop_assert_eq!(without_literals(&statement), "SELECT x FROM t WHERE y = ? AND z IN (?)");
        }
    }
}
