//! `TraceWindow`: windows whose partitions are traces, without a sort of all spans.
//!
//! The rows of a trace are neighbours, so that a partition is complete when the next trace begins. Of DataFusion's window functions it takes those
//! that look at a whole partition at once; what they give follows the columns that come.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::window::{StandardWindowExpr, StandardWindowFunctionExpr, WindowExpr};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::chunks::Chunks;
use super::local::{Local, batch};
use super::parts::Parts;
use super::per_trace::{PerTrace, PerTraceExec, Traces};
use super::whole::WholeTracesExec;
use super::window_stream::Windower;

/// What is worked out for the rows of each trace.
#[derive(Debug, Clone)]
pub(in crate::engine) struct TraceWindow {
    /// What is done with single rows before.
    pub(super) spans: Local,
    pub(super) functions: Vec<Arc<dyn StandardWindowFunctionExpr>>,
    /// Which of the columns is the trace id as it comes.
    trace: Option<usize>,
    /// The arguments of the functions, one after the other.
    arguments: SchemaRef,
    /// The columns that `spans` leaves.
    left: SchemaRef,
    /// These, then one for each function.
    pub(super) schema: SchemaRef,
}

impl TraceWindow {
    /// The windows `exprs`, which give `schema`, over what `spans` makes of rows whose trace ids are in column `trace`; `None` when one of them is of
    /// anything else than whole traces.
    pub fn new(spans: Local, trace: usize, exprs: &[Arc<dyn WindowExpr>], schema: SchemaRef) -> Option<Self> {
        let of_traces = |expr: &Arc<dyn WindowExpr>| match expr.partition_by() {
            [id] => spans.id_origin(id) == Some(trace) && expr.order_by().is_empty(),
            _ => false,
        };
        if !exprs.iter().all(of_traces) {
            return None;
        }
        let functions = exprs.iter().map(|expr| whole_function(expr.as_ref())).collect::<Option<Vec<_>>>()?;
        let is_trace = |at: &usize| spans.origin(&(Arc::new(Column::new("", *at)) as _)) == Some(trace);
        let columns = schema.fields().len() - functions.len();
        let trace = (0..columns).find(is_trace);
        let left = Arc::new(Schema::new(schema.fields()[..columns].to_vec()));
        let arguments = functions.iter().flat_map(|function| function.expressions());
        let field = |(at, argument): (usize, Arc<dyn PhysicalExpr>)| {
            Some(Field::new(at.to_string(), argument.data_type(&left).ok()?, true))
        };
        let arguments = arguments.enumerate().map(field).collect::<Option<Vec<_>>>()?;
        Some(Self { spans, functions, trace, arguments: Arc::new(Schema::new(arguments)), left, schema })
    }

    /// Over the spans that `input` gives.
    pub fn over(self, input: WholeTracesExec) -> PerTraceExec {
        PerTraceExec::above(input, self)
    }

    /// The windows over the rows that `input` gives, whole traces with their ids in column `trace`.
    pub fn upon(self, input: Arc<dyn ExecutionPlan>, trace: usize) -> Result<PerTraceExec> {
        PerTraceExec::upon(input, trace, self)
    }
}

/// The function of a window, where it looks at all rows of a partition at once.
fn whole_function(expr: &dyn WindowExpr) -> Option<Arc<dyn StandardWindowFunctionExpr>> {
    let function = expr.as_any().downcast_ref::<StandardWindowExpr>()?.get_standard_func_expr();
    let evaluator = function.create_evaluator().ok()?;
    let is_whole = !evaluator.uses_window_frame() && !evaluator.include_rank();
    is_whole.then(|| function.clone())
}

/// The functions' arguments are needed of all rows.
impl Parts for TraceWindow {
    fn spans(&self) -> &Local {
        &self.spans
    }

    fn needed(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let arguments = self.functions.iter().map(|function| function.evaluate_args(rows));
        let columns = arguments.collect::<Result<Vec<_>>>()?.concat();
        batch(self.arguments.clone(), columns, rows.num_rows())
    }

    fn passing(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        Ok(rows.clone())
    }

    fn passing_schema(&self) -> SchemaRef {
        self.left.clone()
    }
}

impl PerTrace for TraceWindow {
    fn name(&self) -> &'static str {
        "TraceWindowExec"
    }

    fn detail(&self) -> String {
        let functions: Vec<&str> = self.functions.iter().map(|function| function.name()).collect();
        format!("wdw=[{}]", functions.join(", "))
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let arguments = self.functions.iter().flat_map(|function| function.expressions());
        self.spans.expressions().cloned().chain(arguments).collect()
    }

    fn gives_each_row(&self) -> bool {
        true
    }

    fn trace_given(&self) -> Option<usize> {
        self.trace
    }

    fn windows_from(&self) -> Option<usize> {
        Some(self.schema.fields().len() - self.functions.len())
    }

    fn run(self: Arc<Self>, traces: Traces) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let chunks = Chunks::of_parts(traces.spans, traces.trace, traces.held, self.clone(), traces.disk);
        let windower = Windower::new(self, chunks, traces.made, traces.batch_rows, traces.metrics);
        let rows = stream::try_unfold(windower, |mut windower| async move {
            Ok(windower.next().await?.map(|batch| (batch, windower)))
        });
        Ok(rows.boxed())
    }
}
