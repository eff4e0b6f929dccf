//! What is known of a file or a batch without reading it.

use std::sync::Arc;

use datafusion::arrow::compute::{max, min};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use super::lookup::Rows;
use crate::model::SpanBatch;
use crate::store::DataFile;

/// The first and the last start of some spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StartRange {
    pub least_ns: i64,
    pub most_ns: i64,
}

impl StartRange {
    /// As the table's log says; `None` when another writer left it out.
    pub fn of_file(file: &DataFile) -> Option<Self> {
        let is_known = file.min_start_ns != i64::MIN && file.max_start_ns != i64::MAX;
        is_known.then_some(Self { least_ns: file.min_start_ns, most_ns: file.max_start_ns })
    }

    /// Looks at each start of the batch; `None` when it has no span.
    pub fn of_batch(batch: &SpanBatch) -> Option<Self> {
        let starts = batch.starts().ok()?;
        Some(Self { least_ns: min(starts)?, most_ns: max(starts)? })
    }

    fn with(self, other: Self) -> Self {
        Self { least_ns: self.least_ns.min(other.least_ns), most_ns: self.most_ns.max(other.most_ns) }
    }

    /// The statistics of the column.
    fn column(range: Option<Self>) -> ColumnStatistics {
        let mut column = ColumnStatistics::new_unknown();
        if let Some(Self { least_ns, most_ns }) = range {
            column.min_value = Precision::Exact(ScalarValue::Int64(Some(least_ns)));
            column.max_value = Precision::Exact(ScalarValue::Int64(Some(most_ns)));
            column.null_count = Precision::Exact(0);
        }
        column
    }
}

/// The statistics of the rows that a scan reads of a file. They stop behind the start, which is the first column: of others nothing is known, and
/// there may be thousands of files.
pub(super) fn file_statistics(file: &DataFile, rows: &Rows) -> Arc<Statistics> {
    #[cfg(test)]
    tests::BUILT.set(tests::BUILT.get() + 1);
    let statistics = Statistics {
        num_rows: rows.count(file),
        total_byte_size: Precision::Inexact(file.size_bytes as usize),
        column_statistics: vec![StartRange::column(StartRange::of_file(file))],
    };
    Arc::new(if *rows == Rows::All { statistics } else { statistics.to_inexact() })
}

/// The statistics of what a scan reads of all its files together, whose table has these columns.
pub(super) fn total_statistics<'a>(
    mut parts: impl Iterator<Item = (&'a DataFile, &'a Rows)> + Clone,
    columns: &Schema,
) -> Statistics {
    let mut total = Statistics::new_unknown(columns);
    total.num_rows = parts.clone().fold(Precision::Exact(0), |sum, (file, rows)| sum.add(&rows.count(file)));
    total.total_byte_size = Precision::Inexact(parts.clone().map(|(file, _)| file.size_bytes as usize).sum());
    let start = parts.clone().map(|(file, _)| StartRange::of_file(file)).reduce(|a, b| Some(a?.with(b?)));
    if let Some(column) = total.column_statistics.first_mut() {
        *column = StartRange::column(start.flatten());
    }
    let is_whole = parts.all(|(_, rows)| *rows == Rows::All);
    if is_whole { total } else { total.to_inexact() }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use crate::model::schema::{START_NS, physical_schema};

    thread_local! {
        /// How often this thread has built the statistics of a file.
        pub(in super::super) static BUILT: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn the_start_is_the_first_column() {
        assert_eq!(physical_schema().index_of(START_NS).expect("a column"), 0);
    }
}
