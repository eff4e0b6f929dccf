//! `TraceTree`: spans with their places in the trees of their traces, and what follows from these.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExpr;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::chunks::Chunks;
use super::local::Local;
use super::per_trace::{PerTrace, PerTraceExec, Traces};
use super::tree_columns::TreeColumn;
use super::tree_stream::Grower;
use super::whole::WholeTracesExec;
use crate::model::schema::TRACE_ID;

/// Which columns are given.
#[derive(Debug, Clone)]
pub(in crate::engine) struct TraceTree {
    /// What is done with spans before trees are made of those that are left.
    pub spans: Local,
    pub given: Vec<Given>,
    /// Which of these is the trace id.
    trace: Option<usize>,
    pub schema: SchemaRef,
}

/// A column that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Given {
    /// A column of the spans as they are after `spans`.
    Span(usize),
    Made(TreeColumn),
}

impl Given {
    fn field(&self, left: &Schema) -> Field {
        match self {
            Self::Span(at) => left.field(*at).clone(),
            Self::Made(column) => column.field(),
        }
    }
}

impl TraceTree {
    /// Gives the columns `given` of spans that have the columns `left` once `spans` has been done with them.
    pub fn new(spans: Local, left: &Schema, given: Vec<Given>) -> Self {
        let is_trace = |given: &Given| matches!(given, Given::Span(at) if left.field(*at).name() == TRACE_ID);
        let trace = given.iter().position(is_trace);
        let schema = Arc::new(Schema::new(given.iter().map(|given| given.field(left)).collect::<Vec<_>>()));
        Self { spans, given, trace, schema }
    }

    /// Over the spans that `input` gives.
    pub fn over(self, input: WholeTracesExec) -> PerTraceExec {
        PerTraceExec::above(input, self)
    }

    /// Over the spans of any plan, which are brought into order by trace: for traces that were looked up.
    pub fn over_any(self, input: Arc<dyn ExecutionPlan>) -> Result<PerTraceExec> {
        let Ok(trace) = input.schema().index_of(TRACE_ID) else {
            return internal_err!("trees of spans without their trace ids");
        };
        Ok(PerTraceExec::ordering(input, trace, self))
    }
}

impl PerTrace for TraceTree {
    fn name(&self) -> &'static str {
        "TraceTreeExec"
    }

    fn detail(&self) -> String {
        let made = self.given.iter().zip(self.schema.fields());
        let made = made.filter(|(given, _)| matches!(given, Given::Made(_))).map(|(_, field)| field.name().as_str());
        format!("made=[{}]", made.collect::<Vec<_>>().join(", "))
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.spans.expressions().cloned().collect()
    }

    fn gives_each_row(&self) -> bool {
        true
    }

    fn trace_given(&self) -> Option<usize> {
        self.trace
    }

    fn projected(
        &self,
        input: &WholeTracesExec,
        projection: &[ProjectionExpr],
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        self.with_attributes(input, projection)
    }

    fn run(self: Arc<Self>, traces: Traces) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let chunks = Chunks::new(traces.spans, traces.trace, traces.held);
        let grower = Grower::new(self, chunks, traces.made, traces.batch_rows, traces.metrics);
        let rows =
            stream::try_unfold(
                grower,
                |mut grower| async move { Ok(grower.next().await?.map(|batch| (batch, grower))) },
            );
        Ok(rows.boxed())
    }
}
