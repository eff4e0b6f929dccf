//! How much a statement's windows have made that is not passed on yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::error::Result;

use crate::engine::stop::Stop;
use crate::engine::width::bytes_of;
use crate::error::{Error, Kind};

/// The most bytes that the windows of a statement make before they pass rows on. Results are there up to three times: row by row, as a
/// column, and as a column joined to those before it.
const MAX_HELD_BYTES: usize = 128 << 20;

/// A value of a row beside its contents.
const VALUE_BYTES: usize = 16;

/// The count of one statement, and its stop.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Made {
    bytes: Arc<AtomicUsize>,
    stop: Stop,
}

impl Made {
    /// Nothing yet.
    pub fn new(stop: &Stop) -> Self {
        Self { bytes: Arc::default(), stop: stop.clone() }
    }

    /// Counts a value that `rows` rows get; fails where that is too much, or the statement is told to end.
    pub(super) fn add(&self, value: &ScalarValue, rows: usize) -> Result<()> {
        self.add_bytes(value_bytes(value).saturating_mul(rows))
    }

    /// Counts a column that is there already.
    pub(super) fn add_column(&self, column: &dyn Array) -> Result<()> {
        self.add_bytes(column_bytes(column))
    }

    fn add_bytes(&self, added: usize) -> Result<()> {
        self.check_stop()?;
        let before = self.bytes.fetch_add(added, Ordering::Relaxed);
        if before.saturating_add(added) <= MAX_HELD_BYTES {
            return Ok(());
        }
        let message =
            format!("a window function gives more than {} MiB before a row can be passed on", MAX_HELD_BYTES >> 20);
        let error = Error::new(Kind::TooLarge, message)
            .with_hint("a function whose result grows with its rows is copied for each row: use GROUP BY, or a smaller PARTITION BY");
        Err(DataFusionError::External(Box::new(error)))
    }

    /// Takes columns away that are passed on.
    pub(super) fn pass_on(&self, columns: &[ArrayRef]) {
        let passed = columns.iter().map(|column| column_bytes(column.as_ref())).sum::<usize>();
        // Whatever rounding there is, the count does not fall below nothing.
        let _ =
            self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| Some(bytes.saturating_sub(passed)));
    }

    /// Fails once the statement is told to end.
    pub(super) fn check_stop(&self) -> Result<()> {
        self.stop.check()
    }
}

/// The bytes of a value of one row.
fn value_bytes(value: &ScalarValue) -> usize {
    let contents = match value {
        ScalarValue::List(list) => nested_bytes(list.as_ref()),
        ScalarValue::LargeList(list) => nested_bytes(list.as_ref()),
        ScalarValue::FixedSizeList(list) => nested_bytes(list.as_ref()),
        ScalarValue::Struct(row) => nested_bytes(row.as_ref()),
        ScalarValue::Map(map) => nested_bytes(map.as_ref()),
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes))
        | ScalarValue::FixedSizeBinary(_, Some(bytes)) => bytes.len(),
        value => value.try_as_str().flatten().map_or(0, str::len),
    };
    VALUE_BYTES + contents
}

fn nested_bytes(array: &dyn Array) -> usize {
    bytes_of(array, 0, array.len())
}

/// The same bytes, of a column.
fn column_bytes(column: &dyn Array) -> usize {
    let contents = match column.data_type() {
        // A view begins with its value's length.
        DataType::Utf8View => column.as_string_view().views().iter().map(|view| *view as u32 as usize).sum(),
        DataType::BinaryView => column.as_binary_view().views().iter().map(|view| *view as u32 as usize).sum(),
        data_type if data_type.is_primitive() || matches!(data_type, DataType::Boolean | DataType::Null) => 0,
        _ => nested_bytes(column),
    };
    VALUE_BYTES * column.len() + contents
}
