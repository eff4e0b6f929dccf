//! Leaving out what cannot hold a row that the predicate wants.

use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::pruning::PrunableStatistics;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use super::statistics::file_statistics;
use crate::model::schema::physical_schema;
use crate::store::DataFile;

/// Which of the files may hold rows that the predicate wants, as far as the table's log tells.
pub(in crate::engine) fn files_that_may_match(files: &[DataFile], predicate: &Arc<dyn PhysicalExpr>) -> Vec<bool> {
    prune(Some(predicate), &files.iter().map(file_statistics).collect::<Vec<_>>())
}

/// Which containers may hold rows that the predicate wants; all of them when that cannot be told.
pub(super) fn prune(predicate: Option<&Arc<dyn PhysicalExpr>>, statistics: &[Arc<Statistics>]) -> Vec<bool> {
    let all = vec![true; statistics.len()];
    if all.is_empty() {
        return all;
    }
    let Some(predicate) = predicate else { return all };
    let Some(pruning) = PruningPredicateBuilder::new().with_file_schema(physical_schema()).build(predicate.clone())
    else {
        return all;
    };
    let statistics = PrunableStatistics::new(statistics.to_vec(), physical_schema());
    pruning.prune(&statistics).unwrap_or(all)
}
