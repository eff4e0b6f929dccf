//! The rows of a page.

use datafusion::arrow::array::{AsArray, Float64Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use maud::{Markup, html};

use super::{paragraph, rows};
use crate::error::{Error, Result};
use crate::render::{CellStyle, is_number};
use crate::report::frame::value_type;
use crate::report::output::chart::{grouped, number, plain};
use crate::report::output::page::Page;

/// Rows on a page: more nobody reads, and a phone could not show.
const MAX_ROWS: usize = 1_000;
const MAX_COLUMNS: usize = 60;
/// Characters of a cell, and of all of them.
const MAX_CELL: usize = 2_000;
const MAX_CHARS: usize = 4 << 20;

/// How the cells of a column look.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Time,
    Integer,
    /// With so many decimals.
    Float(usize),
    /// Other numbers: as they are.
    Number,
}

/// Rows as texts; `None` for NULL.
struct Cells {
    rows: Vec<Vec<Option<String>>>,
}

pub(super) fn section(page: &Page<'_>) -> Result<Markup> {
    Ok(html! {
        section #rows aria-labelledby="rows-title" {
            h2 #rows-title { "Rows" }
            @if page.frame.rows == 0 {
                p { "The report has no rows." }
            } @else {
                (table(page)?)
            }
        }
    })
}

fn table(page: &Page<'_>) -> Result<Markup> {
    let fields: Vec<_> = page.frame.schema.fields().iter().take(MAX_COLUMNS).collect();
    let kinds: Vec<Kind> = (0..fields.len()).map(|at| kind(page, at)).collect::<Result<_>>()?;
    let cells = cells(page, &kinds)?;
    let caption = caption(page, cells.rows.len() as u64);
    Ok(html! {
        div.scroll tabindex="0" role="region" aria-label="Rows of the report" {
            table {
                caption { (caption) }
                thead {
                    tr {
                        @for (field, kind) in fields.iter().zip(&kinds) {
                            th scope="col" class=[class(*kind, false)] { (plain(field.name())) }
                        }
                    }
                }
                tbody {
                    @for row in &cells.rows {
                        tr {
                            @for (cell, kind) in row.iter().zip(&kinds) {
                                @match cell {
                                    Some(text) => td class=[class(*kind, false)] { (text) },
                                    None => td class=[class(*kind, true)] { "–" },
                                }
                            }
                        }
                    }
                }
            }
        }
    })
}

fn caption(page: &Page<'_>, shown: u64) -> String {
    let columns = page.frame.schema.fields().len();
    let of_columns = match columns > MAX_COLUMNS {
        true => format!(" The first {MAX_COLUMNS} of {} columns are shown.", grouped(&columns.to_string())),
        false => String::new(),
    };
    match page.frame.rows - shown {
        0 => format!("{}.{of_columns}", rows(shown)),
        left_out => {
            format!(
                "The first {} of {}; {} more are not shown. {}{of_columns}",
                grouped(&shown.to_string()),
                rows(page.frame.rows),
                grouped(&left_out.to_string()),
                page.where_all_are()
            )
        }
    }
}

fn class(kind: Kind, is_null: bool) -> Option<&'static str> {
    match (kind, is_null) {
        (Kind::Text, false) => None,
        (Kind::Text, true) => Some("null"),
        (Kind::Time, false) => Some("t"),
        (Kind::Time, true) => Some("t null"),
        (_, false) => Some("n"),
        (_, true) => Some("n null"),
    }
}

/// How a column is shown: one of floating-point numbers with as many decimals as its greatest needs.
fn kind(page: &Page<'_>, column: usize) -> Result<Kind> {
    let data_type = value_type(page.frame.schema.field(column).data_type()).clone();
    Ok(match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let mut greatest = 0.0_f64;
            let mut are_whole = true;
            for batch in &page.frame.batches {
                let values = floats(batch, column)?;
                for value in values.iter().flatten().filter(|value| value.is_finite()) {
                    greatest = greatest.max(value.abs());
                    are_whole &= value.fract() == 0.0;
                }
            }
            Kind::Float(if are_whole { 0 } else { decimals(greatest) })
        }
        kind if kind.is_integer() => Kind::Integer,
        kind if is_number(&kind) => Kind::Number,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Kind::Time,
        _ => Kind::Text,
    })
}

