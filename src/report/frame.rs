//! The rows of a run, whole in memory: what is judged, drawn, kept and sent.
//!
//! A report's result is small by its nature, and everything after the question reads it more than once. A limit of bytes holds where it
//! is not. Knows Arrow and nothing of what the columns mean.

use datafusion::arrow::array::{Array, ArrayData, ArrayRef, AsArray, RecordBatch, new_empty_array};
use datafusion::arrow::compute::{CastOptions, cast_with_options, concat};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef, TimeUnit};
use futures::StreamExt;

use crate::engine::Rows;
use crate::error::{Error, Kind, Result};
use crate::render::CellStyle;

/// A result.
#[derive(Debug, Clone)]
pub struct Frame {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    pub rows: u64,
}

impl Frame {
    /// Reads a result to its end.
    ///
    /// # Errors
    /// Those of the statement; [`Kind::TooLarge`] when it has more than `limit_bytes`.
    pub async fn collect(mut rows: Rows, limit_bytes: usize) -> Result<Self> {
        let mut frame = Self { schema: rows.schema, batches: Vec::new(), rows: 0 };
        let mut bytes = 0_usize;
        while let Some(batch) = rows.stream.next().await {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            bytes = bytes.saturating_add(bytes_of(&batch));
            if bytes > limit_bytes {
                return Err(too_large(limit_bytes));
            }
            frame.rows += batch.num_rows() as u64;
            frame.batches.push(batch);
        }
        Ok(frame)
    }

    /// Whether there is a column of that name.
    pub fn has(&self, name: &str) -> bool {
        self.schema.index_of(name).is_ok()
    }

    /// The type of a column's values, packed or not.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn value_type(&self, name: &str) -> Result<&DataType> {
        let at = self.schema.index_of(name).map_err(|_| self.no_column(name))?;
        Ok(value_type(self.schema.field(at).data_type()))
    }

    /// All values of a column.
    ///
    /// # Errors
    /// [`Kind::BadInput`] when there is no such column.
    pub fn column(&self, name: &str) -> Result<ArrayRef> {
        let at = self.schema.index_of(name).map_err(|_| self.no_column(name))?;
        let parts: Vec<&dyn Array> = self.batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        match parts.as_slice() {
            [] => Ok(new_empty_array(self.schema.field(at).data_type())),
            parts => concat(parts).map_err(|cause| {
                Error::new(Kind::TooLarge, format!("the column \"{name}\" of the result is too large: {cause}"))
            }),
        }
    }

    /// The values of a column as PostgreSQL writes them, times in UTC; `None` for NULL.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn texts(&self, name: &str) -> Result<Vec<Option<String>>> {
        let at = self.schema.index_of(name).map_err(|_| self.no_column(name))?;
        let style = CellStyle::new(&self.schema, "UTC")?;
        let mut texts = Vec::with_capacity(self.rows as usize);
        for batch in &self.batches {
            let cells = style.cells(batch)?;
            for row in 0..batch.num_rows() {
                texts.push(if cells.is_null(row, at) { None } else { Some(cells.text(row, at)?) });
            }
        }
        Ok(texts)
    }

    /// The values of a column of numbers, yes and no as 1 and 0, durations in seconds; `None` for NULL.
    ///
    /// # Errors
    /// When there is no such column, or it has no numbers.
    pub fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>> {
        let column = self.column(name)?;
        let kind = value_type(column.data_type());
        let is_duration = matches!(kind, DataType::Duration(_));
        let to = match kind {
            // Its unit has to be one before its number is.
            DataType::Duration(_) => DataType::Duration(TimeUnit::Nanosecond),
            kind if kind.is_numeric() || *kind == DataType::Boolean || *kind == DataType::Null => DataType::Float64,
            kind => return Err(self.not_a("number", name, kind)),
        };
        let unit_ns = if is_duration { 1e9 } else { 1.0 };
        let column = self.cast(&column, &to, name)?;
        let column = if is_duration { self.cast(&column, &DataType::Int64, name)? } else { column };
        Ok(match is_duration {
            true => column.as_primitive::<Int64Type>().iter().map(|ns| ns.map(|ns| ns as f64 / unit_ns)).collect(),
            false => column.as_primitive::<Float64Type>().iter().collect(),
        })
    }

    /// The values of a column of times or dates in milliseconds since 1970, what has no time zone as if it were UTC's; `None` for NULL.
    ///
    /// # Errors
    /// When there is no such column, or it has no times.
    pub fn times_ms(&self, name: &str) -> Result<Vec<Option<i64>>> {
        let column = self.column(name)?;
        let kind = value_type(column.data_type());
        if !matches!(kind, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Null) {
            return Err(self.not_a("time", name, kind));
        }
        // A cast from one unit to another would round times before 1970 up.
        let (column, per_ms) = match kind {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => (self.cast(&column, &DataType::Int64, name)?, 1_000_000),
            DataType::Timestamp(TimeUnit::Microsecond, _) => (self.cast(&column, &DataType::Int64, name)?, 1_000),
            _ => {
                let column = self.cast(&column, &DataType::Timestamp(TimeUnit::Millisecond, None), name)?;
                (self.cast(&column, &DataType::Int64, name)?, 1)
            }
        };
        Ok(column.as_primitive::<Int64Type>().iter().map(|time| time.map(|time| time.div_euclid(per_ms))).collect())
    }

    fn cast(&self, column: &ArrayRef, to: &DataType, name: &str) -> Result<ArrayRef> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(column, to, &options)
            .map_err(|cause| Error::bad_input(format!("the column \"{name}\" of the result cannot be read: {cause}")))
    }

    fn no_column(&self, name: &str) -> Error {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        Error::bad_input(format!("the result has no column \"{name}\""))
            .with_hint(format!("it has {}", names.join(", ")))
    }

    fn not_a(&self, wanted: &str, name: &str, kind: &DataType) -> Error {
        Error::bad_input(format!(
            "the column \"{name}\" of the result has values of type {kind} where each has to be a {wanted}"
        ))
    }
}

