//! The scan of sealed files.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{Statistics, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;

use super::attributes::AttributeAdapters;
use super::hot::{ColumnCache, Once};
use super::lookup::{Rows, rows_of_traces, traces_of};
use super::prune::prune;
use super::source::SpansSource;
use super::statistics::{StartRange, file_statistics, total_statistics};
use crate::model::schema::physical_schema;
use crate::store::{DataFile, Snapshot, TraceSet};

/// The scan of files that a plan is, if it is one.
pub(super) fn spans_source(plan: &dyn ExecutionPlan) -> Option<(&FileScanConfig, &SpansSource)> {
    plan.downcast_ref::<DataSourceExec>()?.downcast_to_file_source()
}

/// The same scan with another source.
fn with_source(config: &FileScanConfig, source: Arc<dyn FileSource>) -> FileScanConfigBuilder {
    FileScanConfigBuilder::from(config.clone()).with_source(source)
}

/// The scan of Parquet files that a plan is, if it is one: what it reads, and the source that reads it.
pub(in crate::engine) fn file_scan(plan: &dyn ExecutionPlan) -> Option<(&FileScanConfig, &ParquetSource)> {
    let (config, source) = spans_source(plan)?;
    Some((config, source.parquet()?))
}

/// The same scan of files, for a statement for which `once` is enough; `None` when that makes no difference.
pub(in crate::engine) fn scan_once(plan: &dyn ExecutionPlan, once: Once) -> Option<Arc<dyn ExecutionPlan>> {
    let (config, source) = spans_source(plan)?;
    let columns = source.projection()?;
    let read = columns.column_indices();
    let is_told = match once {
        Once::Keys(_) => read.len() == 1 && source.filter().is_none(),
        Once::Rows => read.len() == 1 || read.iter().all(|at| may_have_dictionary(config.file_schema().field(*at))),
    };
    if config.limit.is_some() || columns.expr_iter().any(|expr| is_volatile(&expr)) || !is_told {
        return None;
    }
    Some(DataSourceExec::from_data_source(with_source(config, Arc::new(source.once(once))).build()))
}

/// Whether the column, or that of an attribute in it, may be places in a dictionary of text.
fn may_have_dictionary(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Utf8View | DataType::Map(..))
}

/// The same scan of files, whose batches may have dictionaries of text in the place of text in `columns`.
pub(in crate::engine) fn scan_coded(plan: &dyn ExecutionPlan, columns: &[usize]) -> Option<Arc<dyn ExecutionPlan>> {
    let (config, source) = spans_source(plan)?;
    Some(DataSourceExec::from_data_source(with_source(config, Arc::new(source.coded(columns))).build()))
}

/// The same scan over parts of its files, which lie in row groups of so many rows, and which leaves rows out that `predicate` does not want where
/// it reads them from files; `None` when the plan is no scan of files.
pub(in crate::engine) fn scan_parts(
    plan: &dyn ExecutionPlan,
    groups: Vec<FileGroup>,
    rows: usize,
    predicate: Option<Arc<dyn PhysicalExpr>>,
) -> Option<Arc<dyn ExecutionPlan>> {
    let (config, source) = spans_source(plan)?;
    let mut parquet = source.parquet()?.clone().with_pushdown_filters(true);
    if let Some(predicate) = predicate {
        parquet = parquet.with_predicate(predicate);
    }
    let known = Statistics { num_rows: Precision::Inexact(rows), ..config.statistics() };
    let config = with_source(config, source.around(Arc::new(parquet))).with_file_groups(groups).with_statistics(known);
    Some(DataSourceExec::from_data_source(config.build()))
}

