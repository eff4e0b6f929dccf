//! Which rows of a file a scan wants, for operators that decide themselves what is read of files.

use std::sync::Arc;

use datafusion::common::internal_datafusion_err;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileSource;
use datafusion::datasource::physical_plan::ParquetFileMetrics;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccessPlanFilter};
use datafusion::error::Result;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;

use super::attributes::AttributeAdapters;
use super::files::spans_source;
use super::hot::rows_that_may_match;

/// Which rows of a file the conditions of a scan of files may want, as far as the file's footer tells: those on attributes by the columns that
/// this file has for them.
pub(in crate::engine) fn rows_wanted_of(
    plan: &dyn ExecutionPlan,
    file: &PartitionedFile,
    metadata: &Arc<ParquetMetaData>,
) -> Result<ParquetAccessPlan> {
    let (config, source) =
        spans_source(plan).ok_or_else(|| internal_datafusion_err!("the rows of what is no scan of files"))?;
    let all = ParquetAccessPlan::new_all(metadata.num_row_groups());
    let Some(predicate) = source.filter() else { return Ok(all) };
    let (name, table) = (file.object_meta.location.as_ref(), config.file_schema());
    let parquet = source.cache().footer_of(name, metadata, table)?;
    let adapter = AttributeAdapters.create(table.clone(), parquet.schema().clone())?;
    let predicate = PhysicalExprSimplifier::new(parquet.schema()).simplify(adapter.rewrite(predicate)?)?;
    // What is left out is counted where the file is read.
    let metrics = ParquetFileMetrics::new(0, name, &ExecutionPlanMetricsSet::new());
    Ok(rows_that_may_match(Some(&predicate), &parquet, RowGroupAccessPlanFilter::new(all), &metrics))
}
