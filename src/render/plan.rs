//! Plans as people read them: line by line.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use futures::{Stream, StreamExt};

use super::Format;
use super::cell::CellStyle;
use crate::error::{Error, Result};

/// The result as `format` shows it: in a table, the rows of `EXPLAIN`, whose texts have many lines, are a row a line.
pub fn with_plan_lines(
    format: Format,
    is_plan: bool,
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch>> + Unpin,
) -> (SchemaRef, impl Stream<Item = Result<RecordBatch>> + Unpin) {
    let in_lines = is_plan && format == Format::Table;
    let shown = match in_lines {
        true => Arc::new(Schema::new(schema.fields().iter().map(text_field).collect::<Vec<_>>())),
        false => schema,
    };
    let out = shown.clone();
    let batches = batches.map(move |batch| match in_lines {
        true => lines(&batch?, &shown),
        false => batch,
    });
    (out, batches)
}

fn text_field(field: &FieldRef) -> Field {
    Field::new(field.name(), DataType::Utf8, true)
}

/// A row for each line of the last column; the columns before it stand beside the first.
fn lines(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let cells = CellStyle::new(batch.schema_ref(), "UTC")?.cells(batch)?;
    let mut columns = batch.columns().iter().map(|_| StringBuilder::new()).collect::<Vec<_>>();
    let last = columns.len().saturating_sub(1);
    for row in 0..batch.num_rows() {
        let texts = (0..columns.len()).map(|column| cells.text(row, column)).collect::<Result<Vec<_>>>()?;
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
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|error| Error::internal(format!("a result that cannot be shown: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{RenderOptions, write_all};
    use datafusion::arrow::array::{StringArray, TimestampNanosecondArray};

    async fn shown(format: Format, batch: RecordBatch, is_plan: bool) -> String {
        let batches = futures::stream::iter([Ok(batch.clone())]);
        let (schema, batches) = with_plan_lines(format, is_plan, batch.schema(), batches);
        let options = RenderOptions { zone: "Europe/Berlin".to_owned(), ..RenderOptions::default() };
        let (_, out) = write_all(format, schema, batches, &options, Vec::new()).await.expect("written");
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
