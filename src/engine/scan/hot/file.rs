//! One file of a scan: which columns of which row groups it takes, and whether to keep them.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    ParquetAccessPlan, ParquetFileMetrics, ParquetFileReaderFactory, RowGroupAccess, RowGroupAccessPlanFilter,
};
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::basic::{Encoding, Type};
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, RowGroupMetaData};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};

use super::cache::{ColumnCache, ColumnKey, Values};
use super::distinct::is_told;
use super::footer::{rows_that_may_match, with_types_of};
use crate::engine::functions::quotients_in_one_pass;
use crate::model::promoted::Owner;

/// What is enough for a statement that drops duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Once {
    /// Each row that the scan would give, once or more often.
    Rows,
    /// Instead of the keys of each map, lists that have each key of any map once or more often.
    Keys(Owner),
}

/// What the partitions of a scan of files have in common.
pub(in crate::engine::scan) struct Scan {
    /// The table's columns, as plans name them.
    pub file_schema: SchemaRef,
    pub output_schema: SchemaRef,
    pub projection: ProjectionExprs,
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    pub adapters: Arc<dyn PhysicalExprAdapterFactory>,
    pub readers: Arc<dyn ParquetFileReaderFactory>,
    pub cache: Arc<ColumnCache>,
    /// The rows of all row groups that the scan may read, when known.
    pub rows: Option<usize>,
    /// What a row takes in the cache, about.
    pub row_bytes: usize,
    pub batch_rows: usize,
    pub once: Option<Once>,
    /// Whether rows that the trace index names are all wanted, and not left out by other conditions before they are read.
    pub takes_all_of_traces: bool,
    /// Columns of the output that may be dictionaries.
    pub coded: Arc<[usize]>,
    pub partition: usize,
    pub metrics: ExecutionPlanMetricsSet,
}

/// Of the cache's budget, the share that one scan may take: more would drive out everything else.
const SCAN_SHARE: usize = 2;
/// The most bytes of texts of a row group that are decoded whole: each partition of each statement decodes one at a time, and the memory of
/// statements does not know of it.
const MOST_TEXT_BYTES: usize = 64 << 20;
/// When less than one in so many rows is wanted, a row group is not decoded whole for them.
const LEAST_SHARE: usize = 8;

impl Scan {
    /// Whether the columns of all files together leave room in the cache for others.
    pub(super) fn may_be_kept(&self) -> bool {
        let bytes = self.rows.map(|rows| rows.saturating_mul(self.row_bytes));
        bytes.is_some_and(|bytes| bytes <= self.cache.budget_bytes() / SCAN_SHARE)
    }

    /// Whether files are worth a look.
    pub(super) fn may_pay(&self) -> bool {
        self.once.is_some() || self.may_be_kept() || self.may_be_told()
    }

    /// A file's footer, from memory where it was read before.
    pub(super) async fn parquet(&self, file: &PartitionedFile) -> Result<ArrowReaderMetadata> {
        let name = file.object_meta.location.as_ref();
        if let Some(known) = self.cache.footer(name) {
            return Ok(known);
        }
        let parquet = self.read_parquet(file).await?;
        self.cache.insert_footer(name.into(), parquet.clone());
        Ok(parquet)
    }

    async fn read_parquet(&self, file: &PartitionedFile) -> Result<ArrowReaderMetadata> {
        let mut reader = self.reader(file)?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let parquet = ArrowReaderMetadata::load_async(&mut reader, options).await?;
        with_types_of(&self.file_schema, parquet)
    }

