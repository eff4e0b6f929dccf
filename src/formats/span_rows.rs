//! Rows of `traces.spans`, as a statement gives them and as Parquet keeps them, become OTLP again without loss.
//!
//! The letters in the `…_types` columns say what each attribute's text was.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, ListArray, RecordBatch, StringViewArray, StructArray,
    new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::arrow::error::ArrowError;

use super::build::id;
use crate::error::{Error, Result};
use crate::model::schema::{self, physical_schema};
use crate::otlp::encode_export;

/// Where rows have another name than the schema for what is not simply renamed.
const TIMESTAMP: &str = "timestamp";
/// The time of an event, as the schema has it.
const EVENT_TIME_NS: &str = "time_ns";

/// Columns that say again what others say.
const DERIVED: [&str; 2] = [schema::SERVICE_NAME, schema::EXCEPTION_MESSAGE];

/// Whether a table's columns are those of `traces.spans`, so that nothing of its spans is missing.
pub fn is_span_table(columns: &Schema) -> bool {
    let is_there = |name: &str| columns.column_with_name(name).is_some();
    physical_schema()
        .fields()
        .iter()
        .all(|field| DERIVED.contains(&field.name().as_str()) || is_there(shown_name(field)))
}

/// The rows as a protobuf `ExportTraceServiceRequest`, in their order.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] when a column is not what `traces.spans` has.
pub fn rows_to_request(rows: &RecordBatch) -> Result<Vec<u8>> {
    let columns = physical_schema().fields().iter().map(|field| physical(rows, field)).collect::<Result<Vec<_>>>()?;
    let wrong = |error: ArrowError| Error::bad_input(format!("the rows are no spans: {error}"));
    encode_export(&RecordBatch::try_new(physical_schema(), columns).map_err(wrong)?)
}

fn shown_name(field: &Field) -> &str {
    match field.name().as_str() {
        schema::START_NS | EVENT_TIME_NS => TIMESTAMP,
        name => name,
    }
}

fn physical(rows: &RecordBatch, field: &Field) -> Result<ArrayRef> {
    match field.name().as_str() {
        schema::SERVICE_NAME => return Ok(Arc::new(StringViewArray::from(vec![""; rows.num_rows()]))),
        schema::EXCEPTION_MESSAGE => return Ok(new_null_array(field.data_type(), rows.num_rows())),
        _ => {}
    }
    let name = shown_name(field);
    let column = rows.column_by_name(name).ok_or_else(|| Error::bad_input(format!("there is no column {name}")))?;
    converted(column, field)
}

/// A column or a part of an element as the schema has it.
fn converted(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let wrong = |error: ArrowError| Error::bad_input(format!("the column {}: {error}", shown_name(field)));
    if column.data_type() == field.data_type() {
        return Ok(column.clone());
    }
    match field.data_type() {
        DataType::Int64 if shown_name(field) == TIMESTAMP => {
            let times = cast(column, &DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))).map_err(wrong)?;
            cast(&times, &DataType::Int64).map_err(wrong)
        }
        DataType::FixedSizeBinary(length) => ids(column, *length, field),
        DataType::List(element) => elements(column, element),
        wanted => cast(column, wanted).map_err(wrong),
    }
}

fn ids(column: &ArrayRef, length: i32, field: &Field) -> Result<ArrayRef> {
    let wrong = |error: ArrowError| Error::bad_input(format!("the column {}: {error}", field.name()));
    let texts = cast(column, &DataType::Utf8).map_err(wrong)?;
    let texts = texts.as_string::<i32>();
    let mut ids = FixedSizeBinaryBuilder::with_capacity(texts.len(), length);
    for text in texts {
        let Some(text) = text else {
            ids.append_null();
            continue;
        };
        let bytes = match length {
            16 => id::<16>(field.name(), text),
            _ => id::<8>(field.name(), text),
        };
        ids.append_value(bytes.map_err(Error::bad_input)?).map_err(wrong)?;
    }
    Ok(Arc::new(ids.finish()))
}

/// Events or links.
fn elements(column: &ArrayRef, element: &Arc<Field>) -> Result<ArrayRef> {
    let wrong = |error: ArrowError| Error::bad_input(format!("a list of events or links: {error}"));
    let (Some(list), DataType::Struct(fields)) = (column.as_list_opt::<i32>(), element.data_type()) else {
        return Err(Error::bad_input(format!("events or links are {}, and no list", column.data_type())));
    };
    let parts = list.values().as_struct_opt();
    let parts = parts.ok_or_else(|| Error::bad_input("events or links have no parts"))?;
    let columns = fields.iter().map(|field| {
        let name = shown_name(field);
        let part = parts.column_by_name(name);
        converted(part.ok_or_else(|| Error::bad_input(format!("events or links have no part {name}")))?, field)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let parts = StructArray::try_new_with_length(fields.clone(), columns, None, parts.len()).map_err(wrong)?;
    let list = ListArray::try_new(element.clone(), list.offsets().clone(), Arc::new(parts), list.nulls().cloned());
    Ok(Arc::new(list.map_err(wrong)?))
}