/// Five digits for the greatest value of a column.
fn decimals(greatest: f64) -> usize {
    let digits_before = greatest.max(1e-9).log10().floor() as i64 + 1;
    (5 - digits_before).clamp(1, 9) as usize
}

fn floats(batch: &RecordBatch, column: usize) -> Result<Float64Array> {
    let values = cast(batch.column(column), &DataType::Float64)
        .map_err(|error| Error::internal(format!("a column of numbers cannot be read: {error}")))?;
    Ok(values.as_primitive::<Float64Type>().clone())
}

/// The texts of the first rows: as many as a page may have.
fn cells(page: &Page<'_>, kinds: &[Kind]) -> Result<Cells> {
    let style = CellStyle::new(&page.frame.schema, page.zone.name())?;
    let mut shown = Cells { rows: Vec::new() };
    let mut chars = 0;
    for batch in &page.frame.batches {
        let batch = batch.slice(0, batch.num_rows().min(MAX_ROWS - shown.rows.len()));
        let values = style.cells(&batch)?;
        let numbers = kinds.iter().enumerate().map(|(at, kind)| match kind {
            Kind::Float(_) => floats(&batch, at).map(Some),
            _ => Ok(None),
        });
        let numbers = numbers.collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let cell = |at: usize| -> Result<Option<String>> {
                if values.is_null(row, at) {
                    return Ok(None);
                }
                Ok(Some(match (kinds[at], &numbers[at]) {
                    (Kind::Float(decimals), Some(numbers)) => float(numbers.value(row), decimals),
                    (Kind::Integer, _) => integer(&values.text(row, at)?),
                    _ => cut(&values.text(row, at)?),
                }))
            };
            let texts = (0..kinds.len()).map(cell).collect::<Result<Vec<_>>>()?;
            chars += texts.iter().flatten().map(String::len).sum::<usize>();
            if chars > MAX_CHARS && !shown.rows.is_empty() {
                return Ok(shown);
            }
            shown.rows.push(texts);
        }
        if shown.rows.len() == MAX_ROWS {
            break;
        }
    }
    Ok(shown)
}

/// A number with the decimals of its column; one that they would make nothing of, as a power of ten.
fn float(value: f64, decimals: usize) -> String {
    let is_lost = value != 0.0 && value.abs() < 0.5 * 10f64.powi(-(decimals as i32));
    number(value, if is_lost { usize::MAX } else { decimals })
}

fn integer(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(digits) => format!("−{}", grouped(digits)),
        None => grouped(text),
    }
}

/// A text of data: harmless, with its lines, and not too long.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CELL) {
        Some((end, _)) => {
            let chars = grouped(&text.chars().count().to_string());
            format!("{}… ({chars} characters)", paragraph(&text[..end]))
        }
        None => paragraph(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_column_line_up() {
        assert_eq!([0.0, 0.004, 0.5, 12.0, 1_234.5, 1e9].map(decimals), [9, 7, 5, 3, 1, 1]);
        assert_eq!(float(1_234.567, 1), "1234.6");
        assert_eq!(float(123_456.0, 1), "123,456.0");
        assert_eq!(float(1e-9, 3), "1e-9");
        assert_eq!(float(f64::NAN, 3), "NaN");
        assert_eq!([integer("-1234567"), integer("200")], ["−1,234,567", "200"]);
    }

    #[test]
    fn long_texts_say_how_long_they_are() {
        let long = "x".repeat(1 << 20);
        assert!(cut(&long).ends_with("x… (1,048,576 characters)"));
        assert_eq!(cut("at a\n  at b\u{1b}[0m\r\n"), "at a\n  at b\\x1b[0m\n");
    }
}
