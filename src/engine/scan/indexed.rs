//! A Parquet source that asks the trace index of each file when the file is opened, with what the scan's filters are by then: a join knows
//! only when it runs which traces it wants.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::object_store::ObjectStore;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::{MorselPlan, MorselPlanner, Morselizer};

use super::lookup::Rows;
use super::wanted::wanted_traces;
use crate::store::{DataFile, TraceSet};

/// The source, around the one that reads. Files carry their [`DataFile`] as an extension.
#[derive(Clone)]
pub(super) struct IndexedSource {
    inner: Arc<dyn FileSource>,
    /// Whether the rows to read are known already: then files are small pieces of themselves, and not worth dividing.
    is_lookup: bool,
}

impl IndexedSource {
    pub(super) fn new(inner: Arc<dyn FileSource>, is_lookup: bool) -> Self {
        Self { inner, is_lookup }
    }

    /// The source that reads.
    pub(super) fn inner(&self) -> &Arc<dyn FileSource> {
        &self.inner
    }

    /// The source around another that reads.
    pub(super) fn around(&self, inner: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self { inner, ..self.clone() })
    }
}

impl FileSource for IndexedSource {
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
        let inner = self.inner.create_morselizer(object_store.clone(), base_config, partition)?;
        let changing =
            self.inner.filter().filter(|filter| DynamicFilterTracking::classify(filter).contains_dynamic_filter());
        let Some(filter) = changing else { return Ok(inner) };
        let left_out = MetricBuilder::new(self.inner.metrics()).global_counter("files_pruned_trace_index");
        let wanted = Wanted { filter, seen: Mutex::default() };
        Ok(Box::new(Lookup { inner: inner.into(), object_store, wanted, left_out }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        self.around(self.inner.with_batch_size(batch_size))
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
        let pushed = self.inner.try_pushdown_filters(filters, config)?;
        let updated_node = pushed.updated_node.map(|inner| self.around(inner));
        Ok(FilterPushdownPropagation { filters: pushed.filters, updated_node })
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

/// Opens files as the inner morselizer does, once their index has said which rows to read.
struct Lookup {
    inner: Arc<dyn Morselizer>,
    object_store: Arc<dyn ObjectStore>,
    wanted: Wanted,
    left_out: Count,
}

/// The traces that a filter wants, told anew when the filter has changed.
struct Wanted {
    filter: Arc<dyn PhysicalExpr>,
    seen: Mutex<(u64, Option<Arc<TraceSet>>)>,
}

impl Wanted {
    fn now(&self) -> Option<Arc<TraceSet>> {
        let generation = snapshot_generation(&self.filter);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != generation {
            let ids = wanted_traces(&self.filter);
            *seen = (generation, ids.map(|ids| Arc::new(TraceSet::new(ids.iter().map(Vec::as_slice)))));
        }
        seen.1.clone()
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Morselizer for Lookup {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let is_known = file.extension::<ParquetRowSelection>().is_some();
        let indexed = file.extension::<DataFile>().filter(|_| !is_known).cloned();
        match (indexed, self.wanted.now()) {
            (Some(indexed), Some(traces)) => Ok(Box::new(AskIndex {
                inner: self.inner.clone(),
                object_store: self.object_store.clone(),
                left_out: self.left_out.clone(),
                file,
                indexed,
                traces,
            })),
            _ => self.inner.plan_file(file),
        }
    }
}

/// Reads a block of the file's index, then plans the file.
struct AskIndex {
    inner: Arc<dyn Morselizer>,
    object_store: Arc<dyn ObjectStore>,
    left_out: Count,
    file: PartitionedFile,
    indexed: DataFile,
    traces: Arc<TraceSet>,
}

impl fmt::Debug for AskIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskIndex").field("file", &self.indexed.location).finish_non_exhaustive()
    }
}

impl AskIndex {
    async fn ask(self) -> Result<Box<dyn MorselPlanner>> {
        match Rows::of_index(self.indexed.rows_of(&self.object_store, &self.traces).await) {
            Rows::None => {
                self.left_out.add(1);
                Ok(Box::new(NothingToRead))
            }
            rows => self.inner.plan_file(rows.attach(self.file, self.indexed.rows)),
        }
    }
}

impl MorselPlanner for AskIndex {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(Some(MorselPlan::new().with_pending_planner(self.ask())))
    }
}

/// The plan of a file that has no trace that is wanted.
#[derive(Debug)]
struct NothingToRead;

impl MorselPlanner for NothingToRead {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(None)
    }
}
