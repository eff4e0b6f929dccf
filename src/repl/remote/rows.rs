//! A server's rows, text in every column, as Arrow's.

use std::pin::Pin;
use std::sync::Arc;

use chrono::DateTime;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::stream::Fuse;
use futures::{StreamExt, stream};
use tokio_postgres::types::Type;
use tokio_postgres::{Column, SimpleQueryMessage, SimpleQueryRow, SimpleQueryStream};

use crate::engine::RowStream;
use crate::error::{Error, Result};

/// Rows of a batch: enough that a batch costs little, and few enough to be shown soon.
const BATCH_ROWS: usize = 1024;
const ZONE: &str = "UTC";

/// The columns of a result.
pub fn schema(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter().map(|column| Field::new(column.name(), data_type(column.type_()), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Numbers stand to the right, and times in the zone of the session; all else is shown as the server writes it.
fn data_type(of_server: &Type) -> DataType {
    match *of_server {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 | Type::FLOAT8 => DataType::Float64,
        Type::BOOL => DataType::Boolean,
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Nanosecond, Some(ZONE.into())),
        _ => DataType::Utf8,
    }
}

/// The rows of a result as they come.
pub fn batches(
    rows: SimpleQueryStream,
    schema: SchemaRef,
    failed: impl Fn(tokio_postgres::Error) -> Error + Send + Sync + 'static,
) -> RowStream {
    let failed = Arc::new(failed);
    // Asked once more after its end, the stream says that the connection has gone.
    let state = (Box::pin(rows.fuse()), schema);
    Box::pin(stream::try_unfold(state, move |(mut rows, schema)| {
        let failed = failed.clone();
        async move {
            let taken = take(&mut rows, &*failed).await?;
            match taken.is_empty() {
                true => Ok(None),
                false => Ok(Some((batch(&schema, &taken)?, (rows, schema)))),
            }
        }
    }))
}

async fn take(
    rows: &mut Pin<Box<Fuse<SimpleQueryStream>>>,
    failed: &(impl Fn(tokio_postgres::Error) -> Error + Sync),
) -> Result<Vec<SimpleQueryRow>> {
    let mut taken = Vec::new();
    while taken.len() < BATCH_ROWS {
        match rows.next().await {
            Some(Ok(SimpleQueryMessage::Row(row))) => taken.push(row),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(failed(error)),
            None => break,
        }
    }
    Ok(taken)
}

fn batch(schema: &SchemaRef, rows: &[SimpleQueryRow]) -> Result<RecordBatch> {
    let column = |(at, field): (usize, &Arc<Field>)| {
        let texts: Vec<Option<&str>> = rows.iter().map(|row| row.get(at)).collect();
        array(field.data_type(), &texts)
    };
    let columns = schema.fields().iter().enumerate().map(column).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|error| Error::internal(format!("the server's rows are not of its columns: {error}")))
}

/// The values of a column.
fn array(data_type: &DataType, texts: &[Option<&str>]) -> Result<ArrayRef> {
    fn parsed<T>(texts: &[Option<&str>], read: impl Fn(&str) -> Option<T>) -> Result<Vec<Option<T>>> {
        let value = |text: &Option<&str>| match text {
            None => Ok(None),
            Some(text) => read(text)
                .map(Some)
                .ok_or_else(|| Error::bad_input(format!("the server sent \"{text}\", which cannot be shown"))),
        };
        texts.iter().map(value).collect()
    }
    Ok(match data_type {
        DataType::Int64 => Arc::new(Int64Array::from(parsed(texts, |text| text.parse().ok())?)),
        DataType::Float64 => Arc::new(Float64Array::from(parsed(texts, |text| text.parse().ok())?)),
        DataType::Boolean => Arc::new(BooleanArray::from(parsed(texts, |text| match text {
            "t" => Some(true),
            "f" => Some(false),
            _ => None,
        })?)),
        DataType::Timestamp(..) => {
            Arc::new(TimestampNanosecondArray::from(parsed(texts, nanoseconds)?).with_timezone(ZONE))
        }
        _ => Arc::new(StringArray::from(texts.to_vec())),
    })
}

/// An instant as PostgreSQL writes it: `2026-01-05 08:59:57.458212+00`.
fn nanoseconds(text: &str) -> Option<i64> {
    DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").ok()?.timestamp_nanos_opt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::cell_text;

    #[test]
    fn texts_become_values_and_stay_what_they_say() {
        let cases = [
            (Type::INT8, "-42", "-42"),
            (Type::FLOAT8, "1.5e-07", "1.5e-07"),
            (Type::FLOAT8, "NaN", "NaN"),
            (Type::FLOAT8, "-Infinity", "-Infinity"),
            (Type::BOOL, "t", "t"),
            (Type::TIMESTAMPTZ, "2026-01-05 08:59:57.458212981+00", "2026-01-05 08:59:57.458212981+00"),
            (Type::TIMESTAMPTZ, "2026-07-05 08:59:57+05:30", "2026-07-05 03:29:57+00"),
            (Type::NUMERIC, "1.10", "1.10"),
            (Type::JSONB, "{\"a\": 1}", "{\"a\": 1}"),
        ];
        for (of_server, text, shown) in cases {
            let values = array(&data_type(&of_server), &[Some(text), None]).expect(text);
            assert_eq!(cell_text(&values, 0).expect("shown"), shown);
            assert!(values.is_null(1));
        }
        assert!(array(&DataType::Timestamp(TimeUnit::Nanosecond, None), &[Some("infinity")]).is_err());
    }
}
