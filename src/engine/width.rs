//! How wide the rows are that a statement's joins repeat, so that large lists are copied few at a time.
//!
//! A join copies a list or a map for each row that it stands beside, outside the memory pool. What goes into joins is therefore measured;
//! where a batch of copies would be too large, the statement starts again with smaller batches. One that makes lists has small ones at first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::unnest::UnnestExec;
use futures::{StreamExt, TryStreamExt};

use super::bounds::count;
use super::tap::{Tap, TapExec, TappedRows};
use crate::error::{Error, Kind};

/// The most bytes of copies in one batch: several batches are alive at a time.
const MAX_COPIED_BYTES: usize = 128 << 20;

/// A batch of long texts has a quarter of that, since several operators have copies of one.
const TEXT_COPIES: usize = 4;

/// The most bytes of texts in one batch that reaches what copies them.
pub(super) const MAX_TEXT_BYTES: usize = MAX_COPIED_BYTES / TEXT_COPIES;

/// The rows of a batch in a statement that makes lists: as many as lets lists of 128 KiB pass without a new start.
const LIST_BATCH_ROWS: usize = 1 << 10;

/// An element that became a row.
const ELEMENT_BYTES: usize = 16;

/// The name of the operator that watches.
const WATCHED: &str = "WatchedExec";

/// The calls whose results may be of any length and are copied, in the order of their names.
const LIST_MAKERS: &[&str] = &[
    "array_agg",
    "array_append",
    "array_concat",
    "array_prepend",
    "array_repeat",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_resize",
    "array_union",
    "generate_series",
    "make_array",
    "range",
    "string_to_array",
];

/// The widest row that has gone into a join of one statement, and how many rows its batches may have.
#[derive(Debug, Clone)]
pub(super) struct Width {
    batch_rows: usize,
    /// Whether the statement makes lists: their rows are wide, and batches small from the start.
    makes_lists: bool,
    widest_bytes: Arc<AtomicUsize>,
}

impl Width {
    /// What a statement starts with, whose batches have `usual` rows.
    pub fn of(plan: &LogicalPlan, usual: usize) -> Self {
        let makers = count(plan, |expr| match expr {
            Expr::ScalarFunction(call) => usize::from(makes_lists(call.func.name())),
            Expr::AggregateFunction(call) => usize::from(makes_lists(call.func.name())),
            _ => 0,
        });
        match makers {
            Ok(0) => Self::with_rows(usual, false),
            _ => Self::with_rows(LIST_BATCH_ROWS.min(usual), true),
        }
    }

    fn with_rows(batch_rows: usize, makes_lists: bool) -> Self {
        Self { batch_rows, makes_lists, widest_bytes: Arc::default() }
    }

    /// The most rows of a batch.
    pub fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    /// What to start again with when the statement failed; `None` when it failed for another reason.
    pub fn narrower(&self) -> Option<Self> {
        let widest_bytes = self.widest_bytes.load(Ordering::Relaxed);
        let rows = (MAX_COPIED_BYTES / widest_bytes.max(1)).max(1);
        (widest_bytes > 0 && rows < self.batch_rows).then(|| Self::with_rows(rows, self.makes_lists))
    }

    /// Looks at the texts of so many rows: fails where a full batch of such rows would take too much, and smaller ones can be had.
    pub fn check_texts(&self, bytes: usize, rows: usize) -> Result<()> {
        let of_row = bytes / rows.max(1);
        let of_batch = of_row.saturating_mul(self.batch_rows);
        if of_batch <= MAX_COPIED_BYTES {
            return Ok(());
        }
        self.widest_bytes.fetch_max(of_row.saturating_mul(TEXT_COPIES), Ordering::Relaxed);
        match self.narrower() {
            Some(_) => Err(too_wide(of_batch)),
            None => Ok(()),
        }
    }

    /// The plan with what goes into its joins measured; batches below the lowest joins may have `rows`.
    pub fn watch(&self, plan: Arc<dyn ExecutionPlan>, rows: usize) -> Result<Arc<dyn ExecutionPlan>> {
        let rows_below = rows.min(LIST_BATCH_ROWS);
        // The value of a subquery is copied wherever its expression stands.
        let has_subqueries = plan.exists(|plan| Ok(plan.is::<ScalarSubqueryExec>()))?;
        plan.transform_up(|plan| {
            let is_subquery = plan.is::<ScalarSubqueryExec>();
            let unnest = plan.downcast_ref::<UnnestExec>();
            if !is_subquery && unnest.is_none() && !plan.name().contains("Join") {
                return Ok(Transformed::no(plan));
            }
            let lists = unnest.map_or(&[][..], UnnestExec::list_column_indices);
            let unnested = lists.iter().map(|list| list.index_in_input_schema).collect::<Vec<_>>();
            let watched = |(at, child): (usize, &Arc<dyn ExecutionPlan>)| match is_subquery && at == 0 {
                true => child.clone(),
                false => {
                    let is_lowest = self.makes_lists && (is_subquery || !has_subqueries) && !has_watched(child);
                    self.watched(child, &unnested, is_lowest.then_some(rows_below))
                }
            };
            let children = plan.children().into_iter().enumerate().map(watched).collect();
            plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
                .map(Transformed::yes)
        })
        .data()
    }

