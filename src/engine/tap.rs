//! An operator that lets rows through as they are, and has something to say about them on their way.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
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

    /// The rows of a partition of the input, `_is_again` where the operator was run before.
    fn run(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
        _is_again: bool,
    ) -> Result<SendableRecordBatchStream> {
        input.execute(partition, context)
    }

    /// These rows as they come out.
    fn pass(&self, rows: SendableRecordBatchStream, _context: &TaskContext) -> TappedRows {
        rows.boxed()
    }
}

/// The operator.
#[derive(Debug)]
pub(super) struct TapExec {
    input: Arc<dyn ExecutionPlan>,
    tap: Arc<dyn Tap>,
    has_run: AtomicBool,
}

impl TapExec {
    /// Puts `tap` above `input`.
    pub fn above(input: Arc<dyn ExecutionPlan>, tap: impl Tap + 'static) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input, tap: Arc::new(tap), has_run: AtomicBool::new(false) })
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
            Some(input) => Ok(Arc::new(Self { input, tap: self.tap.clone(), has_run: AtomicBool::new(false) })),
            None => internal_err!("rows that come from nowhere"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let is_again = self.has_run.swap(true, Ordering::Relaxed);
        let rows = self.tap.run(&self.input, partition, context.clone(), is_again)?;
        let rows = self.tap.pass(rows, &context);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
