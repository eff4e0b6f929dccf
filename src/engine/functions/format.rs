//! `format(pattern, x, …)`: `%s` the text of a value, `%I` an identifier, `%L` a literal, `%%` a percent sign.
//!
//! Between `%` and the letter stand, each if wanted, `n$` for the n-th value, `-` to align on the left, and a width, which may be `*` or `*n$`
//! for one that is a value itself.

use std::sync::Arc;

use bytes::BytesMut;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{DataFusionError, ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;

use super::bounded::within;
use crate::engine::bounds::StatementBounds;
use crate::error::Error;
use crate::pg::{PgType, TextStyle, Values, put_text};

/// Nanoseconds are kept.
const MAX_SECOND_DIGITS: u8 = 9;

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(Format { signature: Signature::user_defined(Volatility::Stable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Format {
    signature: Signature,
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [pattern, values @ ..] if pattern.is_string() || pattern.is_null() => {
                Ok([DataType::Utf8View].into_iter().chain(values.iter().cloned()).collect())
            }
            _ => plan_err!("function format wants a text and values"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let [patterns, values @ ..] = arrays.as_slice() else { return exec_err!("format wants a text") };
        let zone = args.config_options.execution.time_zone.as_deref().unwrap_or("UTC");
        let shown = Shown::new(values, zone)?;
        let bounds = StatementBounds::within(&args.config_options);
        let patterns = patterns.as_string_view();
        let mut out = StringViewBuilder::with_capacity(rows);
        let (mut read, mut made): (Option<(&str, Vec<Piece>)>, i128) = (None, 0);
        for row in 0..rows {
            if patterns.is_null(row) {
                out.append_null();
                continue;
            }
            let pattern = patterns.value(row);
            if read.as_ref().is_none_or(|(known, _)| *known != pattern) {
                read = Some((pattern, pieces(pattern).map_err(external)?));
            }
            let Some((_, pieces)) = &read else { continue };
            let room = usize::try_from(bounds.made_bytes - made).unwrap_or(0);
            let text = shown.format(pieces, row, room)?;
            made += text.len() as i128;
            within(self.name(), made, &bounds)?;
            out.try_append_value(&text)?;
        }
        let texts: ArrayRef = Arc::new(out.finish());
        match is_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)),
            false => Ok(ColumnarValue::Array(texts)),
        }
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A part of a pattern.
#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Value { place: usize, left: bool, width: Width, letter: Letter },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Width {
    None,
    Chars(usize),
    /// That of the value at this place; a negative one aligns on the left.
    Of(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Letter {
    Plain,
    Identifier,
    Literal,
}

fn bad(message: String) -> Error {
    Error::bad_input(message).with_sqlstate("22023")
}

/// Reads a pattern; places count from zero.
fn pieces(pattern: &str) -> crate::error::Result<Vec<Piece>> {
    let mut out = Vec::new();
    let (mut rest, mut next) = (pattern, 0);
    while let Some(at) = rest.find('%') {
        let (text, after) = (&rest[..at], &rest[at + 1..]);
        if let Some(after) = after.strip_prefix('%') {
            out.push(Piece::Text(format!("{text}%")));
            rest = after;
            continue;
        }
        if !text.is_empty() {
            out.push(Piece::Text(text.to_string()));
        }
        let (place, after) = match positioned(after)? {
            Some((place, after)) => (Some(place), after),
            None => (None, after),
        };
        let flags = after.len() - after.trim_start_matches('-').len();
        let (width, after) = width(&after[flags..], &mut next)?;
        let place = place.unwrap_or(next);
        next = place + 1;
        let mut letters = after.chars();
        let letter = match letters.next() {
            Some('s') => Letter::Plain,
            Some('I') => Letter::Identifier,
            Some('L') => Letter::Literal,
            Some(other) => {
                let message = format!("unrecognized format() type specifier \"{other}\"");
                return Err(bad(message).with_hint("for a single \"%\" use \"%%\""));
            }
            None => {
                let message = "unterminated format() type specifier".to_string();
                return Err(bad(message).with_hint("for a single \"%\" use \"%%\""));
            }
        };
        out.push(Piece::Value { place, left: flags > 0, width, letter });
        rest = letters.as_str();
    }
    if !rest.is_empty() {
        out.push(Piece::Text(rest.to_string()));
    }
    Ok(out)
}

/// A number at the start of a text, and what comes after it.
fn number(text: &str) -> crate::error::Result<Option<(usize, &str)>> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits == 0 {
        return Ok(None);
    }
    let number = text[..digits].parse::<i32>().ok().and_then(|number| usize::try_from(number).ok());
    match number {
        Some(number) => Ok(Some((number, &text[digits..]))),
        None => Err(Error::bad_input("number is out of range").with_sqlstate("22003")),
    }
}

/// The place that `n$` names.
fn positioned(text: &str) -> crate::error::Result<Option<(usize, &str)>> {
    let Some((n, after)) = number(text)? else { return Ok(None) };
    let Some(after) = after.strip_prefix('$') else { return Ok(None) };
    match n.checked_sub(1) {
        Some(place) => Ok(Some((place, after))),
        None => Err(bad("format specifies argument 0, but arguments are numbered from 1".to_string())),
    }
}

fn width<'a>(text: &'a str, next: &mut usize) -> crate::error::Result<(Width, &'a str)> {
    if let Some(after) = text.strip_prefix('*') {
        return Ok(match positioned(after)? {
            Some((place, after)) => {
                *next = place + 1;
                (Width::Of(place), after)
            }
            None => {
                *next += 1;
                (Width::Of(*next - 1), after)
            }
        });
    }
    Ok(number(text)?.map_or((Width::None, text), |(chars, after)| (Width::Chars(chars), after)))
}

/// The values of a call.
struct Shown<'a> {
    arrays: &'a [ArrayRef],
    values: Vec<Values>,
    style: TextStyle,
}

impl<'a> Shown<'a> {
    fn new(arrays: &'a [ArrayRef], zone: &str) -> Result<Self> {
        let style = TextStyle::in_zone(zone, MAX_SECOND_DIGITS).map_err(external)?;
        let values = arrays.iter().map(|array| Values::new(array, PgType::of(array.data_type()), style.zone));
        let values = values.collect::<crate::error::Result<Vec<_>>>().map_err(external)?;
        Ok(Self { arrays, values, style })
    }

    /// The text of a row, which fails before it has more than `room` bytes of padding.
    fn format(&self, pieces: &[Piece], row: usize, room: usize) -> Result<String> {
        let mut out = String::new();
        for piece in pieces {
            let (place, left, width, letter) = match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Value { place, left, width, letter } => (*place, *left, *width, *letter),
            };
            let width = match width {
                Width::None => 0,
                Width::Chars(chars) => i64::try_from(chars).unwrap_or(i64::MAX),
                Width::Of(place) => self.width(place, row)?,
            };
            let text = self.text(place, row, letter)?;
            let chars = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
            let blanks = chars.saturating_sub(text.chars().count());
            let total = out.len().saturating_add(text.len()).saturating_add(blanks);
            if total > room {
                within("format", total as i128, &StatementBounds::default())?;
                return exec_err!("format would make more than is left of a statement's bound");
            }
            match left || width < 0 {
                true => out.extend(text.chars().chain(std::iter::repeat_n(' ', blanks))),
                false => out.extend(std::iter::repeat_n(' ', blanks).chain(text.chars())),
            }
        }
        Ok(out)
    }

    fn array(&self, place: usize) -> Result<&ArrayRef> {
        self.arrays.get(place).ok_or_else(|| external(bad("too few arguments for format()".to_string())))
    }

    fn width(&self, place: usize, row: usize) -> Result<i64> {
        let array = self.array(place)?;
        if array.is_null(row) {
            return Ok(0);
        }
        let whole: ArrayRef = cast(&array.slice(row, 1), &DataType::Int64)?;
        let whole: &Int64Array = whole.as_primitive::<Int64Type>();
        Ok(whole.value(0))
    }

    fn text(&self, place: usize, row: usize, letter: Letter) -> Result<String> {
        let array = self.array(place)?;
        if array.data_type().is_null() || array.is_null(row) {
            return match letter {
                Letter::Plain => Ok(String::new()),
                Letter::Literal => Ok("NULL".to_string()),
                Letter::Identifier => {
                    let error = Error::bad_input("null values cannot be formatted as an SQL identifier");
                    Err(external(error.with_sqlstate("22004")))
                }
            };
        }
        let mut bytes = BytesMut::new();
        put_text(&mut bytes, &self.values[place], row, &self.style).map_err(external)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(match letter {
            Letter::Plain => text,
            Letter::Identifier => identifier(text),
            Letter::Literal => literal(&text),
        })
    }
}

