//! How much a call makes, from its arguments alone.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::weight::{expanded, integers, leaves, lengths, row_bytes, text_bytes};

/// The most bytes of a character.
const MAX_CHAR_BYTES: i128 = 4;
/// A view of a text, or an element of a list.
const ELEMENT_BYTES: i128 = 16;

/// How a function's result grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Growth {
    /// `f(text, times)` makes the text's length times over.
    Repeat,
    /// `f(text, length, …)` makes that many characters.
    Pad,
    /// `f(list, length, value)` makes that many elements.
    Resize,
    /// `f(value, times)` makes that many elements.
    RepeatElement,
    /// `f(stop)`, `f(start, stop)`, `f(start, stop, step)` makes the numbers between.
    Series,
    /// `f(text, from, to)` makes as much more as `from` occurs.
    Replace,
    /// `f(list, from, to)` puts `to` for any element.
    ReplaceElements,
    /// `f(text, pattern, to, flags)` puts `to` between all characters at most.
    RegexpReplace,
    /// `f(text, pattern)` gives a part of the text for each group.
    RegexpMatch,
    /// `f(text, …)` makes the sum of all texts.
    Concat,
    /// `f(list, list or element, …)` makes the sum of all.
    Sum,
    /// `f(text, …)` makes this many bytes at most of each.
    Text(u8),
    /// `f(text, delimiter)` makes an element of each character at most.
    Split,
    /// `f(list, delimiter)` makes the sum of all elements and delimiters.
    Join,
}

impl Growth {
    /// The bytes that a call makes at most, beyond what its largest argument has already where that is only copied.
    pub(super) fn made(self, args: &ScalarFunctionArgs) -> Result<i128> {
        // A batch may have no rows; constants alone are made once, whatever rows there are.
        let of_rows = args.args.iter().any(|arg| matches!(arg, ColumnarValue::Array(_)));
        let rows = if of_rows { args.number_rows } else { args.number_rows.max(1) };
        let arg = |at: usize| args.args.get(at);
        let times = |bytes: Vec<i128>| -> Result<i128> {
            let times = integers(arg(1), rows)?;
            Ok(times.into_iter().zip(bytes).map(|(times, bytes)| times.max(0) * bytes).sum())
        };
        Ok(match self {
            Self::Repeat => times(lengths(arg(0), rows)?)?,
            Self::Pad => times(vec![if args.args.len() > 2 { MAX_CHAR_BYTES } else { 1 }; rows])?,
            Self::RepeatElement => {
                times(row_bytes(arg(0), rows)?.into_iter().map(|bytes| bytes.max(ELEMENT_BYTES)).collect())?
            }
            Self::Resize => {
                let fill = row_bytes(arg(2), rows)?;
                times(fill.into_iter().map(|bytes| bytes.max(ELEMENT_BYTES)).collect())?
            }
            Self::Series => series(args, rows)?,
            Self::Replace => repeated_constants(args, rows) + replaced(args, rows)?.into_iter().sum::<i128>(),
            Self::ReplaceElements => {
                let (elements, bytes) = leaves(arg(0), rows)?;
                bytes + elements * row_bytes(arg(2), rows)?.into_iter().max().unwrap_or(0)
            }
            Self::RegexpReplace => repeated_constants(args, rows),
            Self::RegexpMatch => {
                let groups = text_bytes(arg(1), 1)?.max(1);
                // A pattern has a group for each opening parenthesis at most.
                repeated_constants(args, rows) + text_bytes(arg(0), rows)?.saturating_mul(groups_of(arg(1), groups))
            }
            Self::Concat => {
                let columns = args.args.iter().map(|arg| text_bytes(Some(arg), rows)).collect::<Result<Vec<_>>>()?;
                beyond_the_largest(&columns)
            }
            Self::Sum => {
                let columns = args.args.iter().map(|arg| {
                    let (elements, bytes) = leaves(Some(arg), rows)?;
                    Ok(bytes.max(elements * ELEMENT_BYTES))
                });
                beyond_the_largest(&columns.collect::<Result<Vec<_>>>()?)
            }
            Self::Text(factor) => repeated_constants(args, rows) + text_bytes(arg(0), rows)? * (i128::from(factor) - 1),
            Self::Split => repeated_constants(args, rows) + text_bytes(arg(0), rows)? * ELEMENT_BYTES,
            Self::Join => {
                let (elements, bytes) = leaves(arg(0), rows)?;
                let delimiter = lengths(arg(1), rows)?.into_iter().max().unwrap_or(0);
                repeated_constants(args, rows) + elements * delimiter + bytes
            }
        })
    }
}

