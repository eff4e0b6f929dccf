//! One partition of trees at work: chunk by chunk, and of a chunk a bounded number of rows at a time.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ListArray, RecordBatch, UInt32Array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::BaselineMetrics;

use super::chunks::Chunks;
use super::local::{Spans, batch};
use super::parts::{Chunk, Passing};
use super::tree::{Given, TraceTree};
use super::tree_bytes::{bytes_per_span, most_bytes_per_span};
use super::tree_columns::TreeColumn;
use super::tree_made::Made;

/// The most names in the paths of a batch, of which this many take 4 MiB.
const BATCH_PATH_NAMES: usize = 256 << 10;

/// What a name in a path takes: a view of the text, and its row.
const PATH_NAME_BYTES: usize = 20;

pub(super) struct Grower {
    tree: Arc<TraceTree>,
    wanted: Vec<TreeColumn>,
    chunks: Chunks,
    reservation: MemoryReservation,
    batch_rows: usize,
    current: Option<Grown>,
    metrics: BaselineMetrics,
}

/// A chunk with its columns, of which the rows before `next` have been given.
struct Grown {
    /// What the trees were made of.
    spans: RecordBatch,
    /// What is given of the spans beside it.
    passing: Passing,
    made: Made,
    next: usize,
    bytes: usize,
}

impl Grower {
    pub fn new(
        tree: Arc<TraceTree>,
        chunks: Chunks,
        reservation: MemoryReservation,
        batch_rows: usize,
        metrics: BaselineMetrics,
    ) -> Self {
        let wanted = tree.given.iter().filter_map(|given| given.made()).collect();
        Self { tree, wanted, chunks, reservation, batch_rows, current: None, metrics }
    }

    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let at_hand = match &mut self.current {
                Some(grown) => grown.passing.at_hand().await?,
                None => 0,
            };
            if at_hand > 0
                && let Some(batch) = self.give(at_hand)?
            {
                self.metrics.record_output(batch.num_rows());
                return Ok(Some(batch));
            }
            self.current = None;
            self.reservation.free();
            let Some(chunk) = self.chunks.next().await? else { return Ok(None) };
            self.current = Some(self.grow(chunk)?);
        }
    }

    fn grow(&mut self, chunk: Chunk) -> Result<Grown> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let Chunk { needed: Spans { batch: spans, traces }, passing } = chunk;
        let rows = spans.num_rows();
        self.reservation.try_resize(rows * most_bytes_per_span(&self.wanted))?;
        let starts: Vec<u32> = (0..traces.len() as u32)
            .filter(|row| *row == 0 || traces[*row as usize] != traces[*row as usize - 1])
            .collect();
        let made = Made::of(&self.wanted, &spans, &starts)?;
        let bytes = rows * bytes_per_span(&self.wanted);
        self.reservation.shrink(self.reservation.size() - bytes);
        Ok(Grown { spans, passing, made, next: 0, bytes })
    }

    /// The next rows of the current chunk, of which `at_hand` can be given; `None` when all have been given.
    fn give(&mut self, at_hand: usize) -> Result<Option<RecordBatch>> {
        let Some(grown) = &mut self.current else { return Ok(None) };
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let paths = self.wanted.iter().filter(|column| column.along_path().is_some()).count();
        let (rows, names) = grown.next_rows(self.batch_rows.min(at_hand), paths);
        if rows.is_empty() {
            return Ok(None);
        }
        self.reservation.try_resize(grown.bytes + names * PATH_NAME_BYTES)?;
        grown.next = rows.end;
        let passed = grown.passing.take(rows.len());
        let mut made = grown.made.columns.iter();
        let columns = self.tree.given.iter().map(|given| match given {
            Given::Span(at) => Ok(passed.column(self.tree.place_of(*at)).clone()),
            Given::Made(column) => match made.next().map(|made| made.slice(rows.start, rows.len())).transpose()? {
                Some(Some(values)) => Ok(values),
                Some(None) => grown.paths(rows.clone(), *column),
                None => internal_err!("a column of trees was not made"),
            },
        });
        let columns = columns.collect::<Result<_>>()?;
        batch(self.tree.schema.clone(), columns, rows.len()).map(Some)
    }
}

impl Grown {
    /// The rows that are given next, and how many names their paths have, with so many paths a row.
    fn next_rows(&self, batch_rows: usize, paths: usize) -> (Range<usize>, usize) {
        let most = self.spans.num_rows().min(self.next + batch_rows.max(1));
        if paths == 0 {
            return (self.next..most, 0);
        }
        let (mut end, mut names) = (self.next, 0);
        while end < most {
            let more = names + paths * self.made.path_names[end] as usize;
            if more > BATCH_PATH_NAMES && end > self.next {
                break;
            }
            (end, names) = (end + 1, more);
        }
        (self.next..end, names)
    }

    /// For each of `rows` what the column has of the spans from its top down to itself.
    fn paths(&self, rows: Range<usize>, column: TreeColumn) -> Result<ArrayRef> {
        let names = column.along_path().and_then(|name| self.spans.column_by_name(name));
        let names = names.ok_or_else(|| internal_datafusion_err!("paths of spans without names"))?;
        let mut on_paths = Vec::new();
        for row in rows.clone() {
            let from = on_paths.len();
            let end = Some(self.made.path_ends[row]);
            on_paths.extend(std::iter::successors(end, |row| self.made.above[*row as usize]));
            on_paths[from..].reverse();
        }
        let lengths = OffsetBuffer::from_lengths(rows.map(|row| self.made.path_names[row] as usize));
        let names = take(names, &UInt32Array::from(on_paths), None)?;
        let element = Arc::new(Field::new_list_field(DataType::Utf8View, true));
        Ok(Arc::new(ListArray::try_new(element, lengths, names, None)?))
    }
}
