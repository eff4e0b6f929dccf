//! Recursive queries that walk traces are done trace by trace, where each step joins the rows of the last round with spans on the trace.
//!
//! | the first rows come from | done |
//! |---|---|
//! | all spans, or those without a parent, or a good part of time | trace by trace: all traces stream by once |
//! | traces that are named, spans of some kind, a short time | round by round: each round looks its traces up |

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinSide, JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, build_join_schema};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::work_table::WorkTableExec;

use super::trace_local::{either, pays};
use crate::engine::scan::SpansScan;
use crate::engine::traces::{Local, TraceRecursion, WholeTracesExec, scan_below};
use crate::model::schema::{TRACE_ID, physical_schema};

/// The rule.
#[derive(Debug, Default)]
pub(in crate::engine) struct LocalRecursion {
    /// Does it wherever it can be done, for tests.
    always: bool,
}

impl PhysicalOptimizerRule for LocalRecursion {
    fn name(&self) -> &str {
        "local_recursion"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = config.execution.target_partitions;
        plan.transform_up(|plan| {
            let local = match plan.downcast_ref::<RecursiveQueryExec>() {
                Some(query) => self.walk(query, partitions)?,
                None => None,
            };
            Ok(local.map_or_else(|| Transformed::no(plan), Transformed::yes))
        })
        .data()
    }
}

impl LocalRecursion {
    /// The rule for tests: it does not ask whether it pays.
    #[cfg(test)]
    pub fn always() -> Self {
        Self { always: true }
    }

    fn walk(&self, query: &RecursiveQueryExec, partitions: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(join) = join_below(query.recursive_term()).and_then(|join| Join::of(join, query.name())) else {
            return Ok(None);
        };
        let (Some(first), Some(spans)) = (scan_below(query.static_term()), scan_below(join.spans)) else {
            return Ok(None);
        };
        if !first.same_spans(spans) || !(self.always || walk_pays(first, spans)) {
            return Ok(None);
        }
        let trace = physical_schema().index_of(TRACE_ID)?;
        let mut at_hand: Vec<usize> = first.columns().iter().chain(spans.columns()).copied().chain([trace]).collect();
        at_hand.sort_unstable();
        at_hand.dedup();
        let pieces = spans.pieces(&at_hand, either(first.predicate(), spans.predicate()))?;
        if pieces.is_empty() {
            return Ok(None);
        }
        match recursion(query, &join, &at_hand, trace) {
            Some(local) => {
                let whole = WholeTracesExec::try_new(pieces, partitions)?;
                Ok(Some(Arc::new(local.over(whole))))
            }
            None => Ok(None),
        }
    }
}

/// Whether reading all traces once is less work than finding, round by round, the spans that are wanted.
fn walk_pays(first: &SpansScan, spans: &SpansScan) -> bool {
    first.wants_most_traces() && spans.wants_most_traces() && pays(&[first.rows(), spans.rows()])
}

/// The join of a round's rows with spans.
struct Join<'a> {
    join: &'a HashJoinExec,
    work: &'a Arc<dyn ExecutionPlan>,
    work_side: JoinSide,
    spans: &'a Arc<dyn ExecutionPlan>,
}

impl<'a> Join<'a> {
    /// `None` when it is no such join of the query called `name`.
    fn of(join: &'a HashJoinExec, name: &str) -> Option<Self> {
        let is_plain = *join.join_type() == JoinType::Inner
            && join.null_equality() == NullEquality::NullEqualsNothing
            && join.fetch().is_none();
        let (left, right) = (join.left(), join.right());
        match (work_below(left, name), work_below(right, name)) {
            (true, false) if is_plain => Some(Self { join, work: left, work_side: JoinSide::Left, spans: right }),
            (false, true) if is_plain => Some(Self { join, work: right, work_side: JoinSide::Right, spans: left }),
            _ => None,
        }
    }

    /// What must be equal: of a round's row, and of a span.
    fn on(&self) -> Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)> {
        let pairs = self.join.on().iter().cloned();
        match self.work_side {
            JoinSide::Right => pairs.map(|(span, work)| (work, span)).collect(),
            _ => pairs.collect(),
        }
    }

    /// Where the columns of the join come from.
    fn columns(&self) -> Vec<ColumnIndex> {
        let join = self.join;
        let (_, made) = build_join_schema(&join.left().schema(), &join.right().schema(), join.join_type());
        match &join.projection {
            Some(projection) => projection.iter().map(|at| made[*at].clone()).collect(),
            None => made,
        }
    }
}

/// The walk of `query`, when its rows stay within their traces; `None` when that cannot be told.
fn recursion(query: &RecursiveQueryExec, join: &Join, at_hand: &[usize], trace: usize) -> Option<TraceRecursion> {
    let schema = query.schema();
    let trace_at = at_hand.iter().position(|column| *column == trace)?;
    let start = Local::new(query.static_term(), at_hand)?;
    let spans = Local::new(join.spans, at_hand)?;
    let work = Local::above(join.work, &|leaf| {
        let table = leaf.downcast_ref::<WorkTableExec>()?.schema();
        let at = |name: &str| {
            let mut found = schema.fields().iter().enumerate().filter(|(_, field)| field.name() == name);
            found.next().filter(|_| found.next().is_none()).map(|(at, _)| at)
        };
        Some((table.fields().iter().map(|field| at(field.name())).collect::<Option<_>>()?, table))
    })?;
    let columns = join.columns();
    let joined = join.join.schema();
    let next = Local::above(query.recursive_term(), &|leaf| {
        leaf.is::<HashJoinExec>().then(|| ((0..columns.len()).collect(), joined.clone()))
    })?;
    let mut on = join.on();
    // The column of a round's rows that has their trace, by the join; it has to have it in the first rows, and in those of the next round.
    let keeps_trace = |column: usize| {
        let made = next.id_origin_of_column(column).and_then(|at| columns.get(at));
        let is_kept = made.is_some_and(|made| match made.side == join.work_side {
            true => work.id_origin_of_column(made.index) == Some(column),
            false => spans.id_origin_of_column(made.index) == Some(trace_at),
        });
        is_kept && start.id_origin_of_column(column) == Some(trace_at)
    };
    let is_trace = |(of_work, of_span): &(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)| {
        spans.id_origin(of_span) == Some(trace_at) && work.id_origin(of_work).is_some_and(keeps_trace)
    };
    on.remove(on.iter().position(is_trace)?);
    Some(TraceRecursion {
        start,
        work_side: join.work_side,
        on,
        filter: join.join.filter().cloned(),
        joined,
        is_distinct: query.is_distinct(),
        schema,
        work,
        spans,
        next,
        columns,
    })
}

/// The join that `plan` filters and projects; `None` when it does anything else.
fn join_below(plan: &Arc<dyn ExecutionPlan>) -> Option<&HashJoinExec> {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return join_below(filter.input());
    }
    match plan.downcast_ref::<ProjectionExec>() {
        Some(projection) => join_below(projection.input()),
        None => plan.downcast_ref(),
    }
}

/// Whether `plan` filters and projects the rows of the last round of the query called `name`.
fn work_below(plan: &Arc<dyn ExecutionPlan>, name: &str) -> bool {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return work_below(filter.input(), name);
    }
    match plan.downcast_ref::<ProjectionExec>() {
        Some(projection) => work_below(projection.input(), name),
        None => plan.downcast_ref::<WorkTableExec>().is_some_and(|table| table.name() == name),
    }
}
