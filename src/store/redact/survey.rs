//! Finding the spans that are meant, and where they lie.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use datafusion::object_store::ObjectStore;
use tokio::runtime::Handle;

use super::SpanFilter;
use crate::error::{Error, Result};
use crate::model::SpanBatch;
use crate::model::schema::{TRACE_ID, physical_schema};
use crate::store::compact::{FileInput, Input, Stop};
use crate::store::{DataFile, Snapshot};

/// The traces that are told apart at most, in some 150 MB: a redaction of more has a least number of them in its report.
const MOST_TRACES: usize = 4 << 20;
/// The rows of fresh spans that are looked at together.
const FRESH_ROWS: usize = 8 * 1024;

/// The spans that a filter means.
#[derive(Debug, Clone, Default)]
pub struct FoundSpans {
    pub spans: u64,
    /// Of the spans, those that no file holds yet.
    pub fresh_spans: u64,
    /// The files that hold such spans, with their number.
    pub files: Vec<(DataFile, u64)>,
    traces: HashSet<u128>,
    more_traces: bool,
}

impl FoundSpans {
    /// The traces that the spans are of; a least number when [`Self::traces_are_all`] says no.
    pub fn traces(&self) -> u64 {
        self.traces.len() as u64
    }

    /// The traces themselves; not all of them when [`Self::traces_are_all`] says no.
    pub fn trace_ids(&self) -> impl Iterator<Item = u128> {
        self.traces.iter().copied()
    }

    pub fn traces_are_all(&self) -> bool {
        !self.more_traces
    }

    /// Counts a batch's spans that are meant.
    fn add(&mut self, batch: &RecordBatch, filter: &dyn SpanFilter) -> Result<u64> {
        let meant: BooleanArray = filter.matches(batch)?;
        let traces = batch.column_by_name(TRACE_ID).and_then(|column| column.as_fixed_size_binary_opt());
        let traces = traces.ok_or_else(|| Error::internal("a batch of spans lacks its trace ids"))?;
        let mut spans = 0;
        for row in (0..meant.len()).filter(|row| meant.is_valid(*row) && meant.value(*row)) {
            spans += 1;
            let trace = traces.value(row).try_into().map(u128::from_be_bytes).unwrap_or_default();
            match self.traces.len() < MOST_TRACES {
                true => _ = self.traces.insert(trace),
                false => self.more_traces |= !self.traces.contains(&trace),
            }
        }
        self.spans += spans;
        Ok(spans)
    }
}

/// Finds the spans of a snapshot that the filter means, those that have expired among them. Changes nothing.
pub async fn find_spans(snapshot: &Snapshot, filter: Arc<dyn SpanFilter>) -> Result<FoundSpans> {
    let (snapshot, runtime) = (snapshot.clone(), Handle::current());
    let found = tokio::task::spawn_blocking(move || {
        let files = Files { runtime: &runtime, store: &snapshot.object_store, stop: &Stop::default() };
        let mut found = survey(&files, &snapshot.files, filter.as_ref())?;
        for batch in snapshot.fresh.iter() {
            found.fresh_spans += count_fresh(&mut found, batch, filter.as_ref())?;
        }
        Ok(found)
    });
    found.await.map_err(|error| Error::internal(format!("looking for spans ended badly: {error}")))?
}

fn count_fresh(found: &mut FoundSpans, batch: &SpanBatch, filter: &dyn SpanFilter) -> Result<u64> {
    let all: Vec<usize> = (0..physical_schema().fields().len()).collect();
    let step = batch.expandable_rows().clamp(1, FRESH_ROWS);
    let mut spans = 0;
    for row in (0..batch.num_rows()).step_by(step) {
        let rows: Range<usize> = row..batch.num_rows().min(row + step);
        spans += found.add(&batch.project(&all, rows)?, filter)?;
    }
    Ok(spans)
}

/// What reading files takes.
pub(crate) struct Files<'a> {
    pub runtime: &'a Handle,
    pub store: &'a Arc<dyn ObjectStore>,
    pub stop: &'a Stop,
}

/// Finds the spans in files that the filter means. Blocks; may not run on a thread of the runtime.
pub(crate) fn survey(with: &Files<'_>, files: &[DataFile], filter: &dyn SpanFilter) -> Result<FoundSpans> {
    let mut columns = filter.columns();
    columns.push(TRACE_ID.to_owned());
    let mut found = FoundSpans::default();
    let wanted = files.iter().zip(filter.may_match(files)).filter_map(|(file, may)| may.then_some(file));
    for file in wanted {
        let mut input = FileInput::open_columns(with.runtime, with.store, file, &columns)?;
        let mut spans = 0;
        while let Some(batch) = input.next()? {
            with.stop.check()?;
            spans += found.add(&batch, filter)?;
        }
        if spans > 0 {
            found.files.push((file.clone(), spans));
        }
    }
    Ok(found)
}