/// The largest argument is there already; a chain that would still grow by it step by step is stopped at a few times the limit.
fn beyond_the_largest(columns: &[i128]) -> i128 {
    const LARGEST_COUNTS: i128 = 4;
    let (sum, largest) = (columns.iter().sum::<i128>(), columns.iter().max().copied().unwrap_or(0));
    (sum - largest).max(sum / LARGEST_COUNTS)
}

fn groups_of(pattern: Option<&ColumnarValue>, most: i128) -> i128 {
    match pattern {
        Some(ColumnarValue::Scalar(value)) => {
            value.try_as_str().flatten().map_or(1, |pattern| pattern.matches('(').count().max(1) as i128)
        }
        _ => most,
    }
}

fn series(args: &ScalarFunctionArgs, rows: usize) -> Result<i128> {
    let column = |at: usize| integers(args.args.get(at), rows);
    let (start, stop) = match args.args.len() {
        0 | 1 => (vec![0; rows], column(0)?),
        _ => (column(0)?, column(1)?),
    };
    let step = if args.args.len() > 2 { column(2)? } else { vec![1; rows] };
    let elements: i128 = start
        .into_iter()
        .zip(stop)
        .zip(step)
        .map(|((start, stop), step)| ((stop - start) / if step == 0 { 1 } else { step }).max(0))
        .sum();
    Ok(elements * size_of::<i64>() as i128)
}

/// The bytes that DataFusion takes to write the constants of a call beside each row.
fn repeated_constants(args: &ScalarFunctionArgs, rows: usize) -> i128 {
    let length = |arg: &ColumnarValue| match arg {
        ColumnarValue::Scalar(value) => value.try_as_str().flatten().map_or(0, str::len),
        ColumnarValue::Array(_) => 0,
    };
    // One row's constants are no more than what the statement holds already.
    if rows == 1 { 0 } else { args.args.iter().map(length).sum::<usize>() as i128 * rows as i128 }
}

/// How much longer each row gets by `replace(text, from, to)`: a bound at first, counted where that is too large.
fn replaced(args: &ScalarFunctionArgs, rows: usize) -> Result<Vec<i128>> {
    /// Below this the bound is good enough.
    const COUNTED_FROM_BYTES: i128 = 4 << 20;
    let column = |at: usize| lengths(args.args.get(at), rows);
    let (text, from, to) = (column(0)?, column(1)?, column(2)?);
    let bounds = |row: usize| (text[row] / from[row].max(1) + 1) * (to[row] - from[row]).max(0);
    let bounds = (0..rows).map(bounds).collect::<Vec<_>>();
    if bounds.iter().sum::<i128>() <= COUNTED_FROM_BYTES {
        return Ok(bounds);
    }
    let (Some(texts), Some(froms)) = (expanded(args.args.first(), rows)?, expanded(args.args.get(1), rows)?) else {
        return Ok(bounds);
    };
    let (texts, froms) = (cast(&texts, &DataType::Utf8View)?, cast(&froms, &DataType::Utf8View)?);
    let pairs = texts.as_string_view().iter().zip(froms.as_string_view().iter());
    let counts = pairs.map(|pair| match pair {
        (Some(text), Some(from)) => text.matches(from).count() as i128,
        _ => 0,
    });
    Ok(counts.enumerate().map(|(row, count)| count * (to[row] - from[row]).max(0)).collect())
}

/// How much longer each row may get by `regexp_replace(text, pattern, to, flags)`; a group takes the whole text at most.
pub(super) fn regexp_replaced(args: &ScalarFunctionArgs, rows: usize) -> Result<Vec<i128>> {
    let column = |at: usize| lengths(args.args.get(at), rows);
    let (text, to, flags) = (column(0)?, column(2)?, column(3)?);
    let bound = |row: usize| {
        let matches = if flags[row] == 0 { 1 } else { text[row] + 1 };
        // A reference has two bytes at least, and what all matches put into it is no longer than the text.
        matches * to[row] + to[row] / 2 * text[row]
    };
    Ok((0..rows).map(bound).collect())
}
