//! Operators around windows: one takes memory for the input that a window holds, one tells what is passed on.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use futures::StreamExt;

use super::made::Made;
use crate::engine::tap::{Tap, TapExec, TappedRows};
use crate::engine::traces::PerTraceExec;

/// The plan with its windows watched.
pub(in crate::engine) fn watched(plan: Arc<dyn ExecutionPlan>, made: &Made) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        if let Some(from_column) = plan.downcast_ref::<PerTraceExec>().and_then(PerTraceExec::windows_from) {
            return Ok(Transformed::yes(TapExec::above(plan, TellMade { from_column, made: made.clone() })));
        }
        let holds_all = plan.is::<WindowAggExec>();
        if !holds_all && !plan.is::<BoundedWindowAggExec>() {
            return Ok(Transformed::no(plan));
        }
        let Some(input) = plan.children().first().map(|input| Arc::clone(input)) else {
            return Ok(Transformed::no(plan));
        };
        let columns = input.schema().fields().len();
        let plan = match holds_all {
            true => {
                let held = TapExec::above(input, HoldInput);
                plan.replace_children(vec![held], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))?
            }
            false => plan,
        };
        Ok(Transformed::yes(TapExec::above(plan, TellMade { from_column: columns, made: made.clone() })))
    })
    .data()
}

/// Takes memory for all rows until the last has come: the window above gives none before.
#[derive(Debug)]
struct HoldInput;

impl Tap for HoldInput {
    fn name(&self) -> &'static str {
        "WindowInput"
    }

    fn pass(&self, rows: SendableRecordBatchStream, context: &TaskContext) -> TappedRows {
        let held = MemoryConsumer::new("WindowInput").register(context.memory_pool());
        let mut counter = RecordBatchMemoryCounter::new();
        let counted = rows.map(move |batch| {
            let batch = batch?;
            held.try_grow(counter.count_batch(&batch))?;
            Ok(batch)
        });
        counted.boxed()
    }
}

/// Tells that the columns of the window below have left it.
#[derive(Debug)]
struct TellMade {
    from_column: usize,
    made: Made,
}

impl Tap for TellMade {
    fn name(&self) -> &'static str {
        "WindowOutput"
    }

    fn pass(&self, rows: SendableRecordBatchStream, _context: &TaskContext) -> TappedRows {
        let (from, made) = (self.from_column, self.made.clone());
        let told = rows.inspect(move |batch| {
            if let Ok(batch) = batch {
                made.pass_on(&batch.columns()[from..]);
            }
        });
        told.boxed()
    }
}
