//! Scans of spans as DataFusion knows them.
//!
//! Until joins have chosen their sides, a [`SpansScan`] stands before each scan: rules of ours ask it for the same spans in another shape,
//! and joins how many spans it may give. Then it is in the way of filters that move down.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use crate::engine::scan::SpansScan;

/// The rule.
#[derive(Debug)]
pub(in crate::engine) struct PlainScans;

impl PhysicalOptimizerRule for PlainScans {
    fn name(&self) -> &str {
        "plain_scans"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| match plan.downcast_ref::<SpansScan>() {
            Some(scan) => Ok(Transformed::yes(scan.inner().clone())),
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }
}
