//! Opening files: from memory where that pays, else as the Parquet source does.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::file::{Opened, Scan};
use super::wide::BySize;

/// Opens files as `inner` does, or from memory.
pub(in crate::engine::scan) fn with_memory(inner: BySize, scan: Scan) -> Box<dyn Morselizer> {
    Box::new(HotMorselizer { inner: Arc::new(inner), may_pay: scan.may_pay(), scan: Arc::new(scan) })
}

/// Opens the files of one partition.
#[derive(Debug)]
struct HotMorselizer {
    inner: Arc<BySize>,
    scan: Arc<Scan>,
    /// Whether its files are worth a look.
    may_pay: bool,
}

impl Morselizer for HotMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        // Of a file whose rows are known already, a few pages are read.
        let may_pay = self.may_pay && file.extension::<ParquetRowSelection>().is_none();
        Ok(Box::new(Open { inner: self.inner.clone(), scan: self.scan.clone(), file, may_pay }))
    }
}

/// Reads the footer, and decides.
#[derive(Debug)]
struct Open {
    inner: Arc<BySize>,
    scan: Arc<Scan>,
    file: PartitionedFile,
    may_pay: bool,
}

impl Open {
    async fn open(mut self) -> Result<Box<dyn MorselPlanner>> {
        if self.may_pay {
            if let Some(keys) = self.scan.keys(&self.file).await? {
                return Ok(Box::new(Ready(stream::iter([Ok(keys)]).boxed())));
            }
            self.file = match self.scan.clone().open(self.file).await? {
                Opened::Hot(file) => return Ok(Box::new(Ready(file.into_stream()))),
                Opened::Plain(file) => *file,
            };
        }
        if let Some(rows) = self.scan.few_rows(&self.file).await? {
            return Ok(Box::new(Ready(rows)));
        }
        let rows = self.scan.batch_rows_of(&self.file).await?;
        self.inner.plan_file(self.scan.with_constants(self.file).await?, rows)
    }
}

impl MorselPlanner for Open {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(Some(MorselPlan::new().with_pending_planner(self.open())))
    }
}

/// A file that is read from memory.
struct Ready(BoxStream<'static, Result<RecordBatch>>);

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

impl MorselPlanner for Ready {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(Some(MorselPlan::new().with_morsels(vec![self])))
    }
}

impl Morsel for Ready {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        self.0
    }
}
