//! Files of wide rows: the Parquet source decodes few of them at a time, as nobody counts a batch before it is there.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use datafusion::physical_expr::utils::collect_columns;
use datafusion_datasource::morsel::{MorselPlanner, Morselizer};

use super::file::Scan;

/// The most bytes of a batch out of a file, on average: each partition has several on their way.
const MOST_BATCH_BYTES: usize = 32 << 20;

/// By so much a batch has fewer rows than the next larger kind: rows of some texts, of long ones, of megabytes.
const STEP: usize = 16;

/// The rows of a batch, from the usual ones down to one.
fn batch_sizes(usual: usize) -> impl Iterator<Item = usize> {
    let usual = usual.max(1);
    std::iter::successors(Some(usual), |rows| (*rows > 1).then_some((rows / STEP).max(1)))
}

/// The Parquet source's way of opening files, for each of [`batch_sizes`].
pub(in crate::engine::scan) struct BySize {
    by_size: Vec<(usize, Arc<dyn Morselizer>)>,
    /// With the usual batches, for files of which it is known which rows to read.
    of_known_rows: Option<Arc<dyn Morselizer>>,
}

impl fmt::Debug for BySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_size.iter().map(|(rows, _)| rows)).finish()
    }
}

impl BySize {
    /// Opens files with batches of so many rows as `open` does that is made for them.
    pub fn new(usual: usize, open: impl Fn(usize) -> Result<Box<dyn Morselizer>>) -> Result<Self> {
        let sizes = batch_sizes(usual).map(|rows| Ok((rows, open(rows)?.into())));
        Ok(Self { by_size: sizes.collect::<Result<_>>()?, of_known_rows: None })
    }

    /// Opens files of which it is known which rows to read as `open` does, while their batches may have the usual rows.
    pub fn with_known_rows(self, open: Option<Box<dyn Morselizer>>) -> Self {
        Self { of_known_rows: open.map(Arc::from), ..self }
    }

    /// Opens a file with batches of at most so many rows.
    pub(super) fn plan_file(&self, file: PartitionedFile, most_rows: usize) -> Result<Box<dyn MorselPlanner>> {
        let is_usual = self.by_size.first().is_some_and(|(rows, _)| *rows <= most_rows);
        let is_known = is_usual && file.extension::<ParquetRowSelection>().is_some();
        if let Some(open) = self.of_known_rows.as_ref().filter(|_| is_known) {
            return open.plan_file(file);
        }
        let fitting = self.by_size.iter().find(|(rows, _)| *rows <= most_rows).or(self.by_size.last());
        match fitting {
            Some((_, open)) => open.plan_file(file),
            None => datafusion::common::internal_err!("no way to open files"),
        }
    }
}

impl Scan {
    /// How many rows of a file a batch may have.
    pub(super) async fn batch_rows_of(&self, file: &PartitionedFile) -> Result<usize> {
        let parquet = self.reader(file)?.get_metadata(None).await?;
        let most_rows = rows_of_all_columns(parquet.row_groups());
        if most_rows >= self.batch_rows {
            return Ok(self.batch_rows);
        }
        // Of the columns only those count that are read.
        let parquet = self.parquet(file).await?;
        let adapter = self.adapters.create(self.file_schema.clone(), parquet.schema().clone())?;
        let projection = self.projection.clone().try_map_exprs(|expr| adapter.rewrite(expr))?;
        let mut roots: Vec<usize> =
            projection.expr_iter().flat_map(|expr| collect_columns(&expr)).map(|column| column.index()).collect();
        roots.sort_unstable();
        roots.dedup();
        let descriptor = parquet.parquet_schema();
        let leaves: Vec<usize> = (0..descriptor.num_columns())
            .filter(|leaf| roots.binary_search(&descriptor.get_column_root_idx(*leaf)).is_ok())
            .collect();
        let read = |group: &RowGroupMetaData| leaves.iter().map(|leaf| column_bytes(group.column(*leaf))).sum();
        Ok(fitting_rows(parquet.metadata().row_groups(), read).min(self.batch_rows))
    }
}

/// How many rows a batch may have, should it have all columns.
pub(super) fn rows_of_all_columns(groups: &[RowGroupMetaData]) -> usize {
    fitting_rows(groups, |group| group.columns().iter().map(column_bytes).sum())
}

/// How large a column is as a batch has it: with a value again for each row that has it, where the file has it once, in a dictionary.
fn column_bytes(column: &ColumnChunkMetaData) -> i64 {
    column.uncompressed_size().max(column.unencoded_byte_array_data_bytes().unwrap_or_default())
}

/// How many rows of any row group take what a batch may have, where a row group takes as many bytes as `bytes` says.
fn fitting_rows(groups: &[RowGroupMetaData], bytes: impl Fn(&RowGroupMetaData) -> i64) -> usize {
    let row_bytes = |group| (bytes(group) / group.num_rows().max(1)).max(1);
    let widest = groups.iter().map(row_bytes).max().unwrap_or(1);
    (MOST_BATCH_BYTES / usize::try_from(widest).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_fewer_rows_step_by_step() {
        assert_eq!(batch_sizes(8_192).collect::<Vec<_>>(), [8_192, 512, 32, 2, 1]);
        assert_eq!(batch_sizes(1).collect::<Vec<_>>(), [1]);
        assert_eq!(batch_sizes(0).collect::<Vec<_>>(), [1]);
    }
}
