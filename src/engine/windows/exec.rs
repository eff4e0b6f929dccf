//! Operators around windows: one takes memory for the input that a window holds, one tells what is passed on.

use std::fmt;
use std::sync::Arc;

use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::made::Made;

/// The plan with its windows watched.
pub(in crate::engine) fn watched(plan: Arc<dyn ExecutionPlan>, made: &Made) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
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
                let held: Arc<dyn ExecutionPlan> = Arc::new(WindowEdge { input, duty: Duty::Hold });
                plan.replace_children(vec![held], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))?
            }
            false => plan,
        };
        let duty = Duty::PassOn { from_column: columns, made: made.clone() };
        Ok(Transformed::yes(Arc::new(WindowEdge { input: plan, duty }) as Arc<dyn ExecutionPlan>))
    })
    .data()
}

#[derive(Debug, Clone)]
enum Duty {
    /// Takes memory for all rows until the last has come: the window above gives none before.
    Hold,
    /// Tells that the columns of the window below have left it.
    PassOn { from_column: usize, made: Made },
}

/// Passes rows on as they are.
#[derive(Debug)]
struct WindowEdge {
    input: Arc<dyn ExecutionPlan>,
    duty: Duty,
}

impl DisplayAs for WindowEdge {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.duty {
            Duty::Hold => write!(f, "WindowEdge: hold"),
            Duty::PassOn { .. } => write!(f, "WindowEdge: pass on"),
        }
    }
}

impl ExecutionPlan for WindowEdge {
    fn name(&self) -> &str {
        "WindowEdge"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Arc::new(Self { input, duty: self.duty.clone() })),
            None => internal_err!("the edge of a window that is not there"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context.clone())?;
        match &self.duty {
            Duty::Hold => {
                let held = MemoryConsumer::new("WindowInput").register(context.memory_pool());
                let mut counter = RecordBatchMemoryCounter::new();
                let rows = rows.map(move |batch| {
                    let batch = batch?;
                    held.try_grow(counter.count_batch(&batch))?;
                    Ok(batch)
                });
                Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
            }
            Duty::PassOn { from_column, made } => {
                let (from, made) = (*from_column, made.clone());
                let rows = rows.inspect(move |batch| {
                    if let Ok(batch) = batch {
                        made.pass_on(&batch.columns()[from..]);
                    }
                });
                Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
            }
        }
    }
}
