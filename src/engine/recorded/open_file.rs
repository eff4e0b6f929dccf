//! Parquet out of files that are open already, so that they may be deleted while a statement reads them.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::internal_datafusion_err;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::RecordedFile;

/// Reads the open file that a planned file carries.
#[derive(Debug)]
pub(super) struct OpenFiles;

impl ParquetFileReaderFactory for OpenFiles {
    fn create_reader(
        &self,
        _partition_index: usize,
        planned: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let file = planned.extension::<RecordedFile>();
        let file = file.ok_or_else(|| internal_datafusion_err!("a recorded file that is not open"))?;
        Ok(Box::new(Reader(file.clone())))
    }
}

/// Reads where it is told: several may read one file at once.
struct Reader(RecordedFile);

impl Reader {
    fn read(&self, range: &Range<u64>) -> ParquetResult<Bytes> {
        let wrong = |why: &dyn std::fmt::Display| ParquetError::General(format!("{}: {why}", self.0.name));
        if range.start > range.end || range.end > self.0.bytes {
            return Err(wrong(&"a range beyond the end of the file"));
        }
        let length = usize::try_from(range.end - range.start).map_err(|error| wrong(&error))?;
        let mut bytes = vec![0; length];
        self.0.file.read_exact_at(&mut bytes, range.start).map_err(|error| wrong(&error))?;
        Ok(bytes.into())
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        // Statements have threads of their own, and the files of months lie in the page cache.
        ready(self.read(&range)).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let bytes = self.0.bytes;
            let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
            reader.load_and_finish(&mut *self, bytes).await.map(Arc::new)
        }
        .boxed()
    }
}
