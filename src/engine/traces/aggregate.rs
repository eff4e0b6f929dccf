//! `TraceAggregate`: groups within traces, without a table of all groups.
//!
//! The rows of a trace are neighbours, so that its groups are complete when the next trace begins. DataFusion's own accumulators do the
//! counting; a trace's number in the stream takes the place of its id's hash.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::Result;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::aggregate_stream::Grouper;
use super::local::Local;
use super::per_trace::{PerTrace, PerTraceExec, Traces};
use super::whole::WholeTracesExec;

/// How many spans a group is taken to have, for want of a better guess: groups are whole traces, or what is asked for again and again in them.
const SPANS_PER_GROUP: usize = 32;

/// What is grouped and counted.
#[derive(Debug, Clone)]
pub(in crate::engine) struct TraceAggregate {
    pub spans: Local,
    pub group_by: Vec<Arc<dyn PhysicalExpr>>,
    /// Which of `group_by` is the trace id.
    pub trace_group: usize,
    pub aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// For each aggregate the rows that it takes.
    pub filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// The groups' columns, then the aggregates'.
    pub schema: SchemaRef,
    /// Which groups are given, told by their aggregates alone, as if these were all columns.
    pub having: Option<Arc<dyn PhysicalExpr>>,
}

impl TraceAggregate {
    /// The groups of the spans that `input` gives.
    pub fn over(self, input: WholeTracesExec) -> PerTraceExec {
        PerTraceExec::above(input, self)
    }

    /// The columns of the aggregates alone.
    pub(super) fn aggregates_schema(&self) -> Schema {
        Schema::new(self.schema.fields().iter().skip(self.group_by.len()).cloned().collect::<Vec<_>>())
    }

    /// The groups of the rows that `input` gives, whole traces with their ids in column `trace`.
    pub fn upon(self, input: Arc<dyn ExecutionPlan>, trace: usize) -> Result<PerTraceExec> {
        PerTraceExec::upon(input, trace, self)
    }
}

impl PerTrace for TraceAggregate {
    fn name(&self) -> &'static str {
        "TraceAggregateExec"
    }

    fn detail(&self) -> String {
        let groups: Vec<_> = self.group_by.iter().map(|group| group.to_string()).collect();
        let aggregates: Vec<_> = self.aggregates.iter().map(|aggregate| aggregate.name()).collect();
        let having = self.having.as_ref().map(|having| format!(", having={having}")).unwrap_or_default();
        format!("gby=[{}], aggr=[{}]{having}", groups.join(", "), aggregates.join(", "))
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let arguments = self.aggregates.iter().flat_map(|aggregate| aggregate.expressions());
        let own = self.spans.expressions().chain(&self.group_by).chain(self.filters.iter().flatten());
        own.chain(&self.having).cloned().chain(arguments).collect()
    }

    /// A condition on aggregates alone: the columns of groups that it does not hold for are never made.
    fn filtered(&self, condition: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PerTrace>>> {
        let is_of_aggregate = |column: &Column| column.index() >= self.group_by.len();
        if is_volatile(condition) || !collect_columns(condition).iter().all(is_of_aggregate) {
            return Ok(None);
        }
        let condition = reassign_expr_columns(condition.clone(), &self.aggregates_schema())?;
        let having = conjunction(self.having.iter().cloned().chain([condition]));
        Ok(Some(Arc::new(Self { having: Some(having), ..self.clone() })))
    }

    fn rows_of(&self, spans: usize) -> Option<usize> {
        Some(spans / SPANS_PER_GROUP)
    }

    fn run(self: Arc<Self>, traces: Traces) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let Traces { spans, trace, batch_rows, made, metrics, .. } = traces;
        let grouper = Grouper::new(self, spans, trace, made, batch_rows, metrics)?;
        let rows = stream::try_unfold(grouper, |mut grouper| async move {
            Ok(grouper.next().await?.map(|batch| (batch, grouper)))
        });
        Ok(rows.boxed())
    }
}
