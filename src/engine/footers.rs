//! The files of a scan with their footers, for operators that decide by them what to read.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, ParquetRowSelection};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::stream::{self, StreamExt, TryStreamExt};
use parquet::file::metadata::ParquetMetaData;

/// Footers read at once when they are not in memory.
const FOOTERS_AT_ONCE: usize = 16;

/// A file of a scan, with its footer.
pub(super) struct File {
    pub file: PartitionedFile,
    pub metadata: Arc<ParquetMetaData>,
}

/// Whether somebody knows better which rows of its files to read.
pub(super) fn is_chosen(config: &FileScanConfig) -> bool {
    config.file_groups.iter().flat_map(FileGroup::iter).any(|file| {
        file.extension::<ParquetAccessPlan>().is_some() || file.extension::<ParquetRowSelection>().is_some()
    })
}

/// The files of a scan, each once: whole, however the scan cuts them.
pub(super) fn whole_files(config: &FileScanConfig) -> Vec<PartitionedFile> {
    let mut seen = HashSet::new();
    let files = config.file_groups.iter().flat_map(FileGroup::iter);
    let files = files.filter(|file| seen.insert(file.object_meta.location.clone()));
    files.map(|file| PartitionedFile { range: None, ..file.clone() }).collect()
}

/// Files of a scan with their footers, from memory where they were read before.
pub(super) async fn with_footers(
    files: Vec<PartitionedFile>,
    config: &FileScanConfig,
    runtime: &RuntimeEnv,
) -> Result<Vec<File>> {
    let store = runtime.object_store(&config.object_store_url)?;
    let cache = runtime.cache_manager.get_file_metadata_cache();
    let footers = files.into_iter().map(|file| {
        let (store, cache) = (store.clone(), cache.clone());
        async move {
            let metadata = DFParquetMetadata::new(&store, &file.object_meta)
                .with_file_metadata_cache(Some(cache))
                .fetch_metadata()
                .await?;
            Ok(File { file, metadata })
        }
    });
    stream::iter(footers).buffered(FOOTERS_AT_ONCE).try_collect().await
}
