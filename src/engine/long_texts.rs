//! Texts that many rows share: what holds them counts them once, and a statement that meets long ones has batches of few rows.
//!
//! A join puts a text beside as many rows as there are, and none of them has a copy: a view of 16 bytes tells where it lies. Yet an aggregate copies
//! the text for each group that has it, and whatever gathers the rows of several batches may copy it for each row, and both ask the memory pool
//! afterwards, if at all: 8,192 rows with a text of a megabyte are 8 GiB. What holds batches, on the other hand, counts the whole buffer that a view
//! lies in for each batch, be it a dictionary that a file's batches share, so that a few small batches seem to fill all memory.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringViewArray, UInt32Array,
};
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, UInt16Type};
use datafusion::common::HashMap;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::sorts::sort::SortExec;
use futures::{StreamExt, TryStreamExt};

use super::tap::{Tap, TapExec, TappedRows};
use super::width::{MAX_TEXT_BYTES, Width};

/// The most bytes beside a column's own texts that a batch may keep alive: less is not worth a copy.
const MAX_IDLE_BYTES: usize = 256 << 10;
/// Texts up to this length need not be counted: 8,192 rows of them are a fourth of [`MAX_TEXT_BYTES`].
const SHORT_TEXT_BYTES: usize = 1 << 10;

/// The plan with texts measured on their way to what may copy them, and cut out of much larger buffers before they are held.
pub(super) fn measured(plan: Arc<dyn ExecutionPlan>, width: &Width) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        let width = match copies(plan.as_ref()) {
            true => Some(width),
            false if holds(plan.as_ref()) => None,
            false => return Ok(Transformed::no(plan)),
        };
        let children = plan.children().into_iter().map(|input| with_tap(input, width)).collect();
        plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep)).map(Transformed::yes)
    })
    .data()
}

/// Whether an operator may copy the texts that rows share.
fn copies(plan: &dyn ExecutionPlan) -> bool {
    ["AggregateExec", "FewGroupsExec", "FilterExec", "RepartitionExec"].contains(&plan.name())
}

/// Whether an operator holds batches. Those over whole traces take scans and nothing else.
fn holds(plan: &dyn ExecutionPlan) -> bool {
    let sorts = plan.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_none());
    sorts || (plan.name().contains("Join") && !plan.name().starts_with("Trace"))
}

fn with_tap(input: &Arc<dyn ExecutionPlan>, width: Option<&Width>) -> Arc<dyn ExecutionPlan> {
    let schema = input.schema();
    let is_view = |at: &usize| matches!(schema.field(*at).data_type(), DataType::Utf8View | DataType::BinaryView);
    let texts: Vec<usize> = (0..schema.fields().len()).filter(is_view).collect();
    match texts.is_empty() {
        true => input.clone(),
        false => TapExec::above(input.clone(), LongTexts { texts, width: width.cloned() }),
    }
}

/// Measures the texts of batches, and makes them compact.
#[derive(Debug)]
struct LongTexts {
    texts: Vec<usize>,
    /// Where rows that are too wide are told; `None` where a text beside many rows stays one.
    width: Option<Width>,
}

impl Tap for LongTexts {
    fn name(&self) -> &'static str {
        "LongTexts"
    }

    fn pass(&self, rows: SendableRecordBatchStream, _context: &TaskContext) -> TappedRows {
        let (texts, width) = (self.texts.clone(), self.width.clone());
        let pieces = rows.map(move |batch| -> Result<_> {
            let batch = batch?;
            let mut most_rows = batch.num_rows();
            if let Some(width) = &width {
                let bytes = text_bytes(&batch, &texts);
                width.check_texts(bytes, batch.num_rows())?;
                most_rows = rows_of_texts(bytes, batch.num_rows());
            }
            Ok(futures::stream::iter(pieces(compact(batch, &texts)?, most_rows)).map(Ok))
        });
        pieces.try_flatten().boxed()
    }
}

/// How many rows of a batch have so many bytes of texts that they may be copied at once.
fn rows_of_texts(bytes: usize, rows: usize) -> usize {
    match bytes <= MAX_TEXT_BYTES {
        true => rows,
        false => (MAX_TEXT_BYTES / (bytes / rows.max(1)).max(1)).max(1),
    }
}

/// The batch in pieces of so many rows: groups may come all at once.
fn pieces(batch: RecordBatch, most_rows: usize) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    if rows <= most_rows {
        return vec![batch];
    }
    let most_rows = most_rows.max(1);
    (0..rows).step_by(most_rows).map(|start| batch.slice(start, most_rows.min(rows - start))).collect()
}

