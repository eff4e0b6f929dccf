//! Batches as `DataRow` messages.

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use pgwire::messages::data::{FORMAT_CODE_BINARY, FORMAT_CODE_TEXT, FieldDescription, MESSAGE_TYPE_BYTE_DATA_ROW};

use crate::error::{Error, Kind, Result};
use crate::pg::{PgType, TextStyle, Values, put_binary, put_sized, put_text};

/// Whether a column goes out as text or in binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Binary,
}

impl Format {
    /// Reads a format code of the protocol.
    pub(crate) fn from_code(code: i16) -> Result<Self> {
        match code {
            FORMAT_CODE_TEXT => Ok(Self::Text),
            FORMAT_CODE_BINARY => Ok(Self::Binary),
            _ => Err(Error::bad_input(format!("unsupported format code: {code}")).with_sqlstate("22023")),
        }
    }

    /// Returns the format code of the protocol.
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::Text => FORMAT_CODE_TEXT,
            Self::Binary => FORMAT_CODE_BINARY,
        }
    }
}

/// A result column as a client was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) pg_type: PgType,
}

impl Column {
    /// Returns the columns of a result.
    pub(crate) fn of_schema(schema: &SchemaRef) -> Vec<Self> {
        let column = |field: &std::sync::Arc<datafusion::arrow::datatypes::Field>| Self {
            name: field.name().clone(),
            pg_type: PgType::of_field(field),
        };
        schema.fields().iter().map(column).collect()
    }

    /// Returns the column as `RowDescription` says it.
    pub(crate) fn description(&self, format: Format) -> FieldDescription {
        let pg_type = self.pg_type;
        let name = self.name.replace('\0', "");
        FieldDescription::new(name, 0, 0, pg_type.oid(), pg_type.size_bytes(), pg_type.modifier(), format.code())
    }
}

/// Writes the rows of one batch.
pub(crate) struct BatchEncoder {
    columns: Vec<Values>,
    rows: usize,
    style: TextStyle,
}

impl BatchEncoder {
    /// Brings the batch's columns into the types that were described.
    pub(crate) fn new(batch: &RecordBatch, columns: &[Column], style: TextStyle) -> Result<Self> {
        if batch.num_columns() != columns.len() {
            return Err(Error::internal(format!(
                "the result has {} columns and {} were described",
                batch.num_columns(),
                columns.len()
            )));
        }
        let columns = batch
            .columns()
            .iter()
            .zip(columns)
            .map(|(array, column)| Values::new(array, column.pg_type, style.zone))
            .collect::<Result<_>>()?;
        Ok(Self { columns, rows: batch.num_rows(), style })
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub(crate) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Writes row `at` as a `DataRow`; on error nothing of it stays in `out`.
    pub(crate) fn put_row(&self, out: &mut BytesMut, at: usize, formats: &[Format]) -> Result<()> {
        let start = out.len();
        out.put_u8(MESSAGE_TYPE_BYTE_DATA_ROW);
        out.put_i32(0);
        out.put_i16(self.columns.len() as i16);
        let written = self.put_cells(out, at, formats).and_then(|()| {
            i32::try_from(out.len() - start - 1)
                .map_err(|_| Error::new(Kind::TooLarge, "a row is larger than 2 GiB; select fewer columns"))
        });
        match written {
            Ok(length) => out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes()),
            Err(error) => {
                out.truncate(start);
                return Err(error);
            }
        }
        Ok(())
    }

    fn put_cells(&self, out: &mut BytesMut, at: usize, formats: &[Format]) -> Result<()> {
        for (values, format) in self.columns.iter().zip(formats) {
            put_sized(out, values.is_null(at), |out| match format {
                Format::Text => put_text(out, values, at, &self.style),
                Format::Binary => put_binary(out, values, at),
            })?;
        }
        Ok(())
    }

    /// Writes row `at` as a tuple of the binary copy format: a count of fields, and each behind its length.
    pub(crate) fn put_binary_tuple(&self, out: &mut BytesMut, at: usize) -> Result<()> {
        out.put_i16(self.columns.len() as i16);
        for values in &self.columns {
            put_sized(out, values.is_null(at), |out| put_binary(out, values, at))?;
        }
        Ok(())
    }

    /// Whether the cell is NULL.
    pub(crate) fn is_null(&self, at: usize, column: usize) -> bool {
        self.columns[column].is_null(at)
    }

    /// Writes the text of one cell that is not NULL.
    pub(crate) fn put_cell_text(&self, out: &mut BytesMut, at: usize, column: usize) -> Result<()> {
        put_text(out, &self.columns[column], at, &self.style)
    }
}
