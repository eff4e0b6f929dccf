//! `internal.spans`: the fresh batches and sealed files of the statement's snapshot as one table.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, ScalarValue, Statistics, internal_datafusion_err};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;

use crate::model::schema::{START_NS, physical_schema};
use crate::store::{DataFile, Snapshot};

/// The snapshot that a statement sees, kept in its session configuration.
#[derive(Debug)]
pub(super) struct PinnedSnapshot(pub Snapshot);

/// All spans in the physical schema. Each scan reads the [`PinnedSnapshot`] of its statement, so that all scans of a statement
/// see the same spans.
#[derive(Debug)]
pub(super) struct SpansTable;

#[async_trait]
impl TableProvider for SpansTable {
    fn schema(&self) -> SchemaRef {
        physical_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let pinned = state
            .config()
            .get_extension::<PinnedSnapshot>()
            .ok_or_else(|| internal_datafusion_err!("a scan of spans without a pinned snapshot"))?;
        let predicate = physical_predicate(state, filters)?;
        let partitions = state.config().target_partitions();
        let mut inputs = Vec::new();
        if let Some(fresh) = scan_fresh(&pinned.0.fresh, projection, predicate.as_ref(), partitions)? {
            inputs.push(fresh);
        }
        if let Some(sealed) = scan_files(state, &pinned.0, projection, predicate, limit)? {
            inputs.push(sealed);
        }
        match inputs.len() {
            0 => Ok(Arc::new(EmptyExec::new(datafusion::common::project_schema(&self.schema(), projection)?))),
            1 => Ok(inputs.swap_remove(0)),
            _ => UnionExec::try_new(inputs),
        }
    }
}

fn physical_predicate(state: &dyn Session, filters: &[Expr]) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let Some(filter) = conjunction(filters.to_vec()) else { return Ok(None) };
    let schema = DFSchema::try_from(physical_schema())?;
    state.create_physical_expr(filter, &schema).map(Some)
}

fn scan_fresh(
    batches: &[RecordBatch],
    projection: Option<&Vec<usize>>,
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    partitions: usize,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let statistics: Vec<_> = batches.iter().map(batch_statistics).collect();
    let wanted = prune(predicate, &statistics);
    let mut groups = vec![Vec::new(); partitions.max(1)];
    let kept = batches.iter().zip(&wanted).filter(|(batch, wanted)| **wanted && batch.num_rows() > 0);
    for (n, (batch, _)) in kept.enumerate() {
        groups[n % partitions.max(1)].push(batch.clone());
    }
    groups.retain(|group| !group.is_empty());
    if groups.is_empty() {
        return Ok(None);
    }
    let source = MemorySourceConfig::try_new(&groups, physical_schema(), projection.cloned())?.with_show_sizes(false);
    Ok(Some(DataSourceExec::from_data_source(source)))
}

fn scan_files(
    state: &dyn Session,
    snapshot: &Snapshot,
    projection: Option<&Vec<usize>>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let statistics: Vec<_> = snapshot.files.iter().map(file_statistics).collect();
    let wanted = prune(predicate.as_ref(), &statistics);
    let files: Vec<_> =
        snapshot.files.iter().zip(statistics).zip(wanted).filter_map(|(file, wanted)| wanted.then_some(file)).collect();
    if files.is_empty() {
        return Ok(None);
    }
    state.runtime_env().register_object_store(&snapshot.object_store_url, snapshot.object_store.clone());
    let total =
        Statistics::try_merge_iter(files.iter().map(|(_, statistics)| statistics.as_ref()), &physical_schema())?;
    let files = files
        .into_iter()
        .map(|(file, statistics)| {
            PartitionedFile::new(file.location.to_string(), file.size_bytes).with_statistics(statistics)
        })
        .collect();
    let groups = FileGroup::new(files).split_files(state.config().target_partitions().max(1));
    let mut source = ParquetSource::new(physical_schema());
    if let Some(predicate) = predicate {
        source = source.with_predicate(predicate);
    }
    let url = ObjectStoreUrl::parse(&snapshot.object_store_url)?;
    let config = FileScanConfigBuilder::new(url, Arc::new(source))
        .with_file_groups(groups)
        .with_statistics(total)
        .with_projection_indices(projection.cloned())?
        .with_limit(limit)
        .build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}

/// Which containers may hold rows that the predicate wants; all of them when that cannot be told.
fn prune(predicate: Option<&Arc<dyn PhysicalExpr>>, statistics: &[Arc<Statistics>]) -> Vec<bool> {
    let all = vec![true; statistics.len()];
    let Some(predicate) = predicate else { return all };
    let Some(pruning) = PruningPredicateBuilder::new().with_file_schema(physical_schema()).build(predicate.clone())
    else {
        return all;
    };
    let statistics = datafusion::common::pruning::PrunableStatistics::new(statistics.to_vec(), physical_schema());
    pruning.prune(&statistics).unwrap_or(all)
}

fn file_statistics(file: &DataFile) -> Arc<Statistics> {
    let rows = Precision::Exact(file.rows as usize);
    let bytes = Precision::Inexact(file.size_bytes as usize);
    Arc::new(statistics(rows, bytes, Some((file.min_start_ns, file.max_start_ns))))
}

fn batch_statistics(batch: &RecordBatch) -> Arc<Statistics> {
    use datafusion::arrow::array::{AsArray, types::Int64Type};
    use datafusion::arrow::compute::{max, min};
    let range =
        batch.column_by_name(START_NS).and_then(|column| column.as_primitive_opt::<Int64Type>()).and_then(|starts| {
            let (min, max) = (min(starts)?, max(starts)?);
            Some((min, max))
        });
    Arc::new(statistics(Precision::Exact(batch.num_rows()), Precision::Absent, range))
}

fn statistics(
    num_rows: Precision<usize>,
    total_byte_size: Precision<usize>,
    start_ns: Option<(i64, i64)>,
) -> Statistics {
    let schema = physical_schema();
    let columns = schema.fields().iter().map(|field| {
        let mut column = ColumnStatistics::new_unknown();
        if field.name() == START_NS
            && let Some((min, max)) = start_ns
        {
            column.min_value = Precision::Exact(ScalarValue::Int64(Some(min)));
            column.max_value = Precision::Exact(ScalarValue::Int64(Some(max)));
            column.null_count = Precision::Exact(0);
        }
        column
    });
    Statistics { num_rows, total_byte_size, column_statistics: columns.collect() }
}
