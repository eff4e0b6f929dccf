//! `TraceJoin`: a join of spans with spans of the same trace, trace by trace.
//!
//! Both sides are made from one scan, and only rows of one chunk of whole traces can meet, so that nothing is repartitioned and no table of
//! all spans is built. The answers are those of a hash join; only the order of rows differs.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::JoinType;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::chunks::Chunks;
use super::join_stream::Joiner;
use super::local::Local;
use super::per_trace::{PerTrace, PerTraceExec, Traces};
use super::whole::WholeTracesExec;

/// What is joined with what.
#[derive(Debug, Clone)]
pub(in crate::engine) struct TraceJoin {
    pub left: Local,
    pub right: Local,
    /// What must be equal beside the trace.
    pub on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    pub filter: Option<JoinFilter>,
    pub join_type: JoinType,
    /// Where the columns of `schema` come from.
    pub columns: Vec<ColumnIndex>,
    pub schema: SchemaRef,
}

impl TraceJoin {
    /// The join of the spans that `input` gives.
    pub fn over(self, input: WholeTracesExec) -> PerTraceExec {
        PerTraceExec::above(input, self)
    }
}

impl PerTrace for TraceJoin {
    fn name(&self) -> &'static str {
        "TraceJoinExec"
    }

    fn detail(&self) -> String {
        let on: String = self.on.iter().map(|(left, right)| format!(", ({left}, {right})")).collect();
        let filter = self.filter.as_ref().map(|filter| format!(", filter={}", filter.expression()));
        format!("join_type={:?}, on=[trace{on}]{}", self.join_type, filter.unwrap_or_default())
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let on = self.on.iter().flat_map(|(left, right)| [left, right]);
        let filter = self.filter.iter().map(|filter| filter.expression());
        self.left.expressions().chain(self.right.expressions()).chain(on).chain(filter).cloned().collect()
    }

    fn run(self: Arc<Self>, traces: Traces) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let chunks = Chunks::new(traces.spans, traces.trace, traces.held);
        let joiner = Joiner::new(self, chunks, traces.made, traces.batch_rows, traces.metrics);
        let rows =
            stream::try_unfold(
                joiner,
                |mut joiner| async move { Ok(joiner.next().await?.map(|batch| (batch, joiner))) },
            );
        Ok(rows.boxed())
    }
}
