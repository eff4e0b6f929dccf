//! Questions to the engine, and their answers as values.

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use crate::engine::{Outcome, Session};
use crate::error::{Error, Result};

/// The rows that a question of few rows has.
pub(super) struct Answer(RecordBatch);

/// Asks a question with one text for its parameter, or none.
pub(super) async fn ask(session: &Session, question: &str, parameter: Option<&str>) -> Result<Answer> {
    let prepared = session.prepare(question).await?;
    let statement = prepared.first().ok_or_else(|| Error::internal("a question is empty"))?;
    let parameters: Vec<ScalarValue> = parameter.map(ScalarValue::from).into_iter().collect();
    let Outcome::Rows(rows) = session.execute(statement, &parameters).await? else {
        return Err(Error::internal("a question has no rows"));
    };
    let schema = rows.schema.clone();
    let batches: Vec<RecordBatch> = rows.stream.try_collect().await?;
    let joined = concat_batches(&schema, &batches).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Answer(joined))
}

impl Answer {
    pub(super) fn rows(&self) -> usize {
        self.0.num_rows()
    }

    pub(super) fn text(&self, column: &str, row: usize) -> Option<String> {
        let values = self.column(column, &DataType::Utf8)?;
        let texts = values.as_string::<i32>();
        texts.is_valid(row).then(|| texts.value(row).to_owned())
    }

    pub(super) fn number(&self, column: &str, row: usize) -> Option<i64> {
        let values = self.column(column, &DataType::Int64)?;
        let numbers = values.as_primitive::<Int64Type>();
        numbers.is_valid(row).then(|| numbers.value(row))
    }

    pub(super) fn double(&self, column: &str, row: usize) -> Option<f64> {
        let values = self.column(column, &DataType::Float64)?;
        let numbers = values.as_primitive::<Float64Type>();
        numbers.is_valid(row).then(|| numbers.value(row))
    }

    /// A time in nanoseconds since 1970.
    pub(super) fn time_ns(&self, column: &str, row: usize) -> Option<i64> {
        let times = self.column(column, &DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())))?;
        let numbers = cast(&times, &DataType::Int64).ok()?;
        let numbers = numbers.as_primitive::<Int64Type>();
        numbers.is_valid(row).then(|| numbers.value(row))
    }

    fn column(&self, name: &str, as_type: &DataType) -> Option<datafusion::arrow::array::ArrayRef> {
        cast(self.0.column_by_name(name)?, as_type).ok()
    }
}
