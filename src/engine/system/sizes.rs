//! The one row says what all data files take. Who does not see all spans is told nothing.

use std::sync::Arc;

use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;

use crate::store::Snapshot;

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("stored_bytes", DataType::Int64, true)]))
}

pub(super) fn row(schema: &SchemaRef, snapshot: Option<&Snapshot>) -> Result<RecordBatch> {
    let bytes = snapshot.map(|snapshot| snapshot.files.iter().map(|file| file.size_bytes as i64).sum());
    Ok(RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![bytes]))])?)
}
