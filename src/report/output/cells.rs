//! The cells of a result as people read them: numbers with the digits that tell, by unit; times no finer than they have to be.
//!
//! Pages and Markdown are made of these. Files for programs have every digit and do not come by here. Texts are harmless: what drives a
//! terminal or turns a line around is spelled out; escaping is left to who writes the file.

use datafusion::arrow::array::{AsArray, Float64Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};

use super::chart::{Unit, grouped, plain};
use super::page::Page;
use crate::error::{Error, Result};
use crate::render::{CellStyle, is_number, sanitize};
use crate::report::frame::value_type;

/// Hex digits of the ids of spans and of traces.
const ID_DIGITS: [usize; 2] = [16, 32];
/// Bytes of a binary value that are shown.
const BINARY_BYTES: usize = 8;

/// How much is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub rows: usize,
    pub columns: usize,
    /// Characters of a cell.
    pub cell: usize,
    /// Bytes of all cells; the first row is shown however long it is.
    pub bytes: usize,
}

/// How the cells of a column look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Text,
    /// Ids of traces or spans.
    Id,
    Time,
    Number,
}

/// A column that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    pub look: Look,
}

/// The first rows of a result; `None` for NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cells {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// Reads the first rows of a page, as many as the limits allow.
pub(super) fn cells(page: &Page<'_>, limits: Limits) -> Result<Cells> {
    let schema = &page.frame.schema;
    let fields: Vec<_> = schema.fields().iter().take(limits.columns).collect();
    let forms: Vec<Form> = fields.iter().map(|field| Form::of(value_type(field.data_type()), field.name())).collect();
    let mut rows = rows(page, &forms, limits)?;
    for (at, form) in forms.iter().enumerate() {
        match form {
            Form::Float(unit) => show_floats(page, &mut rows, at, unit)?,
            Form::Time => shorten_times(&mut rows, at),
            _ => {}
        }
    }
    let columns = fields.iter().zip(&forms).enumerate();
    let columns =
        columns.map(|(at, (field, form))| Column { name: plain(field.name()), look: look(form, &rows, at) }).collect();
    Ok(Cells { columns, rows })
}

/// How the values of a column become text.
enum Form {
    Text,
    Binary,
    Time,
    Integer(Unit),
    Float(Unit),
    /// Other numbers: as they are.
    Number,
}

impl Form {
    fn of(kind: &DataType, column: &str) -> Self {
        match kind {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Float(Unit::of(None, column)),
            kind if kind.is_integer() => Self::Integer(Unit::of(None, column)),
            kind if is_number(kind) => Self::Number,
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Self::Time,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Binary
            }
            _ => Self::Text,
        }
    }

    fn show(&self, text: String, longest: usize) -> String {
        match self {
            Self::Integer(Unit::Bytes) => text.parse().map_or(text, |bytes| Unit::Bytes.show(bytes)),
            Self::Integer(Unit::Percent) => format!("{}\u{a0}%", integer(&text)),
            Self::Integer(_) => integer(&text),
            Self::Binary => binary(&text),
            Self::Text => cut(&text, longest),
            Self::Time | Self::Float(_) | Self::Number => text,
        }
    }
}

fn look(form: &Form, rows: &[Vec<Option<String>>], at: usize) -> Look {
    let is_id = |text: &String| ID_DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut texts = rows.iter().filter_map(|row| row[at].as_ref()).peekable();
    match form {
        Form::Text if texts.peek().is_some() && texts.all(is_id) => Look::Id,
        Form::Text | Form::Binary => Look::Text,
        Form::Time => Look::Time,
        Form::Integer(_) | Form::Float(_) | Form::Number => Look::Number,
    }
}

