//! Files of wide rows: the Parquet source decodes few of them at a time, as nobody counts a batch before it is there.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::parquet::file::metadata::RowGroupMetaData;
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
pub(in crate::engine::scan) struct BySize(Vec<(usize, Arc<dyn Morselizer>)>);

impl fmt::Debug for BySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(rows, _)| rows)).finish()
    }
}

impl BySize {
    /// Opens files with batches of so many rows as `open` does that is made for them.
    pub fn new(usual: usize, open: impl Fn(usize) -> Result<Box<dyn Morselizer>>) -> Result<Self> {
        let sizes = batch_sizes(usual).map(|rows| Ok((rows, open(rows)?.into())));
        sizes.collect::<Result<_>>().map(Self)
    }

    /// Opens a file with batches of at most so many rows.
    pub(super) fn plan_file(&self, file: PartitionedFile, most_rows: usize) -> Result<Box<dyn MorselPlanner>> {
        let fitting = self.0.iter().find(|(rows, _)| *rows <= most_rows).or(self.0.last());
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
        let all = |group: &RowGroupMetaData| group.total_byte_size();
        let most_rows = fitting_rows(parquet.row_groups(), all);
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
        let read = |group: &RowGroupMetaData| leaves.iter().map(|leaf| group.column(*leaf).uncompressed_size()).sum();
        Ok(fitting_rows(parquet.metadata().row_groups(), read).min(self.batch_rows))
    }
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
