//! The source of spans in files: the Parquet source, with memory for the columns that it decodes and with the trace index.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::object_store::ObjectStore;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{
    EquivalenceProperties, PhysicalExpr, PhysicalSortExpr, conjunction, split_conjunction,
};
use datafusion::physical_expr_adapter::DefaultPhysicalExprAdapterFactory;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::Morselizer;

use super::attributes::reads_single_attributes;
use super::hot::{BySize, ColumnCache, Once, Scan, row_bytes, with_memory};
use super::indexed::with_index;
use super::wanted::names_traces;

/// The source, around the Parquet source.
#[derive(Clone)]
pub(super) struct SpansSource {
    inner: Arc<dyn FileSource>,
    /// Whether the rows to read are known already: then files are small pieces of themselves, and not worth dividing.
    is_lookup: bool,
    readers: Arc<dyn ParquetFileReaderFactory>,
    cache: Arc<ColumnCache>,
    batch_rows: usize,
    once: Option<Once>,
    coded: Arc<[usize]>,
}

/// Whether all conditions of `filter` are among `known`.
fn are_among(filter: &Arc<dyn PhysicalExpr>, known: &[&Arc<dyn PhysicalExpr>]) -> bool {
    split_conjunction(filter).into_iter().all(|condition| known.contains(&condition))
}

/// The Parquet source with more conditions, by which it leaves out what it can; whoever asks for them applies them to the rest.
fn with_conditions(source: &Arc<dyn FileSource>, more: Vec<Arc<dyn PhysicalExpr>>) -> Option<Arc<dyn FileSource>> {
    let parquet = source.downcast_ref::<ParquetSource>()?;
    Some(Arc::new(parquet.with_predicate(conjunction(source.filter().into_iter().chain(more)))))
}

/// DataFusion's usual batch, until it says otherwise.
const BATCH_ROWS: usize = 8192;

impl SpansSource {
    /// Wraps `inner`, which reads through `readers`.
    pub fn new(inner: ParquetSource, readers: Arc<dyn ParquetFileReaderFactory>, cache: Arc<ColumnCache>) -> Self {
        let inner = inner.with_parquet_file_reader_factory(readers.clone());
        Self {
            inner: Arc::new(inner),
            is_lookup: false,
            readers,
            cache,
            batch_rows: BATCH_ROWS,
            once: None,
            coded: Arc::default(),
        }
    }

    /// The Parquet source inside.
    pub fn parquet(&self) -> Option<&ParquetSource> {
        self.inner.downcast_ref()
    }

    /// The columns of files that are in memory.
    pub fn cache(&self) -> &ColumnCache {
        &self.cache
    }

    /// The source of files of which the rows to read are known already, when `is_lookup` says so.
    pub fn lookup(&self, is_lookup: bool) -> Self {
        Self { is_lookup, ..self.clone() }
    }

    /// The conditions for files of which the trace index has told the rows: the traces that they are of are nothing to leave pages out by,
    /// and a filter with thousands of them takes longer to look at than those rows to read. `None` where no file may be such.
    fn beside_traces(&self) -> Option<Vec<Arc<dyn PhysicalExpr>>> {
        let filter = self.inner.filter()?;
        let is_learnt = |term: &Arc<dyn PhysicalExpr>| DynamicFilterTracking::classify(term).contains_dynamic_filter();
        if !self.is_lookup && !is_learnt(&filter) {
            return None;
        }
        let terms = split_conjunction(&filter).into_iter().filter(|term| !is_learnt(term) && !names_traces(term));
        Some(terms.cloned().collect())
    }

    /// Whether a filter stays above that leaves rows out again.
    fn only_prunes(&self) -> bool {
        self.parquet().is_some_and(|source| !source.table_parquet_options().global.pushdown_filters)
    }

    /// The source that need not give rows more than once. Its filters only say which rows may be left out.
    pub fn once(&self, once: Once) -> Self {
        Self { once: Some(once), ..self.clone() }
    }

    /// The source whose batches may have dictionaries of text in the place of text, in these columns of its output: for a reader that
    /// takes both.
    pub fn coded(&self, columns: &[usize]) -> Self {
        Self { coded: columns.into(), ..self.clone() }
    }