/// A name as it has to be written: in quotes where it is no plain word in lower case.
fn identifier(name: String) -> String {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_keyword = || ALL_KEYWORDS.binary_search(&name.to_ascii_uppercase().as_str()).is_ok();
    if starts && name.chars().all(is_plain) && !is_keyword() {
        return name;
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_in_order_and_by_place() {
        let value = |place, left, width, letter| Piece::Value { place, left, width, letter };
        assert_eq!(
            pieces("a%s %3$I%L 100%%|%-*s").expect("a pattern"),
            [
                Piece::Text("a".into()),
                value(0, false, Width::None, Letter::Plain),
                Piece::Text(" ".into()),
                value(2, false, Width::None, Letter::Identifier),
                value(3, false, Width::None, Letter::Literal),
                Piece::Text(" 100%".into()),
                Piece::Text("|".into()),
                value(5, true, Width::Of(4), Letter::Plain),
            ]
        );
        for (pattern, sqlstate) in [("%", "22023"), ("%y", "22023"), ("%0$s", "22023"), ("%99999999999s", "22003")] {
            assert_eq!(pieces(pattern).expect_err(pattern).sqlstate(), sqlstate, "{pattern}");
        }
    }

    #[test]
    fn names_and_literals_are_quoted_where_they_must_be() {
        for (name, written) in [
            ("spans", "spans"),
            ("Spans", "\"Spans\""),
            ("select", "\"select\""),
            ("a\"b", "\"a\"\"b\""),
            ("1a", "\"1a\""),
        ] {
            assert_eq!(identifier(name.to_string()), written);
        }
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b"), "E'a\\\\b'");
    }
}