    fn watched(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        unnested: &[usize],
        rows_below: Option<usize>,
    ) -> Arc<dyn ExecutionPlan> {
        let schema = input.schema();
        let is_copied = |at: &usize| !unnested.contains(at) && is_copied(schema.field(*at).data_type());
        let copied = (0..schema.fields().len()).filter(is_copied).collect::<Vec<_>>();
        let unnested = unnested.to_vec();
        if !self.makes_lists && copied.is_empty() && unnested.is_empty() {
            return input.clone();
        }
        TapExec::above(input.clone(), Watched { width: self.clone(), copied, unnested, rows_below })
    }

    /// The batch in pieces whose copies are within the limit.
    fn pieces(&self, batch: RecordBatch, copied: &[usize], unnested: &[usize]) -> Result<Vec<RecordBatch>> {
        let rows = batch.num_rows();
        let bytes =
            |start, len| copied.iter().map(|at| bytes_of(batch.column(*at).as_ref(), start, len)).sum::<usize>();
        let mut most = self.batch_rows.max(1);
        if !unnested.is_empty() {
            let copies = |row| unnested.iter().map(|at| elements(batch.column(*at).as_ref(), row)).max().unwrap_or(0);
            let made = |row| (bytes(row, 1) + ELEMENT_BYTES).saturating_mul(copies(row));
            let widest = (0..rows).map(made).max().unwrap_or(0);
            if widest > MAX_COPIED_BYTES {
                return Err(too_wide(widest));
            }
            most = most.min(MAX_COPIED_BYTES / widest.max(1));
        } else if bytes(0, rows).saturating_mul(self.batch_rows) > MAX_COPIED_BYTES {
            let widest = (0..rows).map(|row| bytes(row, 1)).max().unwrap_or(0);
            self.widest_bytes.fetch_max(widest, Ordering::Relaxed);
            if self.narrower().is_some() {
                return Err(too_wide(widest.saturating_mul(self.batch_rows)));
            }
        }
        if rows <= most {
            return Ok(vec![batch]);
        }
        Ok((0..rows).step_by(most).map(|start| batch.slice(start, most.min(rows - start))).collect())
    }
}

/// The same context with batches of another size: making a list takes time for each batch.
fn with_batch_rows(context: &TaskContext, rows: usize) -> Arc<TaskContext> {
    Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        context.session_config().clone().with_batch_size(rows),
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    ))
}

fn has_watched(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.name() == WATCHED || plan.children().into_iter().any(has_watched)
}

fn makes_lists(name: &str) -> bool {
    LIST_MAKERS.binary_search(&name).is_ok()
}

fn too_wide(bytes: usize) -> DataFusionError {
    let message =
        format!("lists or texts beside many rows would take {bytes} bytes of copies; the limit is {MAX_COPIED_BYTES}");
    let error = Error::new(Kind::TooLarge, message).with_hint("join first and make the list from the result");
    DataFusionError::External(Box::new(error))
}

/// Whether repeating a value copies it: a view of a text is not.
fn is_copied(data_type: &DataType) -> bool {
    data_type.is_nested()
        || matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary)
}

/// How many rows a row becomes by its list.
fn elements(array: &dyn Array, row: usize) -> usize {
    match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value_length(row) as usize,
        DataType::LargeList(_) => array.as_list::<i64>().value_length(row) as usize,
        DataType::FixedSizeList(_, length) => *length as usize,
        _ => 1,
    }
}

/// The bytes that a copy of so many rows takes.
pub(super) fn bytes_of(array: &dyn Array, start: usize, len: usize) -> usize {
    const VIEW_BYTES: usize = 16;
    fn between(offsets: &[i32], start: usize, len: usize) -> (usize, usize) {
        (offsets[start] as usize, (offsets[start + len] - offsets[start]) as usize)
    }
    fn between_large(offsets: &[i64], start: usize, len: usize) -> (usize, usize) {
        (offsets[start] as usize, (offsets[start + len] - offsets[start]) as usize)
    }
    let inside = |values: &dyn Array, (start, len)| bytes_of(values, start, len);
    match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            inside(lists.values().as_ref(), between(lists.value_offsets(), start, len))
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            inside(lists.values().as_ref(), between_large(lists.value_offsets(), start, len))
        }
        DataType::Map(..) => {
            let maps = array.as_map();
            inside(maps.entries(), between(maps.value_offsets(), start, len))
        }
        DataType::FixedSizeList(_, length) => {
            let length = *length as usize;
            inside(array.as_fixed_size_list().values().as_ref(), (start * length, len * length))
        }
        DataType::Struct(_) => {
            array.as_struct().columns().iter().map(|column| bytes_of(column.as_ref(), start, len)).sum()
        }
        DataType::Utf8 => between(array.as_string::<i32>().value_offsets(), start, len).1,
        DataType::LargeUtf8 => between_large(array.as_string::<i64>().value_offsets(), start, len).1,
        DataType::Binary => between(array.as_binary::<i32>().value_offsets(), start, len).1,
        DataType::LargeBinary => between_large(array.as_binary::<i64>().value_offsets(), start, len).1,
        data_type => data_type.primitive_width().unwrap_or(VIEW_BYTES) * len,
    }
}

