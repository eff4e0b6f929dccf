//! What the footer of a file tells before any of its rows is read: the columns as plans have them, and which rows a predicate may want.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::datasource::physical_plan::parquet::{
    PagePruningAccessPlanFilter, ParquetAccessPlan, ParquetFileMetrics, RowGroupAccessPlanFilter,
    apply_file_schema_type_coercions,
};
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use super::cache::ColumnCache;

impl ColumnCache {
    /// The footer of a file with the columns as plans over `table` have them, from memory where they were worked out before.
    pub(in crate::engine::scan) fn footer_of(
        &self,
        name: &str,
        metadata: &Arc<ParquetMetaData>,
        table: &SchemaRef,
    ) -> Result<ArrowReaderMetadata> {
        if let Some(known) = self.footer(name) {
            return Ok(known);
        }
        let parquet = ArrowReaderMetadata::try_new(metadata.clone(), ArrowReaderOptions::new())?;
        let parquet = with_types_of(table, parquet)?;
        if metadata.column_index().is_some() {
            self.insert_footer(name.into(), parquet.clone());
        }
        Ok(parquet)
    }
}

/// The footer with the types that plans over `table` have for its columns.
pub(super) fn with_types_of(table: &SchemaRef, parquet: ArrowReaderMetadata) -> Result<ArrowReaderMetadata> {
    match apply_file_schema_type_coercions(table, parquet.schema()) {
        Some(coerced) => {
            let options = ArrowReaderOptions::new().with_schema(Arc::new(coerced));
            Ok(ArrowReaderMetadata::try_new(parquet.metadata().clone(), options)?)
        }
        None => Ok(parquet),
    }
}

/// Of `plan`, what a predicate over the file's columns may want, as far as the least and the most of row groups and pages tell.
pub(in crate::engine::scan) fn rows_that_may_match(
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    parquet: &ArrowReaderMetadata,
    mut plan: RowGroupAccessPlanFilter,
    metrics: &ParquetFileMetrics,
) -> ParquetAccessPlan {
    let (schema, descriptor, metadata) = (parquet.schema(), parquet.parquet_schema(), parquet.metadata());
    let pruning = predicate
        .and_then(|predicate| PruningPredicateBuilder::new().with_file_schema(schema.clone()).build(predicate.clone()));
    if let Some(pruning) = pruning {
        plan.prune_by_statistics(schema, descriptor, metadata.row_groups(), &pruning, metrics);
    }
    let plan = plan.build();
    let Some(predicate) = predicate.filter(|_| !plan.row_group_indexes().is_empty()) else { return plan };
    let pages = PagePruningAccessPlanFilter::new(predicate, schema.clone());
    match pages.filter_number() {
        0 => plan,
        _ => pages.prune_plan_with_page_index(plan, schema, descriptor, metadata, metrics),
    }
}
