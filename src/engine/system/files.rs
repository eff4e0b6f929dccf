//! A row is a data file of the table.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;

use crate::store::{DataFile, Snapshot};

pub(super) fn schema() -> SchemaRef {
    let field = |name, data_type, nullable| Field::new(name, data_type, nullable);
    Arc::new(Schema::new(vec![
        field("path", DataType::Utf8View, false),
        field("date", DataType::Utf8View, false),
        field("rows", DataType::Int64, false),
        field("bytes", DataType::Int64, false),
        field("min_start_ns", DataType::Int64, false),
        field("max_start_ns", DataType::Int64, false),
        field("written_unix_ms", DataType::Int64, false),
        // Not known before the file's trace index has been read.
        field("traces", DataType::Int64, true),
        field("index_bytes", DataType::Int64, true),
    ]))
}

pub(super) fn rows(schema: SchemaRef, snapshot: &Snapshot) -> Result<RecordBatch> {
    let text = |of: &dyn Fn(&DataFile) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(snapshot.files.iter().map(of)))
    };
    let number = |of: &dyn Fn(&DataFile) -> Option<i64>| -> ArrayRef {
        Arc::new(snapshot.files.iter().map(of).collect::<Int64Array>())
    };
    let columns = vec![
        text(&|file| file.location.to_string()),
        text(&|file| file.date.clone()),
        number(&|file| Some(file.rows as i64)),
        number(&|file| Some(file.size_bytes as i64)),
        number(&|file| Some(file.min_start_ns)),
        number(&|file| Some(file.max_start_ns)),
        number(&|file| Some(file.written_unix_ms)),
        number(&|file| Some(file.index.figures()?.traces as i64)),
        number(&|file| Some(file.index.figures()?.file_bytes as i64)),
    ];
    Ok(RecordBatch::try_new(schema, columns)?)
}
