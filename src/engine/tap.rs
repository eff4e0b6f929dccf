//! An operator that lets rows through as they are, and has something to say about them on their way.

use std::fmt::{self, Debug};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream::BoxStream;

/// A partition's rows as they come out of a tap.
pub(super) type TappedRows = BoxStream<'static, Result<RecordBatch>>;

/// What happens to rows on their way. Their order, their columns and their partitions stay.
pub(super) trait Tap: Debug + Send + Sync {
    /// The operator's name in plans.
    fn name(&self) -> &'static str;

    /// What plans say of it beside the name.
    fn detail(&self) -> Option<String> {
        None
    }

    /// What the input runs with.
    fn below(&self, context: Arc<TaskContext>) -> Arc<TaskContext> {
        context
    }

    /// The rows of a partition of the input as they come out.
    fn pass(&self, rows: SendableRecordBatchStream, context: &TaskContext) -> TappedRows;
}

/// The operator.
#[derive(Debug)]
pub(super) struct TapExec {
    input: Arc<dyn ExecutionPlan>,
    tap: Arc<dyn Tap>,
}

impl TapExec {
    /// Puts `tap` above `input`.
    pub fn above(input: Arc<dyn ExecutionPlan>, tap: impl Tap + 'static) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input, tap: Arc::new(tap) })
    }

    /// What runs below.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }
}

impl DisplayAs for TapExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tap.name())?;
        match self.tap.detail() {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for TapExec {
    fn name(&self) -> &str {
        self.tap.name()
    }

    fn schema(&self) -> SchemaRef {
        self.input.schema()
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
            Some(input) => Ok(Arc::new(Self { input, tap: self.tap.clone() })),
            None => internal_err!("rows that come from nowhere"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, self.tap.below(context.clone()))?;
        let rows = self.tap.pass(rows, &context);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
