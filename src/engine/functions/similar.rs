//! `similar_to_escape(pattern [, escape])`: the regular expression that a pattern of `SIMILAR TO` means, as PostgreSQL's function of that name
//! gives it.

use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, StringViewArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, TypeSignature, Volatility};

use crate::error::Error;

/// The character that takes a special one's meaning, unless another is named.
const USUAL_ESCAPE: char = '\\';

/// The function.
pub(super) fn udf() -> ScalarUDF {
    let signature = Signature::one_of(vec![TypeSignature::String(1), TypeSignature::String(2)], Volatility::Immutable);
    ScalarUDF::from(SimpleScalarUDF::new_with_signature(
        "similar_to_escape",
        signature,
        DataType::Utf8View,
        Arc::new(|args: &[ColumnarValue]| call(args)),
    ))
}

fn call(args: &[ColumnarValue]) -> Result<ColumnarValue> {
    let is_constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let arrays = ColumnarValue::values_to_arrays(args)?;
    let texts = arrays.iter().map(|array| cast(array, &DataType::Utf8View)).collect::<Result<Vec<_>, _>>()?;
    let expression = |row: usize| {
        let mut values = texts.iter().map(|texts| {
            let texts = texts.as_string_view();
            (!datafusion::arrow::array::Array::is_null(texts, row)).then(|| texts.value(row))
        });
        let Some(pattern) = values.next().flatten() else { return Ok(None) };
        let escape = match values.next() {
            None => Some(USUAL_ESCAPE),
            Some(None) => return Ok(None),
            Some(Some(escape)) => one_character(escape)?,
        };
        Ok(Some(regular_expression(pattern, escape)))
    };
    let rows = texts.first().map_or(0, |texts| texts.len());
    let out = (0..rows).map(expression).collect::<Result<StringViewArray>>()?;
    match is_constant {
        true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&out, 0)?)),
        false => Ok(ColumnarValue::Array(Arc::new(out))),
    }
}

fn one_character(escape: &str) -> Result<Option<char>> {
    let mut chars = escape.chars();
    match (chars.next(), chars.next()) {
        (escape, None) => Ok(escape),
        _ => {
            let error = Error::bad_input("invalid escape string").with_sqlstate("22019");
            Err(DataFusionError::External(Box::new(error.with_hint("an escape is one character, or none"))))
        }
    }
}

/// The expression that matches a whole text as the pattern does.
fn regular_expression(pattern: &str, escape: Option<char>) -> String {
    // A period matches any character, a line's end too.
    let mut out = String::from("^(?s:");
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            char if Some(char) == escape => chars.next().into_iter().for_each(|char| push_literal(char, &mut out)),
            '[' => push_class(&mut chars, escape, &mut out),
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '\\' | '.' | '^' | '$' => push_literal(char, &mut out),
            char => out.push(char),
        }
    }
    out.push_str(")$");
    out
}

/// Copies `[…]` up to its end; `[:digit:]` inside keeps its meaning, other brackets and what the engine would take for set operators do not.
fn push_class(chars: &mut Peekable<Chars<'_>>, escape: Option<char>, out: &mut String) {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut is_first = true;
    while let Some(char) = chars.next() {
        match char {
            char if Some(char) == escape => chars.next().into_iter().for_each(|char| push_literal(char, out)),
            ']' if !is_first => {
                out.push(']');
                return;
            }
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                for inner in chars.by_ref() {
                    out.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            '-' if chars.peek() != Some(&'-') => out.push('-'),
            '[' | ']' | '-' | '\\' | '^' | '&' | '~' => push_literal(char, out),
            char => out.push(char),
        }
        is_first = false;
    }
}

fn push_literal(char: char, out: &mut String) {
    // Other characters mean themselves, and some are not taken behind a backslash.
    if char.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(char);
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::compute::regexp_is_match_scalar;

    /// What PostgreSQL 16 answers to `text SIMILAR TO pattern`.
    #[test]
    fn patterns_match_what_postgresql_matches() {
        for (text, pattern, matches) in [
            ("abc", "abc", true),
            ("abc", "a", false),
            ("abc", "%(b|d)%", true),
            ("abc", "(b|c)%", false),
            ("GET", "GET|POST", true),
            ("GETX", "GET|POST", false),
            ("a.c", "a.c", true),
            ("abc", "a.c", false),
            ("a\nc", "a_c", true),
            ("aaa", "a{2,3}", true),
            ("a%", "a\\%", true),
            ("ab", "a\\%", false),
            ("4", "[0-9]", true),
            ("x", "[^0-9]+", true),
            ("7", "[[:digit:]]", true),
            ("&", "[a&&b]", true),
            ("^$", "^$", true),
            ("", "", true),
        ] {
            let expression = regular_expression(pattern, Some(USUAL_ESCAPE));
            assert_eq!(is_match(text, &expression), matches, "{text} SIMILAR TO {pattern}: {expression}");
        }
        let other = regular_expression("a#%\\", Some('#'));
        assert!(is_match("a%\\", &other), "{other}");
    }

    fn is_match(text: &str, expression: &str) -> bool {
        let texts = StringViewArray::from_iter_values([text]);
        regexp_is_match_scalar(&texts, expression, None).expect("an expression").value(0)
    }
}