fn rows(page: &Page<'_>, forms: &[Form], limits: Limits) -> Result<Vec<Vec<Option<String>>>> {
    let style = CellStyle::new(&page.frame.schema, page.zone.name())?;
    let mut shown: Vec<Vec<Option<String>>> = Vec::new();
    let mut bytes = 0;
    for batch in &page.frame.batches {
        let batch = batch.slice(0, batch.num_rows().min(limits.rows - shown.len()));
        let values = style.cells(&batch)?;
        for row in 0..batch.num_rows() {
            let cell = |(at, form): (usize, &Form)| match values.is_null(row, at) {
                true => Ok(None),
                false => values.text(row, at).map(|text| Some(form.show(text, limits.cell))),
            };
            let texts = forms.iter().enumerate().map(cell).collect::<Result<Vec<_>>>()?;
            bytes += texts.iter().flatten().map(String::len).sum::<usize>();
            if bytes > limits.bytes && !shown.is_empty() {
                return Ok(shown);
            }
            shown.push(texts);
        }
        if shown.len() == limits.rows {
            break;
        }
    }
    Ok(shown)
}

/// Writes the numbers of a column anew, with the digits that its unit and its greatest value ask for.
fn show_floats(page: &Page<'_>, rows: &mut [Vec<Option<String>>], at: usize, unit: &Unit) -> Result<()> {
    let mut values = Vec::with_capacity(rows.len());
    for batch in &page.frame.batches {
        let wanted = batch.num_rows().min(rows.len() - values.len());
        values.extend(floats(&batch.slice(0, wanted), at)?.iter());
    }
    let known: Vec<f64> = values.iter().copied().flatten().collect();
    let decimals = unit.column_decimals(&known);
    for (row, value) in rows.iter_mut().zip(values) {
        row[at] = value.map(|value| unit.cell(value, decimals));
    }
    Ok(())
}

fn floats(batch: &RecordBatch, column: usize) -> Result<Float64Array> {
    let values = cast(batch.column(column), &DataType::Float64)
        .map_err(|error| Error::internal(format!("a column of numbers cannot be read: {error}")))?;
    Ok(values.as_primitive::<Float64Type>().clone())
}

/// Leaves out of the times of a column what all of them have alike: seconds that are 0, and the zone, which the page names. Of fractions of a
/// second three digits are left.
fn shorten_times(rows: &mut [Vec<Option<String>>], at: usize) {
    let Some(parts) = rows.iter().filter_map(|row| row[at].as_deref()).map(TimeParts::of).collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let one_zone = parts.windows(2).all(|pair| pair[0].zone == pair[1].zone);
    let whole_minutes = parts.iter().all(|time| time.seconds == "00" && time.fraction.is_empty());
    let whole_seconds = parts.iter().all(|time| time.fraction.is_empty());
    let texts: Vec<String> = parts
        .iter()
        .map(|time| {
            let seconds = if whole_minutes { String::new() } else { format!(":{}", time.seconds) };
            let fraction = if whole_seconds { String::new() } else { format!(".{:0<3.3}", time.fraction) };
            let zone = if one_zone { "" } else { time.zone };
            format!("{}{seconds}{fraction}{zone}", time.minute)
        })
        .collect();
    for (cell, text) in rows.iter_mut().filter_map(|row| row[at].as_mut()).zip(texts) {
        *cell = text;
    }
}

/// `2026-11-21 03:34`, `59`, `123456789`, `+00`.
struct TimeParts<'a> {
    minute: &'a str,
    seconds: &'a str,
    fraction: &'a str,
    zone: &'a str,
}

impl<'a> TimeParts<'a> {
    /// `None` for what is no moment: a date, infinity, a year before Christ.
    fn of(text: &'a str) -> Option<Self> {
        const MINUTE: usize = "2026-11-21 03:34".len();
        let (minute, rest) = text.split_at_checked(MINUTE)?;
        let (seconds, rest) = rest.strip_prefix(':')?.split_at_checked(2)?;
        let after = rest.strip_prefix('.').unwrap_or(rest);
        let digits = if after.len() < rest.len() { after.bytes().take_while(u8::is_ascii_digit).count() } else { 0 };
        let (fraction, zone) = after.split_at(digits);
        let is_zone = zone.is_empty() || zone.starts_with(['+', '-']) && !zone.contains(' ');
        is_zone.then_some(Self { minute, seconds, fraction, zone })
    }
}

