//! `TraceTree`: spans with their places in the trees of their traces, and what follows from these.

use std::collections::HashSet;
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
use super::local::{Local, batch};
use super::parts::Parts;
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
    /// The columns of spans that trees are made of, and those that are given, in order.
    needed: Vec<usize>,
    passing: Vec<usize>,
    passing_schema: SchemaRef,
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

    fn span(self) -> Option<usize> {
        match self {
            Self::Span(at) => Some(at),
            Self::Made(_) => None,
        }
    }

    pub(super) fn made(self) -> Option<TreeColumn> {
        match self {
            Self::Made(column) => Some(column),
            Self::Span(_) => None,
        }
    }
}

impl TraceTree {
    /// Gives the columns `given` of spans that have the columns `left` once `spans` has been done with them.
    pub fn new(spans: Local, left: &Schema, given: Vec<Given>) -> Self {
        let is_trace = |given: &Given| matches!(given, Given::Span(at) if left.field(*at).name() == TRACE_ID);
        let trace = given.iter().position(is_trace);
        let schema = Arc::new(Schema::new(given.iter().map(|given| given.field(left)).collect::<Vec<_>>()));
        let made_of: HashSet<&str> = given
            .iter()
            .filter_map(|given| given.made())
            .chain([TreeColumn::Depth])
            .flat_map(TreeColumn::made_of)
            .collect();
        let is_needed =
            |at: &usize| left.field(*at).name() != TRACE_ID && made_of.contains(left.field(*at).name().as_str());
        let needed = (0..left.fields().len()).filter(is_needed).collect();
        let mut passing: Vec<usize> = given.iter().filter_map(|given| given.span()).collect();
        passing.sort_unstable();
        passing.dedup();
        let passing_schema = Schema::new(passing.iter().map(|at| left.field(*at).clone()).collect::<Vec<_>>());
        Self { spans, given, trace, needed, passing, passing_schema: Arc::new(passing_schema), schema }
    }

    /// Where the column `at` of spans is among those that pass by.
    pub(super) fn place_of(&self, at: usize) -> usize {
        self.passing.partition_point(|passing| *passing < at)
    }

    /// Over the spans that `input` gives.
    pub fn over(self, input: WholeTracesExec) -> PerTraceExec {
        PerTraceExec::above(input, self)
    }

    /// Over the spans of any plan, which are brought into order by trace where they are not of one: for traces that were looked up.
    pub fn over_any(self, input: Arc<dyn ExecutionPlan>, is_of_one: bool) -> Result<PerTraceExec> {
        let Ok(trace) = input.schema().index_of(TRACE_ID) else {
            return internal_err!("trees of spans without their trace ids");
        };
        Ok(match is_of_one {
            true => PerTraceExec::of_one(input, trace, self),
            false => PerTraceExec::ordering(input, trace, self),
        })
    }
}

impl Parts for TraceTree {
    fn spans(&self) -> &Local {
        &self.spans
    }

    fn needed(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        Ok(rows.project(&self.needed)?)
    }

    fn passing(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.passing.iter().map(|at| rows.column(*at).clone()).collect();
        batch(self.passing_schema.clone(), columns, rows.num_rows())
    }

    fn passing_schema(&self) -> SchemaRef {
        self.passing_schema.clone()
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
        let chunks = Chunks::of_parts(traces.spans, traces.trace, traces.held, self.clone(), traces.disk);
        let grower = Grower::new(self, chunks, traces.made, traces.batch_rows, traces.metrics);
        let rows =
            stream::try_unfold(
                grower,
                |mut grower| async move { Ok(grower.next().await?.map(|batch| (batch, grower))) },
            );
        Ok(rows.boxed())
    }
}
