//! One file of a scan: which columns of which row groups it takes, and whether to keep them.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    PagePruningAccessPlanFilter, ParquetAccessPlan, ParquetFileMetrics, ParquetFileReaderFactory, RowGroupAccess,
    RowGroupAccessPlanFilter, apply_file_schema_type_coercions,
};
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::{ProjectionExprs, Projector};
use datafusion::physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};

use super::cache::{ColumnCache, ColumnKey};

/// What the partitions of a scan of files have in common.
pub(super) struct Scan {
    /// The table's columns, as plans name them.
    pub file_schema: SchemaRef,
    pub output_schema: SchemaRef,
    pub projection: ProjectionExprs,
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    pub adapters: Arc<dyn PhysicalExprAdapterFactory>,
    pub readers: Arc<dyn ParquetFileReaderFactory>,
    pub cache: Arc<ColumnCache>,
    /// The rows of all files of the scan, when known.
    pub rows: Option<usize>,
    pub batch_rows: usize,
    pub partition: usize,
    pub metrics: ExecutionPlanMetricsSet,
}

/// Of the cache's budget, the share that one scan may take: more would drive out everything else.
const SCAN_SHARE: usize = 2;
/// What a value takes in memory, about: times take 8 bytes, views and trace ids 16.
const VALUE_BYTES: usize = 16;
/// When less than one in so many rows is wanted, a row group is not decoded whole for them.
const LEAST_SHARE: usize = 8;

impl Scan {
    /// Whether the columns of all files together leave room in the cache for others. A map counts as one: what is read of it may be one
    /// attribute, for which a file has a column.
    pub(super) fn may_be_kept(&self) -> bool {
        let columns = self.projection.column_indices();
        let bytes = self.rows.map(|rows| rows.saturating_mul(columns.len()).saturating_mul(VALUE_BYTES));
        bytes.is_some_and(|bytes| bytes <= self.cache.budget_bytes() / SCAN_SHARE)
    }

    /// Opens a file; `None` when the Parquet source serves it better.
    pub(super) async fn open(self: Arc<Self>, file: &PartitionedFile) -> Result<Option<HotFile>> {
        let mut reader = self.reader(file)?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let mut parquet = ArrowReaderMetadata::load_async(&mut reader, options.clone()).await?;
        if let Some(coerced) = apply_file_schema_type_coercions(&self.file_schema, parquet.schema()) {
            parquet = ArrowReaderMetadata::try_new(parquet.metadata().clone(), options.with_schema(Arc::new(coerced)))?;
        }
        let schema = parquet.schema().clone();
        let adapter = self.adapters.create(self.file_schema.clone(), schema.clone())?;
        let simplifier = PhysicalExprSimplifier::new(&schema);
        let adapt = |expr| simplifier.simplify(adapter.rewrite(expr)?);
        let projection = self.projection.clone().try_map_exprs(adapt)?;
        let predicate = self.predicate.clone().map(adapt).transpose()?;
        let Some((columns, projector)) = Columns::of(&projection, &schema)? else { return Ok(None) };
        let name = file.object_meta.location.as_ref();
        let opened = HotFile {
            name: name.into(),
            columns,
            projector,
            predicate,
            file_metrics: ParquetFileMetrics::new(self.partition, name, &self.metrics),
            hits: MetricBuilder::new(&self.metrics).counter("columns_from_memory", self.partition),
            misses: MetricBuilder::new(&self.metrics).counter("columns_decoded", self.partition),
            groups: Vec::new(),
            parquet,
            file: file.clone(),
            scan: self,
        };
        Ok(opened.with_groups())
    }