fn integer(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(digits) => format!("−{}", grouped(digits)),
        None => grouped(text),
    }
}

/// The first bytes of a binary value, and how many it has: sketches and the like, which nobody reads.
fn binary(text: &str) -> String {
    let digits = text.strip_prefix("\\x").unwrap_or(text);
    match digits.get(..2 * BINARY_BYTES) {
        Some(start) if digits.len() > start.len() => {
            format!("\\x{start}… ({} bytes)", grouped(&(digits.len() / 2).to_string()))
        }
        _ => text.to_owned(),
    }
}

/// A text of data: harmless, with its lines, and not too long.
fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => {
            let chars = grouped(&text.chars().count().to_string());
            format!("{}… ({chars} characters)", paragraph(&text[..end]))
        }
        None => paragraph(text),
    }
}

/// Text of several lines, made harmless line by line.
pub(super) fn paragraph(text: &str) -> String {
    text.split('\n').map(|line| sanitize(line.trim_end_matches('\r')).into_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_read_well() {
        assert_eq!([integer("-1234567"), integer("200")], ["−1,234,567", "200"]);
        assert_eq!(Form::of(&DataType::Int64, "stored_bytes").show("3355443".to_owned(), 9), "3.20\u{a0}MiB");
        assert_eq!(Form::of(&DataType::Int64, "cpu_percent").show("12".to_owned(), 9), "12\u{a0}%");
        assert_eq!(binary("\\x00ff"), "\\x00ff");
        assert_eq!(binary(&format!("\\x{}", "ab".repeat(300))), "\\xabababababababab… (300 bytes)");
    }

    #[test]
    fn long_texts_say_how_long_they_are() {
        let long = "x".repeat(1 << 20);
        assert!(cut(&long, 2_000).ends_with("x… (1,048,576 characters)"));
        assert_eq!(cut("at a\n  at b\u{1b}[0m\r\n", 2_000), "at a\n  at b\\x1b[0m\n");
    }

    #[test]
    fn times_are_no_finer_than_they_have_to_be() {
        let shortened = |texts: &[&str]| {
            let mut rows: Vec<_> =
                texts.iter().map(|text| vec![Some((*text).to_owned())]).chain([vec![None]]).collect();
            shorten_times(&mut rows, 0);
            rows.into_iter().filter_map(|mut row| row.remove(0)).collect::<Vec<_>>()
        };
        assert_eq!(
            shortened(&["2026-11-21 03:00:00+00", "2026-11-21 03:15:00+00"]),
            ["2026-11-21 03:00", "2026-11-21 03:15"]
        );
        assert_eq!(
            shortened(&["2026-11-21 03:00:01", "2026-11-21 03:15:00"]),
            ["2026-11-21 03:00:01", "2026-11-21 03:15:00"]
        );
        // A day on which the clock is set has two offsets, and both are needed.
        let both = ["2026-03-29 01:59:00+01", "2026-03-29 03:00:00+02"];
        assert_eq!(shortened(&both), ["2026-03-29 01:59+01", "2026-03-29 03:00+02"]);
        assert_eq!(
            shortened(&[
                "2026-11-21 03:00:01.123456789+05:30",
                "2026-11-21 03:00:02.5+05:30",
                "2026-11-21 03:00:03+05:30"
            ]),
            ["2026-11-21 03:00:01.123", "2026-11-21 03:00:02.500", "2026-11-21 03:00:03.000"]
        );
        for kept in [
            ["2026-11-21", "2026-11-22"],
            ["infinity", "2026-11-21 03:00:00"],
            ["0044-03-15 12:00:00 BC", "2026-11-21 03:00:00"],
        ] {
            assert_eq!(shortened(&kept), kept);
        }
    }
}
