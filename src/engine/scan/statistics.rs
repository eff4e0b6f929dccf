//! What is known of a file or a batch without reading it.

use std::sync::Arc;

use datafusion::arrow::compute::{max, min};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use crate::model::SpanBatch;
use crate::model::schema::{START_NS, physical_schema};
use crate::store::DataFile;

pub(super) fn file_statistics(file: &DataFile) -> Arc<Statistics> {
    let rows = Precision::Exact(file.rows as usize);
    let bytes = Precision::Inexact(file.size_bytes as usize);
    Arc::new(statistics(rows, bytes, Some((file.min_start_ns, file.max_start_ns))))
}

pub(super) fn batch_statistics(batch: &SpanBatch) -> Arc<Statistics> {
    let range = batch.starts().ok().and_then(|starts| Some((min(starts)?, max(starts)?)));
    Arc::new(statistics(Precision::Exact(batch.num_rows()), Precision::Absent, range))
}

fn statistics(
    num_rows: Precision<usize>,
    total_byte_size: Precision<usize>,
    start_ns: Option<(i64, i64)>,
) -> Statistics {
    let schema = physical_schema();
    let columns = schema.fields().iter().map(|field| {
        let mut column = ColumnStatistics::new_unknown();
        if field.name() == START_NS
            && let Some((min, max)) = start_ns
        {
            column.min_value = Precision::Exact(ScalarValue::Int64(Some(min)));
            column.max_value = Precision::Exact(ScalarValue::Int64(Some(max)));
            column.null_count = Precision::Exact(0);
        }
        column
    });
    Statistics { num_rows, total_byte_size, column_statistics: columns.collect() }
}
