//! Which filters the operator takes over.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;

use super::exec::CountedRowsExec;
use super::range::range_of;
use crate::engine::footers::is_chosen;
use crate::engine::scan::file_scan;

/// The rule. It comes late: filters have moved to the scans, and what a projection drops is gone.
#[derive(Debug)]
pub(in crate::engine) struct CountedRows;

impl PhysicalOptimizerRule for CountedRows {
    fn name(&self) -> &str {
        "counted_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        // From below: the filter stays, under the operator.
        plan.transform_up(|plan| match counted(&plan) {
            Some(counted) => Ok(Transformed::yes(Arc::new(counted) as _)),
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }
}

fn counted(plan: &Arc<dyn ExecutionPlan>) -> Option<CountedRowsExec> {
    let filter = plan.downcast_ref::<FilterExec>().filter(|filter| filter.fetch().is_none())?;
    if !plan.schema().fields().is_empty() {
        return None;
    }
    let (config, source) = file_scan(filter.input().as_ref())?;
    if config.limit.is_some() || is_chosen(config) {
        return None;
    }
    let (column, range) = range_of(filter.predicate())?;
    // The scan may rename and compute.
    let made = datafusion::datasource::physical_plan::FileSource::projection(source)?;
    let of_file = made.iter().nth(column.index())?.expr.downcast_ref::<Column>()?.name().to_string();
    let field = config.file_schema().field_with_name(&of_file).ok()?;
    let is_fit = *field.data_type() == DataType::Int64 && !field.is_nullable();
    is_fit.then(|| CountedRowsExec::new(plan.clone(), of_file, range))
}