    pub(super) fn reader(&self, file: &PartitionedFile) -> Result<Box<dyn AsyncFileReader>> {
        let reader =
            self.readers.create_reader(self.partition, file.clone(), file.metadata_size_hint, &self.metrics)?;
        Ok(reader)
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("projection", &self.projection).field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// The columns of a file that a scan takes.
pub(super) struct Columns {
    /// Their places in the file.
    pub roots: Vec<usize>,
    pub names: Vec<Arc<str>>,
    pub schema: SchemaRef,
}

impl Columns {
    /// What a projection over the file's columns takes, and the projection of that; `None` when it takes maps or lists.
    fn of(projection: &ProjectionExprs, file: &SchemaRef) -> Result<Option<(Self, Projector)>> {
        let mut roots: Vec<usize> =
            projection.expr_iter().flat_map(|expr| collect_columns(&expr)).map(|column| column.index()).collect();
        roots.sort_unstable();
        roots.dedup();
        if roots.iter().any(|root| file.field(*root).data_type().is_nested()) {
            return Ok(None);
        }
        let schema = Arc::new(file.project(&roots)?);
        let names = schema.fields().iter().map(|field| field.name().as_str().into()).collect();
        let projection = projection.clone().try_map_exprs(|expr| reassign_expr_columns(expr, &schema))?;
        let projector = projection.make_projector(&schema)?;
        Ok(Some((Self { roots, names, schema }, projector)))
    }
}

/// A file that is read through the cache.
pub(super) struct HotFile {
    pub scan: Arc<Scan>,
    pub name: Arc<str>,
    pub file: PartitionedFile,
    pub parquet: ArrowReaderMetadata,
    pub columns: Columns,
    pub projector: Projector,
    /// In terms of the file's columns.
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    pub file_metrics: ParquetFileMetrics,
    pub hits: Count,
    pub misses: Count,
    /// The row groups to read, in the file's order.
    pub groups: Vec<Group>,
}

/// A row group and which of its rows to read.
pub(super) struct Group {
    pub index: usize,
    pub access: RowGroupAccess,
}

impl HotFile {
    fn with_groups(mut self) -> Option<Self> {
        let row_groups = self.parquet.metadata().row_groups();
        let mut plan = RowGroupAccessPlanFilter::new(ParquetAccessPlan::new_all(row_groups.len()));
        if let Some(range) = &self.file.range {
            plan.prune_by_range(row_groups, range);
        }
        self.groups = self.prune(plan);
        self.is_worth_keeping().then_some(self)
    }

    /// Leaves out of `plan` what the predicate, as it stands now, does not want.
    pub(super) fn prune(&self, mut plan: RowGroupAccessPlanFilter) -> Vec<Group> {
        let (schema, parquet) = (self.parquet.schema(), self.parquet.metadata());
        let pruning = self.predicate.as_ref().and_then(|predicate| {
            PruningPredicateBuilder::new().with_file_schema(schema.clone()).build(predicate.clone())
        });
        if let Some(pruning) = pruning {
            let descriptor = self.parquet.parquet_schema();
            plan.prune_by_statistics(schema, descriptor, parquet.row_groups(), &pruning, &self.file_metrics);
        }
        let mut plan = plan.build();
        if let Some(predicate) = self.predicate.as_ref().filter(|_| !plan.row_group_indexes().is_empty()) {
            let pages = PagePruningAccessPlanFilter::new(predicate, schema.clone());
            if pages.filter_number() > 0 {
                let descriptor = self.parquet.parquet_schema();
                plan = pages.prune_plan_with_page_index(plan, schema, descriptor, parquet, &self.file_metrics);
            }
        }
        let groups = plan.into_inner().into_iter().enumerate();
        groups.map(|(index, access)| Group { index, access }).filter(|group| group.access.should_scan()).collect()
    }

    /// Whether the columns are in memory, or enough of their rows are wanted.
    fn is_worth_keeping(&self) -> bool {
        let (mut wanted, mut all) = (0, 0);
        for group in &self.groups {
            let is_missing =
                self.columns.names.iter().any(|column| !self.scan.cache.contains(&self.key(group.index, column)));
            if is_missing {
                let rows = self.row_group(group.index).num_rows() as usize;
                all += rows;
                wanted += match &group.access {
                    RowGroupAccess::Skip => 0,
                    RowGroupAccess::Scan => rows,
                    RowGroupAccess::Selection(selection) => selection.row_count(),
                };
            }
        }
        wanted * LEAST_SHARE >= all
    }

    pub(super) fn row_group(&self, index: usize) -> &RowGroupMetaData {
        self.parquet.metadata().row_group(index)
    }

    pub(super) fn key(&self, row_group: usize, column: &Arc<str>) -> ColumnKey {
        ColumnKey { file: self.name.clone(), row_group, column: column.clone() }
    }
}