/// The type of the values, packed or not.
pub(super) fn value_type(kind: &DataType) -> &DataType {
    match kind {
        DataType::Dictionary(_, value) => value_type(value),
        DataType::RunEndEncoded(_, value) => value_type(value.data_type()),
        kind => kind,
    }
}

/// So long a text is in its view.
const INLINE_BYTES: usize = 12;

/// What the rows of a batch take, and not the buffers that they share with others.
fn bytes_of(batch: &RecordBatch) -> usize {
    let of = |column: &ArrayRef| {
        let data = column.to_data();
        let fixed = data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
        fixed.saturating_add(viewed_bytes(&data))
    };
    batch.columns().iter().map(of).fold(0, usize::saturating_add)
}

/// What views show, each text as often as it is shown: their memory size is that of the views alone.
fn viewed_bytes(data: &ArrayData) -> usize {
    // A view begins with the length of its text, and has a short one in itself.
    let beside = |view: &u128| Some(*view as u32 as usize).filter(|length| *length > INLINE_BYTES).unwrap_or_default();
    let own: usize = match data.data_type() {
        DataType::Utf8View | DataType::BinaryView => {
            data.buffer::<u128>(0).iter().take(data.len()).map(beside).fold(0, usize::saturating_add)
        }
        _ => 0,
    };
    data.child_data().iter().map(viewed_bytes).fold(own, usize::saturating_add)
}