    /// Opens a file.
    pub(super) async fn open(self: Arc<Self>, file: PartitionedFile) -> Result<Opened> {
        let parquet = self.parquet(&file).await?;
        let schema = parquet.schema().clone();
        let adapter = self.adapters.create(self.file_schema.clone(), schema.clone())?;
        let simplifier = PhysicalExprSimplifier::new(&schema);
        let adapt = |expr| simplifier.simplify(adapter.rewrite(expr)?);
        let in_one_pass = |expr| quotients_in_one_pass(adapt(expr)?, &schema);
        let projection = self.projection.clone().try_map_exprs(in_one_pass)?;
        let predicate = self.predicate.clone().map(adapt).transpose()?;
        let flat = Columns::of(&projection, &self.coded, &schema)?;
        let is_flat = flat.is_some();
        let (columns, exprs) = flat.unwrap_or_else(|| (Columns::none(), Vec::new()));
        let name = file.object_meta.location.as_ref();
        let mut opened = HotFile {
            name: name.into(),
            columns,
            exprs,
            predicate,
            file_metrics: ParquetFileMetrics::new(self.partition, name, &self.metrics),
            hits: MetricBuilder::new(&self.metrics).counter("columns_from_memory", self.partition),
            misses: MetricBuilder::new(&self.metrics).counter("columns_decoded", self.partition),
            groups: Vec::new(),
            parquet,
            file,
            scan: self,
        };
        opened.choose_groups();
        let is_less = opened.prune_by_dictionaries().await?;
        let is_nothing = is_less && opened.groups.is_empty();
        if is_nothing || is_flat && opened.is_better() {
            return Ok(Opened::Hot(Box::new(opened)));
        }
        Ok(Opened::Plain(Box::new(if is_less { opened.with_access() } else { opened.file })))
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

type Exprs = Vec<Arc<dyn PhysicalExpr>>;

/// The columns of a file that a scan takes.
pub(super) struct Columns {
    /// Their places in the file.
    pub roots: Vec<usize>,
    pub names: Vec<Arc<str>>,
    pub schema: SchemaRef,
    /// In which form each is read.
    pub forms: Vec<Values>,
}

impl Columns {
    fn none() -> Self {
        Self { roots: Vec::new(), names: Vec::new(), schema: Arc::new(Schema::empty()), forms: Vec::new() }
    }

    /// What a projection over the file's columns takes, and its expressions over that; `None` when it takes maps or lists. Texts that only
    /// stand where `coded` says are read as codes.
    fn of(projection: &ProjectionExprs, coded: &[usize], file: &SchemaRef) -> Result<Option<(Self, Exprs)>> {
        let mut uses: Vec<usize> =
            projection.expr_iter().flat_map(|expr| collect_columns(&expr)).map(|column| column.index()).collect();
        uses.sort_unstable();
        let mut roots = uses.clone();
        roots.dedup();
        if roots.iter().any(|root| file.field(*root).data_type().is_nested()) {
            return Ok(None);
        }
        let schema = Arc::new(file.project(&roots)?);
        let names = schema.fields().iter().map(|field| field.name().as_str().into()).collect();
        let given: Exprs = projection.expr_iter().collect();
        let coded = coded.iter().filter_map(|at| Some(given.get(*at)?.downcast_ref::<Column>()?.index()));
        let is_used_once = |root: &usize| uses.iter().filter(|used| *used == root).count() == 1;
        let coded: Vec<usize> = coded.filter(is_used_once).collect();
        let form = |root: &usize| match coded.contains(root) && *file.field(*root).data_type() == DataType::Utf8View {
            true => Values::Codes,
            false => Values::Rows,
        };
        let forms = roots.iter().map(form).collect();
        let exprs = given.into_iter().map(|expr| reassign_expr_columns(expr, &schema)).collect::<Result<_>>()?;
        Ok(Some((Self { roots, names, schema, forms }, exprs)))
    }
}

/// How a file is read.
pub(super) enum Opened {
    /// Through the cache.
    Hot(Box<HotFile>),
    /// By the Parquet source, which serves it better.
    Plain(Box<PartitionedFile>),
}

/// A file that is read through the cache.
pub(super) struct HotFile {
    pub scan: Arc<Scan>,
    pub name: Arc<str>,
    pub file: PartitionedFile,
    pub parquet: ArrowReaderMetadata,
    pub columns: Columns,
    /// What is made of the columns.
    pub exprs: Exprs,
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
    fn choose_groups(&mut self) {
        let row_groups = self.parquet.metadata().row_groups();
        let chosen = self.file.extension::<ParquetAccessPlan>().cloned();
        let access = chosen.filter(|chosen| chosen.len() == row_groups.len());
        let access = access.unwrap_or_else(|| ParquetAccessPlan::new_all(row_groups.len()));
        let mut plan = RowGroupAccessPlanFilter::new(access);
        if let Some(range) = &self.file.range {
            plan.prune_by_range(row_groups, range);
        }
        self.groups = self.prune(plan);
    }

    /// Whether the Parquet source would have more to do.
    fn is_better(&self) -> bool {
        let is_told = self
            .chunk()
            .is_some_and(|leaf| self.groups.iter().all(|group| is_told(self.row_group(group.index).column(leaf))));
        is_told || self.scan.may_be_kept() && self.is_little_text() && self.is_worth_keeping()
    }

    /// Whether texts are short enough for whole columns of a row group at a time.
    fn is_little_text(&self) -> bool {
        let leaves: Vec<usize> = self.columns.roots.iter().filter_map(|root| self.leaf(*root)).collect();
        self.groups.iter().all(|group| {
            let chunks = leaves.iter().map(|leaf| self.row_group(group.index).column(*leaf));
            chunks.map(text_bytes).fold(0, usize::saturating_add) <= MOST_TEXT_BYTES
        })
    }

    /// The file with its row groups chosen.
    fn with_access(self) -> PartitionedFile {
        let mut access = ParquetAccessPlan::new_none(self.parquet.metadata().num_row_groups());
        self.groups.into_iter().for_each(|group| access.set(group.index, group.access));
        self.file.with_extension(access)
    }

    /// Leaves out of `plan` what the predicate, as it stands now, does not want.
    pub(super) fn prune(&self, plan: RowGroupAccessPlanFilter) -> Vec<Group> {
        let plan = rows_that_may_match(self.predicate.as_ref(), &self.parquet, plan, &self.file_metrics);
        let groups = plan.into_inner().into_iter().enumerate();
        groups.map(|(index, access)| Group { index, access }).filter(|group| group.access.should_scan()).collect()
    }

    /// The place among Parquet's columns of the only one that is read, when its distinct values are enough.
    pub(super) fn chunk(&self) -> Option<usize> {
        let [root] = self.columns.roots.as_slice() else { return None };
        if self.scan.once == Some(Once::Rows) { self.leaf(*root) } else { None }
    }

    /// The place among Parquet's columns of one of the file's that is neither map nor list.
    pub(super) fn leaf(&self, root: usize) -> Option<usize> {
        let parquet = self.parquet.parquet_schema();
        (0..parquet.num_columns()).find(|leaf| parquet.get_column_root_idx(*leaf) == root)
    }

    /// Whether the columns are in memory, or enough of their rows are wanted, or some so often.
    fn is_worth_keeping(&self) -> bool {
        let (mut wanted, mut all) = (0, 0);
        let mut missing = Vec::new();
        for group in &self.groups {
            let before = missing.len();
            let keys = (0..self.columns.names.len()).map(|at| self.key(group.index, at));
            missing.extend(keys.filter(|key| !self.scan.cache.contains(key)));
            if missing.len() > before {
                let rows = self.row_group(group.index).num_rows() as usize;
                all += rows;
                wanted += match &group.access {
                    RowGroupAccess::Skip => 0,
                    RowGroupAccess::Scan => rows,
                    RowGroupAccess::Selection(selection) => selection.row_count(),
                };
            }
        }
        wanted * LEAST_SHARE >= all || self.scan.cache.missed(missing)
    }

    pub(super) fn row_group(&self, index: usize) -> &RowGroupMetaData {
        self.parquet.metadata().row_group(index)
    }

    /// The key of the scan's column at this place.
    pub(super) fn key(&self, row_group: usize, at: usize) -> ColumnKey {
        let column = self.columns.names[at].clone();
        ColumnKey { file: self.name.clone(), row_group, column, of: self.columns.forms[at] }
    }
}

/// The bytes of the texts of a column chunk, beside the views of them: one of a dictionary is in memory once.
fn text_bytes(chunk: &ColumnChunkMetaData) -> usize {
    if chunk.column_type() != Type::BYTE_ARRAY {
        return 0;
    }
    // Beginnings that a text shares with the one before are not written, and there are as many bytes again as the writer says.
    let is_shortened = chunk.encodings().any(|encoding| encoding == Encoding::DELTA_BYTE_ARRAY);
    let shown = if is_shortened { chunk.unencoded_byte_array_data_bytes().unwrap_or(i64::MAX) } else { 0 };
    usize::try_from(chunk.uncompressed_size().max(shown)).unwrap_or(0)
}
