//! A row is a column of the table that holds a frequent attribute.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;

use crate::model::promoted::PromotedColumn;
use crate::store::Snapshot;

pub(super) fn schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8View, false);
    Arc::new(Schema::new(vec![text("map"), text("key"), text("type"), text("column_name")]))
}

pub(super) fn rows(schema: SchemaRef, snapshot: &Snapshot) -> Result<RecordBatch> {
    let text = |of: &dyn Fn(&PromotedColumn) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(snapshot.promoted.columns().iter().map(of)))
    };
    let columns = vec![
        text(&|column| column.key.owner.map_column().to_owned()),
        text(&|column| column.key.key.to_string()),
        text(&|column| format!("{:?}", column.scalar).to_lowercase()),
        text(&|column| column.name()),
    ];
    Ok(RecordBatch::try_new(schema, columns)?)
}
