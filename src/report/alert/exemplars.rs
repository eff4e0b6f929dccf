//! Trace ids of the rows that show what is wrong.

use std::ops::ControlFlow;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::notice::Notice;
use crate::report::definition::AlertRule;
use crate::report::frame::Frame;

/// The columns that are looked for when a rule names none.
const USUAL_COLUMNS: [&str; 2] = ["trace_id", "exemplar_trace_ids"];

/// Hex digits of a trace id.
const TRACE_ID_DIGITS: usize = 32;

/// The first few trace ids of `rows`, each once. A column may hold an id, a list of them, or text with several of them; what is no
/// trace id is passed over.
pub(super) fn of_rows(rule: &AlertRule, frame: &Frame, rows: &[usize]) -> Vec<String> {
    let named = rule.exemplars.as_deref();
    let place = match named {
        Some(name) => frame.schema.index_of(name).ok(),
        None => USUAL_COLUMNS.iter().find_map(|name| frame.schema.index_of(name).ok()),
    };
    let mut found = Vec::new();
    let Some(place) = place else { return found };
    // Rows come in the order of the result, and so do its batches.
    let mut rows = rows.iter().copied().peekable();
    let mut first = 0;
    for batch in &frame.batches {
        let end = first + batch.num_rows();
        while let Some(row) = rows.next_if(|row| *row < end) {
            if add_ids(batch.column(place), row - first, &mut found).is_break() {
                return found;
            }
        }
        first = end;
    }
    found
}

/// Adds the ids in one value; breaks when there are enough.
fn add_ids(column: &ArrayRef, row: usize, found: &mut Vec<String>) -> ControlFlow<()> {
    if column.is_null(row) {
        return ControlFlow::Continue(());
    }
    let list = match column.data_type() {
        DataType::List(_) => Some(column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Some(column.as_list::<i64>().value(row)),
        DataType::ListView(_) => Some(column.as_list_view::<i32>().value(row)),
        DataType::LargeListView(_) => Some(column.as_list_view::<i64>().value(row)),
        DataType::FixedSizeList(..) => Some(column.as_fixed_size_list().value(row)),
        _ => None,
    };
    match list {
        Some(list) => (0..list.len()).try_for_each(|item| add_ids(&list, item, found)),
        None => {
            let options = FormatOptions::default();
            let Ok(formatter) = ArrayFormatter::try_new(column, &options) else { return ControlFlow::Continue(()) };
            ids_in(&formatter.value(row).to_string()).try_for_each(|id| {
                if !found.contains(&id) {
                    found.push(id);
                }
                match found.len() < Notice::MOST_EXEMPLARS {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })
        }
    }
}

/// The trace ids in a text, whatever stands between them: a comma-separated list, an array as PostgreSQL or JSON writes it.
fn ids_in(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let is_id = |word: &&str| word.len() == TRACE_ID_DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    words.filter(is_id).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::builder::{ListBuilder, StringBuilder};
    use datafusion::arrow::array::{FixedSizeBinaryArray, RecordBatch, StringArray};

    use super::*;
    use crate::report::alert::state::tests::rule;

    fn id(byte: u8) -> String {
        format!("{byte:02x}").repeat(16)
    }

    fn frame(name: &str, columns: Vec<ArrayRef>) -> Frame {
        let batches: Vec<_> = columns
            .into_iter()
            .map(|column| RecordBatch::try_from_iter_with_nullable([(name, column, true)]).expect("a batch"))
            .collect();
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        Frame { schema: batches[0].schema(), batches, rows }
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn ids_are_found_in_any_text() {
        let (a, b) = (id(1), id(0xab));
        for (text, expected) in [
            (a.clone(), vec![a.clone()]),
            (format!("{a},{b}"), vec![a.clone(), b.clone()]),
            (format!("{{{a}, {b}}}"), vec![a.clone(), b.clone()]),
            (format!("[\"{a}\",\"{}\"]", b.to_uppercase()), vec![a.clone(), b.clone()]),
            (format!("{a}0"), vec![]),
            ("<script>".to_owned(), vec![]),
            (String::new(), vec![]),
        ] {
            assert_eq!(ids_in(&text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn the_first_five_ids_of_the_rows_are_taken_each_once() {
        let ids: Vec<String> = (0..9).map(id).collect();
        let some = |places: &[usize]| texts(&places.iter().map(|at| Some(ids[*at].as_str())).collect::<Vec<_>>());
        let frame = frame("trace_id", vec![some(&[0, 0, 1]), texts(&[None, Some("none")]), some(&[2, 3, 4, 5, 6])]);
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(of_rows(&rule(1, 1, 1), &frame, &all), ids[..5]);
        assert_eq!(of_rows(&rule(1, 1, 1), &frame, &[1, 4, 9]), [ids[0].clone(), ids[6].clone()]);
        assert_eq!(of_rows(&rule(1, 1, 1), &frame, &[]), [""; 0]);
    }

    #[test]
    fn lists_bytes_and_named_columns_are_read() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some(id(1)), None, Some(id(2))]);
        lists.append_null();
        let lists = frame("exemplar_trace_ids", vec![Arc::new(lists.finish())]);
        assert_eq!(of_rows(&rule(1, 1, 1), &lists, &[0, 1]), [id(1), id(2)]);
        let bytes = FixedSizeBinaryArray::try_from_iter([[3u8; 16]].iter()).expect("bytes");
        let bytes = frame("worst", vec![Arc::new(bytes)]);
        assert_eq!(of_rows(&rule(1, 1, 1), &bytes, &[0]), [""; 0], "nothing names the column");
        let named = |name: &str| AlertRule { exemplars: Some(name.to_owned()), ..rule(1, 1, 1) };
        assert_eq!(of_rows(&named("worst"), &bytes, &[0]), [id(3)]);
        assert_eq!(of_rows(&named("other"), &bytes, &[0]), [""; 0], "the check of the report tells of it");
    }
}