/// Plans a scan of the files that the predicate may want; `None` when there is none.
pub(super) async fn scan_files(
    state: &dyn Session,
    readers: &Readers,
    snapshot: &Snapshot,
    projection: Option<&Vec<usize>>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let traces = traces_of(predicate.as_ref());
    let files = wanted_files(snapshot, predicate.as_ref(), traces.as_ref());
    let rows = rows_of_traces(snapshot, &files, traces.as_ref()).await;
    let parts = || files.iter().copied().zip(&rows).filter(|(_, rows)| **rows != Rows::None);
    let planned = |(file, rows): (&DataFile, &Rows)| {
        rows.attach(planned_file(file, rows).with_extension(file.clone()), file.rows)
    };
    let files: Vec<PartitionedFile> = parts().map(planned).collect();
    if files.is_empty() {
        return Ok(None);
    }
    state.runtime_env().register_object_store(&snapshot.object_store_url, snapshot.object_store.clone());
    let columns = file_columns(snapshot);
    let total = total_statistics(parts(), &columns);
    let is_lookup = rows.iter().all(|rows| *rows != Rows::All);
    // The rows of a trace are too few to share out: the shares would be put together again, by more threads.
    let is_small = is_lookup && total.num_rows.get_value().is_some_and(|rows| *rows <= state.config().batch_size());
    let shares = if is_small { 1 } else { state.config().target_partitions().max(1) };
    let groups = FileGroup::new(files).split_files(shares);
    let projection = projection.cloned().unwrap_or_else(|| (0..physical_schema().fields().len()).collect());
    let url = ObjectStoreUrl::parse(&snapshot.object_store_url)?;
    let source = readers.source(snapshot, columns, predicate).lookup(is_lookup);
    let config = FileScanConfigBuilder::new(url, Arc::new(source))
        .with_file_groups(groups)
        .with_statistics(total)
        .with_projection_indices(Some(projection))?
        .with_limit(limit)
        .with_expr_adapter(Some(Arc::new(AttributeAdapters)))
        .build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}

/// The files that the predicate may want, before anything is made for any of them: there may be thousands.
pub(super) fn wanted_files<'a>(
    snapshot: &'a Snapshot,
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    traces: Option<&TraceSet>,
) -> Vec<&'a DataFile> {
    let in_time = prune(predicate, snapshot.files.len(), |file| StartRange::of_file(&snapshot.files[file]));
    let files = snapshot.files.iter().zip(in_time).filter_map(|(file, in_time)| in_time.then_some(file));
    files.filter(|file| traces.is_none_or(|traces| file.may_have(traces))).collect()
}

/// A file of which a scan reads `rows`, with what is known of them.
pub(super) fn planned_file(file: &DataFile, rows: &Rows) -> PartitionedFile {
    let planned = PartitionedFile::new(file.location.to_string(), file.size_bytes);
    planned.with_statistics(file_statistics(file, rows))
}

/// What reading files takes beside the files.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    pub runtime: Arc<RuntimeEnv>,
    cache: Arc<ColumnCache>,
}

impl Readers {
    /// Those of a session.
    pub fn of(state: &dyn Session) -> Result<Self> {
        let cache = state.config().get_extension::<ColumnCache>();
        let cache = cache.ok_or_else(|| internal_datafusion_err!("a scan of files without a cache of columns"))?;
        Ok(Self { runtime: state.runtime_env().clone(), cache })
    }

    /// A source of files that may have `columns`.
    pub fn source(
        &self,
        snapshot: &Snapshot,
        columns: SchemaRef,
        predicate: Option<Arc<dyn PhysicalExpr>>,
    ) -> SpansSource {
        // Footers and page indexes are parsed once a file, not once a statement.
        let metadata = self.runtime.cache_manager.get_file_metadata_cache();
        let reader = CachedParquetFileReaderFactory::new(snapshot.object_store.clone(), metadata);
        let mut source = ParquetSource::new(columns);
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        SpansSource::new(source, Arc::new(reader), self.cache.clone())
    }
}