/// The batch with its texts in buffers of their own where those that they lie in are much larger.
fn compact(batch: RecordBatch, texts: &[usize]) -> Result<RecordBatch> {
    let is_sparse = |at: &&usize| capacity(batch.column(**at).as_ref()) > MAX_IDLE_BYTES;
    if !texts.iter().any(|at| is_sparse(&at)) {
        return Ok(batch);
    }
    let (schema, mut columns, rows) = batch.into_parts();
    for at in texts {
        if let Some(column) = columns[*at].as_string_view_opt().map(compact_column).transpose()?.flatten() {
            columns[*at] = column;
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// The column with each text once, unless its buffers hold little else.
fn compact_column(column: &StringViewArray) -> Result<Option<ArrayRef>> {
    /// The longest text that lies in its view.
    const INLINE_BYTES: u32 = 12;
    let capacity = capacity(column);
    if capacity <= MAX_IDLE_BYTES {
        return Ok(None);
    }
    let (mut known, mut texts, mut bytes) = (HashMap::new(), Vec::new(), 0);
    let mut places = Vec::with_capacity(column.len());
    for (row, view) in column.views().iter().enumerate() {
        if column.is_null(row) {
            places.push(None);
            continue;
        }
        // Beyond the length and four letters, a view of a long text is where the text lies.
        let place = *known.entry(*view).or_insert_with(|| {
            texts.push(column.value(row));
            bytes += if *view as u32 > INLINE_BYTES { *view as u32 as usize } else { 0 };
            texts.len() as u32 - 1
        });
        places.push(Some(place));
    }
    if capacity <= bytes * 2 + MAX_IDLE_BYTES {
        return Ok(None);
    }
    let texts = StringViewArray::from_iter_values(texts);
    Ok(Some(take(&texts, &UInt32Array::from(places), None)?))
}

/// The bytes of the buffers that a column of views points into.
fn capacity(column: &dyn Array) -> usize {
    let buffers = column.as_string_view_opt().map(StringViewArray::data_buffers);
    buffers.into_iter().flatten().map(Buffer::capacity).sum()
}

/// The bytes of the texts of all rows, each as often as rows have it.
fn text_bytes(batch: &RecordBatch, texts: &[usize]) -> usize {
    texts.iter().map(|at| column_bytes(batch.column(*at).as_ref())).sum()
}

/// A scan may give places in a dictionary where its schema says views.
fn column_bytes(column: &dyn Array) -> usize {
    dictionary_bytes(column).unwrap_or_else(|| view_bytes(column))
}

/// The bytes of the texts that views show, each as often as it is shown.
pub(super) fn view_bytes(column: &dyn Array) -> usize {
    // A view begins with its text's length.
    let length = |view: &u128| *view as u32 as usize;
    match column.data_type() {
        DataType::Utf8View => column.as_string_view().views().iter().map(length).sum(),
        DataType::BinaryView => column.as_binary_view().views().iter().map(length).sum(),
        _ => 0,
    }
}

/// Where the longest text is short, what rows have if each has that one: they need no look then.
fn dictionary_bytes(column: &dyn Array) -> Option<usize> {
    let column = column.as_dictionary_opt::<UInt16Type>()?;
    let offsets = column.values().as_string_opt::<i32>()?.value_offsets();
    let length = |place: usize| (offsets[place + 1] - offsets[place]) as usize;
    let longest = (0..column.values().len()).map(length).max().unwrap_or(0);
    Some(match longest <= SHORT_TEXT_BYTES {
        true => longest * column.len(),
        false => column.keys_iter().flatten().map(length).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{DictionaryArray, StringArray, StringViewBuilder};

    #[test]
    fn a_text_counts_as_often_as_rows_have_it() {
        let texts = [Some("a text that is longer than a view"), None, Some("short")];
        let bytes = |column: ArrayRef| column_bytes(column.as_ref());
        assert_eq!(bytes(Arc::new(StringViewArray::from(texts.to_vec()))), 38);
        assert_eq!(bytes(Arc::new(StringViewArray::from(vec![texts[0]; 1_000]))), 33_000);
        let places = |values: &[&str], places: Vec<Option<u16>>| {
            DictionaryArray::<UInt16Type>::new(places.into(), Arc::new(StringArray::from(values.to_vec())))
        };
        let long = "x".repeat(SHORT_TEXT_BYTES + 1);
        assert_eq!(bytes(Arc::new(places(&["short", &long], vec![Some(1), None, Some(0)]))), long.len() + 5);
        assert_eq!(bytes(Arc::new(places(&["of no row", "short"], vec![Some(1), None, Some(1)]))), 27, "at most");
    }

    #[test]
    fn texts_are_cut_out_of_buffers_that_are_much_larger() {
        let texts: Vec<String> = (0..2_000).map(|n| format!("{n:01000}")).collect();
        let all = StringViewArray::from_iter_values(&texts);
        assert!(compact_column(&all).expect("looked at").is_none(), "two megabytes, all in use");
        let few = take(&all, &UInt32Array::from(vec![Some(7), None, Some(7), Some(1_999)]), None).expect("taken");
        let batch = RecordBatch::try_from_iter([("texts", few.clone())]).expect("a batch");
        let compacted = compact(batch, &[0]).expect("compacted");
        assert_eq!(compacted.column(0), &few);
        assert!(capacity(compacted.column(0).as_ref()) < 64 << 10);
    }

    #[test]
    fn texts_reach_what_copies_them_in_pieces() {
        assert_eq!(rows_of_texts(MAX_TEXT_BYTES, 8_192), 8_192);
        assert_eq!(rows_of_texts(8_000 << 20, 8_000), MAX_TEXT_BYTES >> 20);
        assert_eq!(rows_of_texts(usize::MAX, 3), 1);
        assert_eq!(rows_of_texts(0, 0), 0);
        let column: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..10).map(|n| n.to_string())));
        let batch = RecordBatch::try_from_iter([("texts", column)]).expect("a batch");
        let rows = |most| pieces(batch.clone(), most).iter().map(RecordBatch::num_rows).collect::<Vec<_>>();
        assert_eq!((rows(10), rows(4), rows(0).len()), (vec![10], vec![4, 4, 2], 10));
    }

    #[test]
    fn many_rows_of_one_long_text_keep_it_once() {
        let mut views = StringViewBuilder::new();
        let block = views.append_block(vec![b'x'; 16 << 20].into());
        for row in 0..1_000 {
            views.try_append_view(block, row % 2, 2 << 20).expect("within the block");
        }
        let column = compact_column(&views.finish()).expect("compacted").expect("most is idle");
        assert!(capacity(column.as_ref()) < 5 << 20, "{}", capacity(column.as_ref()));
        assert_eq!(column.as_string_view().value(999).len(), 2 << 20);
    }
}
