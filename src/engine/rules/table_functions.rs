//! Each call of a table function is a relation of its own: DataFusion calls all `generate_series()`, whatever their arguments, and takes two that are
//! read alike for one.

use datafusion::common::TableReference;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableScan};
use datafusion::optimizer::AnalyzerRule;

/// The rule; it runs first.
#[derive(Debug)]
pub(in crate::engine) struct TableFunctions;

impl AnalyzerRule for TableFunctions {
    fn name(&self) -> &str {
        "table_functions"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut number = 0;
        let plan = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::TableScan(scan) if scan.table_name.table().ends_with("()") => {
                number += 1;
                numbered(scan, number).map(Transformed::yes)
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(plan.data)
    }
}

fn numbered(scan: TableScan, number: usize) -> Result<LogicalPlan> {
    let TableScan { table_name, source, projection, filters, fetch, .. } = scan;
    let own = TableReference::bare(format!("{} {number}", table_name.table()));
    let scan = TableScanBuilder::new(own, source);
    let scan = scan.with_projection(projection).with_filters(filters).with_fetch(fetch).build()?;
    LogicalPlanBuilder::from(LogicalPlan::TableScan(scan)).alias(table_name)?.build()
}
