//! What people read otherwise than programs: times in the session's zone, and plans line by line.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use futures::{Stream, StreamExt};

use super::Format;
use super::cell::push_text;
use crate::error::{Error, Result};

/// Which result is shown, and where its reader is.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The session's time zone.
    pub zone: &'a str,
    /// Whether the rows are those of `EXPLAIN`, whose texts have many lines.
    pub is_plan: bool,
}

/// The result as `format` shows it to its reader; formats for programs take it as it is.
pub fn for_people(
    format: Format,
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch>> + Unpin,
    reader: Reader,
) -> (SchemaRef, impl Stream<Item = Result<RecordBatch>> + Unpin) {
    let plan = reader.is_plan && format == Format::Table;
    let shown = match format {
        _ if plan => Arc::new(Schema::new(schema.fields().iter().map(text_field).collect::<Vec<_>>())),
        Format::Table | Format::Csv | Format::Markdown => in_zone(&schema, reader.zone),
        Format::Json | Format::Ndjson | Format::Parquet => schema,
    };
    let out = shown.clone();
    let batches = batches.map(move |batch| match plan {
        true => lines(&batch?, &shown),
        false => retyped(batch?, &shown),
    });
    (out, batches)
}

fn text_field(field: &FieldRef) -> Field {
    Field::new(field.name(), DataType::Utf8, true)
}

fn in_zone(schema: &SchemaRef, zone: &str) -> SchemaRef {
    let shown = |field: &FieldRef| match field.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Timestamp(*unit, Some(zone.into()))))
        }
        _ => field.clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(shown).collect::<Vec<_>>()))
}

/// The batch with the types of `schema`; a time in another zone is the same number.
fn retyped(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() == 0 || batch.schema().fields() == schema.fields() {
        return Ok(batch);
    }
    let column = |(column, field): (&ArrayRef, &FieldRef)| match column.data_type() == field.data_type() {
        true => Ok(column.clone()),
        false => cast(column, field.data_type()),
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<Result<Vec<_>, _>>();
    columns.and_then(|columns| RecordBatch::try_new(schema.clone(), columns)).map_err(failed)
}

/// A row for each line of the last column; the columns before it stand beside the first.
fn lines(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = batch.columns().iter().map(|_| StringBuilder::new()).collect::<Vec<_>>();
    let last = columns.len().saturating_sub(1);
    for row in 0..batch.num_rows() {
        let texts = batch.columns().iter().map(|column| {
            let mut text = String::new();
            push_text(column, row, &mut text).map(|()| text)
        });
        let texts = texts.collect::<Result<Vec<_>>>()?;
        for (number, line) in texts.last().into_iter().flat_map(|text| text.trim_end().split('\n')).enumerate() {
            for (at, column) in columns.iter_mut().enumerate() {
                column.append_value(match (at == last, number) {
                    (true, _) => line,
                    (false, 0) => &texts[at],
                    (false, _) => "",
                });
            }
        }
    }
    let columns = columns.into_iter().map(|mut column| Arc::new(column.finish()) as ArrayRef).collect();
    RecordBatch::try_new(schema.clone(), columns).map_err(failed)
}

fn failed(error: datafusion::arrow::error::ArrowError) -> Error {
    Error::internal(format!("a result that cannot be shown: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{RenderOptions, write_all};
    use datafusion::arrow::array::{StringArray, TimestampNanosecondArray};

    async fn shown(format: Format, batch: RecordBatch, is_plan: bool) -> String {
        let batches = futures::stream::iter([Ok(batch.clone())]);
        let reader = Reader { zone: "Europe/Berlin", is_plan };
        let (schema, batches) = for_people(format, batch.schema(), batches, reader);
        let (_, out) =
            write_all(format, schema, batches, &RenderOptions::default(), Vec::new()).await.expect("written");
        String::from_utf8(out).expect("text")
    }

    #[tokio::test]
    async fn times_are_local_for_people_and_instants_for_programs() {
        let times = TimestampNanosecondArray::from(vec![1_675_006_882_102_000_000, 1_690_000_000_000_000_000]);
        let column = Arc::new(times.with_timezone("UTC")) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("t", column)]).expect("a batch");
        let csv = shown(Format::Csv, batch.clone(), false).await;
        assert_eq!(csv, "t\n2023-01-29 16:41:22.102+01\n2023-07-22 06:26:40+02\n");
        let json = shown(Format::Ndjson, batch, false).await;
        assert!(json.starts_with("{\"t\": \"2023-01-29T15:41:22.102Z\"}"), "{json}");
    }

    #[tokio::test]
    async fn a_plan_has_its_lines() {
        let column = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("plan_type", column("logical")), ("plan", column("a\n  b\n"))]);
        let table = shown(Format::Table, batch.expect("a batch"), true).await;
        assert_eq!(table, " plan_type | plan\n-----------+------\n logical   | a\n           |   b\n(2 rows)\n");
    }
}