/// Passes its input on in pieces that a join may copy.
#[derive(Debug)]
struct Watched {
    width: Width,
    /// The columns that the join copies.
    copied: Vec<usize>,
    /// The lists that become rows, where that is what follows.
    unnested: Vec<usize>,
    /// The rows of a batch below, where nothing copies lists and batches need not be small.
    rows_below: Option<usize>,
}

impl Tap for Watched {
    fn name(&self) -> &'static str {
        WATCHED
    }

    fn run(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
        _is_again: bool,
    ) -> Result<SendableRecordBatchStream> {
        let context = match self.rows_below {
            Some(rows) => with_batch_rows(&context, rows),
            None => context,
        };
        input.execute(partition, context)
    }

    fn pass(&self, rows: SendableRecordBatchStream, _context: &TaskContext) -> TappedRows {
        let (width, copied, unnested) = (self.width.clone(), self.copied.clone(), self.unnested.clone());
        let pieces = rows.map(move |batch| {
            width.pieces(batch?, &copied, &unnested).map(|pieces| futures::stream::iter(pieces).map(Ok))
        });
        pieces.try_flatten().boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{ArrayRef, Int64Array, ListArray, StringViewArray};
    use datafusion::arrow::datatypes::Int64Type;

    fn batch(lengths: &[usize]) -> RecordBatch {
        let lists = lengths.iter().map(|length| Some((0..*length as i64).map(Some)));
        let lists = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)) as ArrayRef;
        let text = Arc::new(StringViewArray::from_iter_values(lengths.iter().map(|_| "text"))) as ArrayRef;
        RecordBatch::try_from_iter([("lists", lists), ("text", text)]).expect("a batch")
    }

    #[test]
    fn the_table_of_list_makers_is_sorted_by_name() {
        assert!(LIST_MAKERS.is_sorted());
    }

    fn rows(pieces: &[RecordBatch]) -> Vec<usize> {
        pieces.iter().map(RecordBatch::num_rows).collect()
    }

    #[test]
    fn bytes_are_those_of_the_rows_asked_for() {
        let batch = batch(&[3, 0, 5]);
        let lists = batch.column(0);
        assert_eq!(
            [(0, 3), (0, 1), (1, 1), (2, 1)].map(|(start, len)| bytes_of(lists.as_ref(), start, len)),
            [64, 24, 0, 40]
        );
        assert_eq!(bytes_of(lists.slice(2, 1).as_ref(), 0, 1), 40);
        assert_eq!(bytes_of(&Int64Array::from(vec![1, 2]), 1, 1), 8);
    }

    #[test]
    fn a_join_starts_again_with_as_few_rows_as_its_widest_allows() {
        let width = Width::with_rows(LIST_BATCH_ROWS, true);
        assert_eq!(rows(&width.pieces(batch(&vec![4; 2_500]), &[0], &[]).expect("small")), [1_024, 1_024, 452]);
        assert!(width.narrower().is_none());
        width.pieces(batch(&[1, 1 << 20]), &[0], &[]).expect_err("8 MiB beside 1,024 rows");
        let narrower = width.narrower().expect("fewer rows");
        assert_eq!(narrower.batch_rows(), 16);
        assert_eq!(rows(&narrower.pieces(batch(&[1, 1 << 20]), &[0], &[]).expect("within")), [2]);
        assert!(narrower.narrower().is_none());
    }

    #[test]
    fn a_statement_of_long_texts_starts_again_with_batches_of_few_rows() {
        let width = Width::with_rows(8_192, false);
        width.check_texts(8_192 * 100, 8_192).expect("short ones");
        width.check_texts(1 << 20, 8_192).expect("one long one");
        assert!(width.narrower().is_none());
        width.check_texts(64 << 20, 64).expect_err("a megabyte each");
        let narrower = width.narrower().expect("fewer rows");
        assert_eq!(narrower.batch_rows(), 32);
        narrower.check_texts(32 << 20, 32).expect("within");
        let narrowest = Width::with_rows(1, false);
        narrowest.check_texts(1 << 30, 1).expect("no fewer than one row");
    }

    #[test]
    fn a_list_that_becomes_rows_repeats_what_stands_beside_it() {
        let width = Width::with_rows(LIST_BATCH_ROWS, true);
        let both = |lengths: &[usize]| {
            let batch = batch(lengths);
            RecordBatch::try_from_iter([("a", batch.column(0).clone()), ("b", batch.column(0).clone())]).expect("both")
        };
        assert_eq!(rows(&width.pieces(both(&[3_000, 3_000]), &[0], &[1]).expect("72 MB each")), [1, 1]);
        width.pieces(both(&[5_000]), &[0], &[1]).expect_err("200 MB");
        width.pieces(both(&[5_000]), &[], &[1]).expect("nothing beside it");
    }
}
