//! Batches into the row groups of one Parquet file.
//!
//! In place of the library's writer of batches, which compresses every page by itself: see [`super::planes`].

use std::io::Write;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{FieldRef, Int64Type, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::encoding::{Effort, ROW_GROUP_BYTES, ROW_GROUP_ROWS, planes_level, properties};
use super::planes::PlaneColumn;

/// Writes the rows of one file.
pub(super) struct RowGroups<W: Write> {
    file: SerializedFileWriter<W>,
    library: ArrowRowGroupWriterFactory,
    columns: SchemaRef,
    effort: Effort,
    open: Option<RowGroup>,
}

impl<W: Write + Send> RowGroups<W> {
    /// Begins a file of these columns. The Arrow schema is not embedded: other programs would take its views and fixed-size binaries
    /// for the columns' types.
    pub(super) fn new(sink: W, columns: SchemaRef, effort: Effort) -> Result<Self> {
        let schema = ArrowSchemaConverter::new().convert(&columns)?;
        let file = SerializedFileWriter::new(sink, schema.root_schema_ptr(), properties(&columns, effort).into())?;
        let library = ArrowRowGroupWriterFactory::new(&file, columns.clone());
        Ok(Self { file, library, columns, effort, open: None })
    }

    /// Writes rows, into as many row groups as it takes.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let group = match &mut self.open {
                Some(group) => group,
                none => none.insert(RowGroup::begin(&self.file, &self.library, &self.columns, self.effort)?),
            };
            let rows = group.room_rows().min(batch.num_rows() - from);
            group.write(&batch.slice(from, rows))?;
            from += rows;
            if group.room_rows() == 0 {
                self.end_group()?;
            }
        }
        Ok(())
    }

    /// Ends the last row group and gives the file, of which only the footer is missing.
    pub(super) fn finish(mut self) -> Result<SerializedFileWriter<W>> {
        self.end_group()?;
        Ok(self.file)
    }

    fn end_group(&mut self) -> Result<()> {
        let Some(group) = self.open.take() else { return Ok(()) };
        let mut file = self.file.next_row_group()?;
        for column in group.columns {
            column.append_to(&mut file)?;
        }
        file.close().map(|_| ())
    }
}

/// A row group in memory, encoded and compressed.
struct RowGroup {
    columns: Vec<ColumnWriter>,
    rows: usize,
}

impl RowGroup {
    fn begin<W: Write + Send>(
        file: &SerializedFileWriter<W>,
        library: &ArrowRowGroupWriterFactory,
        columns: &SchemaRef,
        effort: Effort,
    ) -> Result<Self> {
        let schema = file.schema_descr();
        let writers = library.create_column_writers(file.flushed_row_groups().len())?;
        let mut leaves = writers.into_iter().enumerate().peekable();
        let mut begin = |(number, field): (usize, &FieldRef)| {
            let mut of_field = Vec::new();
            while let Some((leaf, writer)) = leaves.next_if(|(leaf, _)| schema.get_column_root_idx(*leaf) == number) {
                let column = schema.column(leaf);
                if let Some(level) = planes_level(&column, effort) {
                    let planes = PlaneColumn::new(column, file.properties().clone(), level)?;
                    return Ok(ColumnWriter::Planes(Box::new(planes)));
                }
                of_field.push(writer);
            }
            Ok(ColumnWriter::Library(field.clone(), of_field))
        };
        let columns = columns.fields().iter().enumerate().map(&mut begin).collect::<Result<_>>()?;
        Ok(Self { columns, rows: 0 })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        self.columns.iter_mut().zip(batch.columns()).try_for_each(|(writer, column)| writer.write(column))
    }

    fn room_rows(&self) -> usize {
        room_rows(self.rows, self.columns.iter().map(ColumnWriter::bytes).sum())
    }
}

/// The rows that a row group has room for when it has `rows` that take `bytes`: as many as it may have, and not more bytes, if the
/// others are as large.
fn room_rows(rows: usize, bytes: usize) -> usize {
    let by_rows = ROW_GROUP_ROWS.saturating_sub(rows);
    match bytes.checked_div(rows) {
        None | Some(0) => by_rows,
        Some(row_bytes) => by_rows.min(ROW_GROUP_BYTES.saturating_sub(bytes) / row_bytes),
    }
}

/// What writes the chunks of one of the file's columns.
enum ColumnWriter {
    Planes(Box<PlaneColumn>),
    /// One writer a leaf.
    Library(FieldRef, Vec<ArrowColumnWriter>),
}

impl ColumnWriter {
    fn write(&mut self, column: &ArrayRef) -> Result<()> {
        match self {
            Self::Planes(writer) => match column.as_primitive_opt::<Int64Type>() {
                Some(values) => writer.write(values.values()),
                None => Err(ParquetError::General("a column of numbers has other values".to_owned())),
            },
            Self::Library(field, writers) => {
                let leaves = compute_leaves(field, column)?;
                writers.iter_mut().zip(&leaves).try_for_each(|(writer, leaf)| writer.write(leaf))
            }
        }
    }

    /// What the column takes so far of what it will take in the file.
    fn bytes(&self) -> usize {
        match self {
            Self::Planes(writer) => writer.written_bytes(),
            Self::Library(_, writers) => writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum(),
        }
    }

    fn append_to<W: Write + Send>(self, file: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        match self {
            Self::Planes(writer) => {
                let chunk = writer.close()?;
                file.append_column(&chunk.bytes, chunk.close)
            }
            Self::Library(_, writers) => {
                writers.into_iter().try_for_each(|writer| writer.close()?.append_to_row_group(file))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_group_has_room_for_rows_and_for_bytes() {
        let cases = [
            ((0, 0), ROW_GROUP_ROWS),
            ((1, 0), ROW_GROUP_ROWS - 1),
            ((8_192, 8_192 * 20), ROW_GROUP_ROWS - 8_192),
            ((ROW_GROUP_ROWS, 20), 0),
            ((ROW_GROUP_ROWS + 1, 20), 0),
            ((4, ROW_GROUP_BYTES / 2), 4),
            ((4, ROW_GROUP_BYTES - 8), 0),
            ((4, ROW_GROUP_BYTES), 0),
            ((1, 3 * ROW_GROUP_BYTES), 0),
        ];
        for ((rows, bytes), expected) in cases {
            assert_eq!(room_rows(rows, bytes), expected, "{rows} rows of {bytes} bytes");
        }
    }
}