/// The columns that files may have: those of the table, and those of promoted attributes, which only the attribute adapter reads.
pub(super) fn file_columns(snapshot: &Snapshot) -> SchemaRef {
    let physical = physical_schema();
    let promoted = snapshot.promoted.columns().iter().map(|column| FieldRef::from(column.field()));
    Arc::new(Schema::new(physical.fields().iter().cloned().chain(promoted).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use datafusion::common::DFSchema;
    use datafusion::common::pruning::PrunableStatistics;
    use datafusion::logical_expr::{Expr, col, lit};
    use datafusion::object_store::memory::InMemory;
    use datafusion::object_store::path::Path;
    use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::super::statistics::tests::BUILT;
    use super::*;
    use crate::model::schema::{DURATION_NS, SERVICE_NAME, START_NS};

    const FILES: i64 = 2000;

    /// File `n` has the spans that start from `10 n` to `10 n + 12`; one file does not say.
    fn many_files() -> Snapshot {
        let file = |n: i64| DataFile {
            location: Path::from(format!("date=2026-01-01/{n:05}.parquet")),
            size_bytes: 1000,
            crc: None,
            rows: 7,
            date: "2026-01-01".into(),
            min_start_ns: if n == 1234 { i64::MIN } else { 10 * n },
            max_start_ns: if n == 1234 { i64::MAX } else { 10 * n + 12 },
            written_unix_ms: 0,
            index: crate::store::FileIndex::unread(Arc::default()),
        };
        Snapshot {
            table_version: Some(1),
            files: (0..FILES).map(file).collect(),
            promoted: Arc::default(),
            fresh: Arc::default(),
            expiry: None,
            object_store: Arc::new(InMemory::new()),
            quarantined_files: 0,
            status: None,
            object_store_url: url::Url::parse("spanhouse://table/").expect("a URL"),
        }
    }

    fn physical(expr: Expr) -> Arc<dyn PhysicalExpr> {
        let schema = DFSchema::try_from(physical_schema()).expect("schema");
        SessionContext::new().create_physical_expr(expr, &schema).expect("planned")
    }

    fn predicates() -> Vec<(Expr, usize)> {
        let start = || col(START_NS);
        let service = || col(SERVICE_NAME).eq(lit("a"));
        vec![
            (start().gt_eq(lit(500_i64)).and(start().lt(lit(520_i64))), 4),
            (start().eq(lit(505_i64)).and(service()), 2),
            (lit(500_i64).gt(start()), 51),
            (start().lt(lit(20_i64)).or(start().gt(lit(10 * FILES - 10))), 5),
            (start().lt(lit(20_i64)).or(service()), FILES as usize),
            (start().is_null(), 0),
            (service(), FILES as usize),
            (lit(false), 0),
            (col(DURATION_NS).gt(start()), FILES as usize),
        ]
    }

    fn paths(files: &[&DataFile]) -> Vec<String> {
        files.iter().map(|file| file.location.to_string()).collect()
    }

    /// The same files by DataFusion's reading of whole statistics, which takes them for unknown when one of them is.
    fn wanted_by_statistics<'a>(files: &[&'a DataFile], predicate: &Arc<dyn PhysicalExpr>) -> Vec<&'a DataFile> {
        let known = files.iter().map(|file| {
            let mut known = Statistics::new_unknown(&physical_schema());
            known.column_statistics[0] = file_statistics(file, &Rows::All).column_statistics[0].clone();
            Arc::new(known)
        });
        let known = PrunableStatistics::new(known.collect(), physical_schema());
        let pruning = PruningPredicateBuilder::new().with_file_schema(physical_schema()).build(predicate.clone());
        let wanted = pruning.map(|pruning| pruning.prune(&known).expect("pruned"));
        let wanted = wanted.unwrap_or_else(|| vec![true; files.len()]);
        files.iter().zip(wanted).filter_map(|(file, wanted)| wanted.then_some(*file)).collect()
    }

    #[test]
    fn the_log_tells_which_files_to_read() {
        let snapshot = many_files();
        for (expr, count) in predicates() {
            let predicate = physical(expr.clone());
            let wanted = wanted_files(&snapshot, Some(&predicate), None);
            assert_eq!(wanted.len(), count, "{expr}");
            let is_known = |file: &&DataFile| file.min_start_ns != i64::MIN;
            let known: Vec<_> = snapshot.files.iter().filter(is_known).collect();
            let wanted: Vec<_> = wanted.into_iter().filter(is_known).collect();
            assert!(paths(&wanted) == paths(&wanted_by_statistics(&known, &predicate)), "{expr}");
        }
    }

    #[tokio::test]
    async fn statistics_are_built_for_the_files_that_are_read_and_once() {
        let snapshot = many_files();
        let config = SessionConfig::new().with_extension(Arc::new(ColumnCache::new(1 << 20)));
        let state = SessionContext::new_with_config(config).state();
        let readers = Readers::of(&state).expect("readers");
        for (expr, count) in predicates() {
            let before = BUILT.get();
            let plan = scan_files(&state, &readers, &snapshot, None, Some(physical(expr.clone())), None);
            let plan = plan.await.expect("planned");
            assert_eq!(BUILT.get() - before, count, "{expr}");
            let files = plan
                .as_deref()
                .and_then(file_scan)
                .map_or(0, |(config, _)| config.file_groups.iter().map(FileGroup::len).sum::<usize>());
            assert_eq!(files, count, "{expr}");
        }
    }
}