    /// The source around another Parquet source.
    pub fn around(&self, inner: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self { inner, ..self.clone() })
    }
}

impl FileSource for SpansSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.inner.create_file_opener(object_store, base_config, partition)
    }

    fn create_morselizer(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        let Some(projection) = self.inner.projection().cloned() else {
            return self.inner.create_morselizer(object_store, base_config, partition);
        };
        let inner = BySize::new(self.batch_rows, |rows| {
            self.inner.with_batch_size(rows).create_morselizer(object_store.clone(), base_config, partition)
        })?;
        let beside_traces = self.beside_traces();
        let takes_all_of_traces = beside_traces.as_ref().is_some_and(Vec::is_empty) && self.only_prunes();
        let of_known_rows = beside_traces.zip(self.parquet()).map(|(terms, source)| {
            let source = source.clone().with_predicate(conjunction(terms)).with_batch_size(self.batch_rows);
            source.create_morselizer(object_store.clone(), base_config, partition)
        });
        let inner = inner.with_known_rows(of_known_rows.transpose()?);
        let table = self.inner.table_schema();
        let adapters = base_config.expr_adapter_factory.clone();
        let scan = Scan {
            file_schema: table.file_schema().clone(),
            output_schema: Arc::new(projection.project_schema(table.table_schema())?),
            row_bytes: row_bytes(&projection, &self.coded, table.file_schema()),
            projection,
            predicate: self.inner.filter(),
            adapters: adapters.unwrap_or_else(|| Arc::new(DefaultPhysicalExprAdapterFactory)),
            readers: self.readers.clone(),
            cache: self.cache.clone(),
            rows: base_config.statistics().num_rows.get_value().copied(),
            batch_rows: self.batch_rows,
            once: self.once,
            takes_all_of_traces,
            coded: self.coded.clone(),
            partition,
            metrics: self.inner.metrics().clone(),
        };
        Ok(with_index(with_memory(inner, scan), self.inner.filter(), self.inner.metrics(), object_store))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { inner: self.inner.with_batch_size(batch_size), batch_rows: batch_size, ..self.clone() })
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        if self.is_lookup && t != DisplayFormatType::TreeRender {
            write!(f, ", rows=by trace index")?;
        }
        if self.once.is_some() && t != DisplayFormatType::TreeRender {
            write!(f, ", rows=once")?;
        }
        self.inner.fmt_extra(t, f)
    }

    fn supports_repartitioning(&self) -> bool {
        !self.is_lookup && self.inner.supports_repartitioning()
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        // Conditions reach a scan twice: with its table, and from the filter that stays above it.
        let known = self.inner.filter();
        let known: Vec<_> = known.iter().flat_map(split_conjunction).collect();
        let is_known: Vec<bool> = filters.iter().map(|filter| are_among(filter, &known)).collect();
        // The Parquet source takes no condition on a map, since it does not know which columns a file has in its place.
        let (mut passed, mut on_attributes, mut is_passed) = (Vec::new(), Vec::new(), Vec::new());
        for (filter, is_known) in filters.into_iter().zip(is_known) {
            let is_on_attributes = !is_known && reads_single_attributes(&filter)?;
            is_passed.push(!is_known && !is_on_attributes);
            match is_known {
                true => {}
                false if is_on_attributes => on_attributes.push(filter),
                false => passed.push(filter),
            }
        }
        let pushed = self.inner.try_pushdown_filters(passed, config)?;
        let mut of_passed = pushed.filters.into_iter();
        let filters = is_passed.into_iter().map(|is_passed| match is_passed {
            true => of_passed.next().unwrap_or(PushedDown::No),
            false => PushedDown::No,
        });
        let filters = filters.collect();
        let inner = match on_attributes.is_empty() {
            true => pushed.updated_node,
            false => with_conditions(&pushed.updated_node.unwrap_or_else(|| self.inner.clone()), on_attributes),
        };
        Ok(FilterPushdownPropagation { filters, updated_node: inner.map(|inner| self.around(inner)) })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        eq_properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(self.inner.try_pushdown_sort(order, eq_properties)?.map(|inner| self.around(inner)))
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.inner.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.inner.try_pushdown_projection(projection)?.map(|inner| self.around(inner)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}
