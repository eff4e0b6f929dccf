//! What rows are called in a chart, and whether those of one name may be added up.
//!
//! The sum of two counts is a count; the sum of two quantiles, rates or shares is nothing. A chart adds up only what its column's name and
//! type say is a count or a total, and tells all other rows apart by the columns that name them. Knows columns, not how they are drawn.

use std::collections::HashMap;

use chrono_tz::Tz;
use datafusion::arrow::datatypes::DataType;

use super::moment;
use crate::error::Result;
use crate::report::frame::{Frame, value_type};

/// What a name is called that is NULL.
pub(super) const NO_NAME: &str = "(none)";
/// Between the parts of a name.
const BETWEEN: &str = " · ";
/// Words in the name of a column whose values never add up.
const NO_TOTALS: [&str; 27] = [
    "avg",
    "average",
    "mean",
    "median",
    "min",
    "max",
    "least",
    "greatest",
    "first",
    "last",
    "quantile",
    "percentile",
    "rate",
    "ratio",
    "share",
    "percent",
    "pct",
    "per",
    "a",
    "each",
    "change",
    "burn",
    "score",
    "age",
    "days",
    "stddev",
    "speed",
];
/// Words in the name of a column of fractions whose values do add up.
const TOTALS: [&str; 14] = [
    "total", "sum", "count", "number", "calls", "requests", "errors", "spans", "traces", "rows", "bytes", "wasted",
    "spent", "cost",
];

/// Whether the sum of several values of a column means something.
pub(super) fn adds_up(column: &str, kind: &DataType) -> bool {
    let column = column.to_lowercase();
    let words: Vec<&str> = column.split(|c: char| !c.is_alphanumeric()).collect();
    let is_quantile = |word: &str| {
        word.strip_prefix('p').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    if words.iter().any(|word| NO_TOTALS.contains(word) || is_quantile(word)) {
        return false;
    }
    kind.is_integer() || words.iter().any(|word| TOTALS.contains(word))
}

/// Each different text once, in the order in which they come, and which of them each row has.
pub(super) fn interned(texts: impl IntoIterator<Item = String>) -> (Vec<String>, Vec<usize>) {
    let mut names: Vec<String> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let rows = texts.into_iter().map(|text| {
        *known.entry(text).or_insert_with_key(|text| {
            names.push(text.clone());
            names.len() - 1
        })
    });
    let rows = rows.collect();
    (names, rows)
}

/// A name and what tells it from others of the same.
pub(super) fn joined(name: &str, more: &str) -> String {
    match (name.is_empty(), more.is_empty()) {
        (true, _) => more.to_owned(),
        (_, true) => name.to_owned(),
        _ => format!("{name}{BETWEEN}{more}"),
    }
}

/// What tells rows apart that share a `key`: of the columns that are not `taken`, the values of the first texts and, with `by_times`, times
/// that do; a text for each row. `None` when no two rows share one. Rows that nothing tells apart keep one name.
pub(super) fn told_apart(
    frame: &Frame,
    zone: Tz,
    keys: Vec<usize>,
    taken: &[&str],
    by_times: bool,
) -> Result<Option<Vec<String>>> {
    let all = keys.len();
    let mut found = Classes::of(keys);
    if found.count == all {
        return Ok(None);
    }
    let mut names = vec![String::new(); all];
    for texts in [true, false] {
        if !texts && !by_times {
            continue;
        }
        for field in frame.schema.fields() {
            let kind = value_type(field.data_type());
            let is_wanted = match texts {
                true => is_text(kind) && !is_id(field.name()),
                false => matches!(kind, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64),
            };
            if !is_wanted || taken.contains(&field.name().as_str()) || found.count == all {
                continue;
            }
            let values = if texts { named(frame, field.name())? } else { times(frame, zone, field.name(), kind)? };
            let finer = found.refined(&values);
            if finer.count > found.count {
                found = finer;
                names.iter_mut().zip(values).for_each(|(name, value)| *name = joined(name, &value));
            }
        }
    }
    Ok(Some(names))
}

/// Numbers those names that come again: `cart`, `cart (2)`.
pub(super) fn numbered(names: Vec<String>) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let again = names.into_iter().map(|name| {
        let times = seen.entry(name.clone()).and_modify(|times| *times += 1).or_insert(1);
        if *times == 1 { name } else { format!("{name} ({times})") }
    });
    again.collect()
}