fn too_large(limit_bytes: usize) -> Error {
    let limit = match limit_bytes >> 20 {
        0 => format!("{limit_bytes} bytes"),
        megabytes => format!("{megabytes} MiB"),
    };
    Error::new(Kind::TooLarge, format!("the result of the report is larger than {limit}"))
        .with_hint("group or limit its rows, or raise \"memory\" in its header")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::*;
    use datafusion::arrow::datatypes::{Field, Int32Type};

    use super::*;

    fn frame(columns: Vec<(&str, ArrayRef)>) -> Frame {
        let columns = columns.into_iter().map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
        Frame { schema: batch.schema(), rows: batch.num_rows() as u64, batches: vec![batch] }
    }

    async fn collected(batches: Vec<RecordBatch>, limit_bytes: usize) -> Result<Frame> {
        let schema = batches[0].schema();
        let stream = Box::pin(futures::stream::iter(batches.into_iter().map(Ok)));
        Frame::collect(Rows { schema, stream, tag: "SELECT" }, limit_bytes).await
    }

    #[tokio::test]
    async fn a_result_is_read_whole_or_refused_by_its_size() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).expect("a batch");
        let frame =
            collected(vec![batch.clone(), batch.slice(0, 0), batch.slice(10, 5)], 16_000).await.expect("a frame");
        assert_eq!((frame.rows, frame.batches.len()), (1_005, 2));
        assert_eq!(frame.numbers("n").expect("numbers")[1_000..], [10.0, 11.0, 12.0, 13.0, 14.0].map(Some));
        let error = collected(vec![batch.clone(), batch], 15_000).await.expect_err("too large");
        assert_eq!(error.kind, Kind::TooLarge);
        assert_eq!(error.message, "the result of the report is larger than 15000 bytes");
    }

    #[tokio::test]
    async fn texts_count_with_their_length_wherever_they_stand() {
        let text = "x".repeat(1_000);
        let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(vec![&text; 100]));
        let bytes: ArrayRef = Arc::new(BinaryViewArray::from_iter_values(vec![&text; 100]));
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        for _ in 0..50 {
            lists.append_value([Some(&text), Some(&text)]);
        }
        let lists: ArrayRef = Arc::new(lists.finish());
        let inner = StructArray::from(vec![(Arc::new(Field::new("t", DataType::Utf8View, true)), views.clone())]);
        let plain: ArrayRef = Arc::new(StringArray::from_iter_values(vec![&text; 100]));
        for column in [views, bytes, lists, Arc::new(inner), plain] {
            let kind = column.data_type().clone();
            let batch = RecordBatch::try_from_iter([("c", column)]).expect("a batch");
            let error = collected(vec![batch.clone()], 99_000).await.expect_err("100 texts of 1000 bytes");
            assert_eq!(error.kind, Kind::TooLarge, "{kind}");
            collected(vec![batch.clone()], 103_000).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
        let many: ArrayRef = Arc::new(StringViewArray::from_iter_values(vec![&text; 100]));
        let few = RecordBatch::try_from_iter([("c", many)]).expect("a batch").slice(90, 2);
        collected(vec![few], 2_100).await.expect("two of the texts");
    }

    #[test]
    fn numbers_come_from_all_that_counts() {
        let frame = frame(vec![
            ("int", Arc::new(Int32Array::from(vec![Some(1), None]))),
            ("float", Arc::new(Float32Array::from(vec![0.5, f32::NAN]))),
            (
                "decimal",
                Arc::new(Decimal128Array::from(vec![1234, -1]).with_precision_and_scale(9, 2).expect("decimal")),
            ),
            ("yes", Arc::new(BooleanArray::from(vec![true, false]))),
            ("took", Arc::new(DurationMillisecondArray::from(vec![1_500, 0]))),
            ("name", Arc::new(StringArray::from(vec!["a", "b"]))),
        ]);
        assert_eq!(frame.numbers("int").expect("numbers"), [Some(1.0), None]);
        assert!(frame.numbers("float").expect("numbers")[1].expect("a value").is_nan());
        assert_eq!(frame.numbers("decimal").expect("numbers"), [Some(12.34), Some(-0.01)]);
        assert_eq!(frame.numbers("yes").expect("numbers"), [Some(1.0), Some(0.0)]);
        assert_eq!(frame.numbers("took").expect("numbers"), [Some(1.5), Some(0.0)]);
        let error = frame.numbers("name").expect_err("texts");
        assert_eq!(
            error.message,
            "the column \"name\" of the result has values of type Utf8 where each has to be a number"
        );
        let error = frame.numbers("nmae").expect_err("no such column");
        assert_eq!(error.message, "the result has no column \"nmae\"");
        assert_eq!(error.hint.as_deref(), Some("it has int, float, decimal, yes, took, name"));
    }

    #[test]
    fn texts_and_times_keep_their_nulls() {
        let packed: DictionaryArray<Int32Type> = vec![Some("cart"), None, Some("cart")].into_iter().collect();
        let times = TimestampNanosecondArray::from(vec![Some(1_700_000_000_123_456_789), None, Some(-1_000_000)]);
        let frame = frame(vec![
            ("service", Arc::new(packed)),
            ("at", Arc::new(times.with_timezone("UTC"))),
            ("day", Arc::new(Date32Array::from(vec![1, 2, 3]))),
        ]);
        assert_eq!(frame.texts("service").expect("texts"), [Some("cart".to_owned()), None, Some("cart".to_owned())]);
        assert_eq!(frame.times_ms("at").expect("times"), [Some(1_700_000_000_123), None, Some(-1)]);
        assert_eq!(frame.times_ms("day").expect("times")[0], Some(86_400_000));
        assert!(frame.times_ms("service").is_err());
        let empty = Frame { schema: frame.schema.clone(), batches: Vec::new(), rows: 0 };
        assert_eq!(empty.column("service").expect("a column").len(), 0);
        assert!(empty.numbers("at").is_err() && empty.times_ms("at").expect("times").is_empty());
    }
}
