//! `TraceRecursion`: a recursive query in which each step joins the rows of the last round with spans of the same trace, trace by trace.
//!
//! What a trace's spans lead to does not depend on other traces, so that a chunk of whole traces is walked to its end while the next ones
//! are still to be read. The working table is a chunk's, spans are hashed once instead of once a round, and nothing is held but a chunk.
//! The answers are those of DataFusion's operator; only the order of rows differs.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::JoinSide;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::chunks::Chunks;
use super::local::Local;
use super::per_trace::{PerTrace, PerTraceExec, Traces};
use super::recursion_stream::Walker;
use super::whole::WholeTracesExec;

/// What the first rows are, and how each round makes the next.
#[derive(Debug, Clone)]
pub(in crate::engine) struct TraceRecursion {
    /// Makes the first rows, of spans.
    pub start: Local,
    /// What is joined: rows of the last round, and spans.
    pub work: Local,
    pub spans: Local,
    /// The side of the join that the rows of the last round are on, for `filter` and `columns`.
    pub work_side: JoinSide,
    /// What must be equal beside the trace: of a row of the last round, and of a span.
    pub on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    pub filter: Option<JoinFilter>,
    /// Where the columns of `joined` come from.
    pub columns: Vec<ColumnIndex>,
    pub joined: SchemaRef,
    /// Makes the rows of the next round, of joined ones.
    pub next: Local,
    /// Whether a row that was there before is left out.
    pub is_distinct: bool,
    pub schema: SchemaRef,
}

impl TraceRecursion {
    /// The walk of the traces that `input` gives.
    pub fn over(self, input: WholeTracesExec) -> PerTraceExec {
        PerTraceExec::above(input, self)
    }
}

impl PerTrace for TraceRecursion {
    fn name(&self) -> &'static str {
        "TraceRecursionExec"
    }

    fn detail(&self) -> String {
        let on: String = self.on.iter().map(|(work, span)| format!(", ({work}, {span})")).collect();
        let filter = self.filter.as_ref().map(|filter| format!(", filter={}", filter.expression()));
        format!("is_distinct={}, on=[trace{on}]{}", self.is_distinct, filter.unwrap_or_default())
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let Self { start, work, spans, on, filter, next, .. } = self;
        let locals = [start, work, spans, next].into_iter().flat_map(Local::expressions);
        let on = on.iter().flat_map(|(work, span)| [work, span]);
        locals.chain(on).chain(filter.iter().map(|filter| filter.expression())).cloned().collect()
    }

    fn run(self: Arc<Self>, traces: Traces) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let chunks = Chunks::new(traces.spans, traces.trace, traces.held);
        let walker = Walker::new(self, chunks, traces.made, traces.batch_rows, traces.metrics);
        let rows =
            stream::try_unfold(
                walker,
                |mut walker| async move { Ok(walker.next().await?.map(|batch| (batch, walker))) },
            );
        Ok(rows.boxed())
    }
}
