//! Traces by id: the trace indexes of the files say which rows to read.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::physical_expr::PhysicalExpr;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use parquet::arrow::arrow_reader::RowSelection;

use super::wanted::wanted_traces;
use crate::store::{DataFile, Snapshot, TraceSet};

/// Files whose index is read at a time: as many small reads as an object store answers at once.
const LOOKUPS: usize = 16;

/// The rows of a file that a scan has to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rows {
    All,
    None,
    /// In order, without overlap.
    Some(Vec<Range<u32>>),
}

/// The traces that the predicate names, if it names any.
pub(super) fn traces_of(predicate: Option<&Arc<dyn PhysicalExpr>>) -> Option<TraceSet> {
    let ids = predicate.and_then(wanted_traces)?;
    Some(TraceSet::new(ids.iter().map(Vec::as_slice)))
}

/// What of each file a scan for these traces has to read: everything, when they are not known.
pub(super) async fn rows_of_traces(snapshot: &Snapshot, files: &[&DataFile], traces: Option<&TraceSet>) -> Vec<Rows> {
    let Some(traces) = traces else { return vec![Rows::All; files.len()] };
    let store = &snapshot.object_store;
    let lookups: Vec<BoxFuture<'_, _>> = files.iter().map(|file| file.rows_of(store, traces).boxed()).collect();
    stream::iter(lookups).buffered(LOOKUPS).map(Rows::of_index).collect().await
}

impl Rows {
    pub(super) fn of_index(found: Option<Vec<Range<u32>>>) -> Self {
        match found {
            None => Self::All,
            Some(rows) if rows.is_empty() => Self::None,
            Some(rows) => Self::Some(rows),
        }
    }

    /// How many of the rows of `file` they are: some may be of other traces.
    pub(super) fn count(&self, file: &DataFile) -> Precision<usize> {
        match self {
            Self::All => Precision::Exact(file.rows as usize),
            Self::None => Precision::Exact(0),
            Self::Some(rows) => Precision::Inexact(rows.iter().map(ExactSizeIterator::len).sum()),
        }
    }

    /// Makes a scan of `file`, which has `file_rows`, read these rows.
    pub(super) fn attach(&self, file: PartitionedFile, file_rows: u64) -> PartitionedFile {
        let Self::Some(rows) = self else { return file };
        let rows = rows.iter().map(|rows| rows.start as usize..rows.end as usize);
        let selection = RowSelection::from_consecutive_ranges(rows, file_rows as usize);
        file.with_extension(ParquetRowSelection::new(selection))
    }
}