/// Which rows are not yet told apart: those of one class.
struct Classes {
    of_row: Vec<usize>,
    count: usize,
}

impl Classes {
    fn of(keys: Vec<usize>) -> Self {
        let mut known = HashMap::new();
        let of_row: Vec<usize> = keys
            .into_iter()
            .map(|key| {
                let next = known.len();
                *known.entry(key).or_insert(next)
            })
            .collect();
        Self { of_row, count: known.len() }
    }

    fn refined(&self, values: &[String]) -> Self {
        let mut known = HashMap::new();
        let of_row: Vec<usize> = self
            .of_row
            .iter()
            .zip(values)
            .map(|pair| {
                let next = known.len();
                *known.entry(pair).or_insert(next)
            })
            .collect();
        Self { count: known.len(), of_row }
    }
}

fn named(frame: &Frame, column: &str) -> Result<Vec<String>> {
    Ok(frame.texts(column)?.into_iter().map(|text| text.unwrap_or_else(|| NO_NAME.to_owned())).collect())
}

fn times(frame: &Frame, zone: Tz, column: &str, kind: &DataType) -> Result<Vec<String>> {
    let zone = if matches!(kind, DataType::Timestamp(_, Some(_))) { zone } else { Tz::UTC };
    let text = |at_ms: Option<i64>| at_ms.map_or_else(|| NO_NAME.to_owned(), |at_ms| moment::minute(at_ms, zone));
    Ok(frame.times_ms(column)?.into_iter().map(text).collect())
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean)
}

/// Whether a column's name says that it has ids of traces or spans: they tell rows apart, and tell people nothing.
fn is_id(column: &str) -> bool {
    ["id", "ids"].contains(&column.rsplit('_').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::*;

    use super::*;

    #[test]
    fn counts_and_totals_add_up_and_nothing_else_does() {
        let (int, float) = (DataType::Int64, DataType::Float64);
        for column in ["requests", "errors", "n", "estimated_bytes", "calls_before"] {
            assert!(adds_up(column, &int), "{column}");
        }
        for column in ["total_ms", "wasted_ms", "sum", "stored_bytes", "spans"] {
            assert!(adds_up(column, &float), "{column}");
        }
        for column in [
            "p95_ms",
            "avg_ms",
            "error_rate",
            "burn_1h",
            "wasted_ms_a_trace",
            "spans_per_day",
            "kept_days",
            "duration_ms",
            "y",
        ] {
            assert!(!adds_up(column, &float), "{column}");
        }
        for column in ["max_repeats", "p99_ns", "cpu_percent"] {
            assert!(!adds_up(column, &int), "{column}");
        }
    }

    fn frame() -> Frame {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("service", Arc::new(StringArray::from(vec!["cart", "cart", "cart", "web"]))),
            ("kind", Arc::new(StringArray::from(vec!["SERVER"; 4]))),
            ("trace_id", Arc::new(StringArray::from(vec!["1", "2", "3", "4"]))),
            ("operation", Arc::new(StringArray::from(vec![Some("get"), Some("put"), None, Some("get")]))),
            ("at", Arc::new(TimestampMillisecondArray::from(vec![0, 0, 60_000, 0]))),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
        let batch = batch.expect("a batch");
        Frame { schema: batch.schema(), rows: 4, batches: vec![batch] }
    }

    #[test]
    fn rows_of_one_name_are_told_apart_by_what_differs() {
        let told =
            |keys: [usize; 4], taken: &[&str]| told_apart(&frame(), Tz::UTC, keys.to_vec(), taken, true).expect("told");
        assert_eq!(told([0, 0, 0, 1], &["service"]).expect("shared"), ["get", "put", "(none)", "get"]);
        assert_eq!(told([0, 1, 2, 3], &["service"]), None);
        // Without the operation, times are what is left, and some rows stay alike.
        let by_time = told([0, 0, 0, 1], &["service", "operation"]).expect("shared");
        let (early, late) = ("1970-01-01 00:00", "1970-01-01 00:01");
        assert_eq!(by_time, [early, early, late, early]);
        assert_eq!(numbered(by_time)[..2], [early.to_owned(), format!("{early} (2)")]);
    }
}
