//! What joins spans on their trace, or groups them by it, is done trace by trace.
//!
//! A hash join of two scans of the same spans with `trace_id = trace_id` among its keys becomes one scan of whole traces and a join
//! within each; an aggregation whose groups are within traces becomes one over whole traces, with what HAVING says of its aggregates, and so do windows
//! whose partitions are traces. Filters and projections may be between the scan and these; whatever else is there leaves the plan as it is.
//!
//! The rule comes first, while nothing is between a scan and what is asked of it but filters and projections.

use std::sync::Arc;

use datafusion::common::NullEquality;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::joins::utils::build_join_schema;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use crate::engine::scan::{Rows, SpansScan};
use crate::engine::traces::{
    Local, PerTraceExec, TraceAggregate, TraceJoin, TraceWindow, WholeTracesExec, any_scan_below, scan_below,
    whole_below,
};
use crate::model::promoted::Owner;
use crate::model::schema::{TRACE_ID, physical_schema};

/// The rule.
#[derive(Debug, Default)]
pub(in crate::engine) struct TraceLocal {
    /// Does it wherever it can be done, for tests.
    always: bool,
}

impl PhysicalOptimizerRule for TraceLocal {
    fn name(&self) -> &str {
        "trace_local"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = config.execution.target_partitions;
        plan.transform_up(|plan| {
            let local = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
                self.join(join, partitions)?
            } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
                self.aggregate(aggregate, partitions)?
            } else if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
                self.windows(window, partitions)?
            } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
                single_attributes(projection)?
            } else if let Some(filter) = plan.downcast_ref::<FilterExec>() {
                let is_plain = filter.fetch().is_none() && filter.projection().is_none();
                if is_plain { having(filter.input(), filter.predicate())? } else { None }
            } else {
                None
            };
            Ok(local.map_or_else(|| Transformed::no(plan), Transformed::yes))
        })
        .data()
    }
}

impl TraceLocal {
    /// The rule for tests: it does not ask whether it pays.
    #[cfg(test)]
    pub fn always() -> Self {
        Self { always: true }
    }

    fn join(&self, join: &HashJoinExec, partitions: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if join.null_equality() != NullEquality::NullEqualsNothing || join.null_aware || join.fetch().is_some() {
            return Ok(None);
        }
        let (Some(left), Some(right)) = (any_scan_below(join.left()), any_scan_below(join.right())) else {
            return Ok(None);
        };
        let pays = || left.is_choosy() == right.is_choosy() && pays(&[left.rows(), right.rows()]);
        if !left.same_spans(right) || !(self.always || pays()) {
            return Ok(None);
        }
        let spans_schema = physical_schema();
        let trace = spans_schema.index_of(TRACE_ID)?;
        let mut at_hand: Vec<usize> = left.columns().iter().chain(right.columns()).copied().chain([trace]).collect();
        at_hand.sort_unstable();
        at_hand.dedup();
        let trace_at = at_hand.iter().position(|column| *column == trace);
        let (Some(l), Some(r)) = (Local::new(join.left(), &at_hand), Local::new(join.right(), &at_hand)) else {
            return Ok(None);
        };
        // Of a map that no side gives, single attributes are read: for those files have columns, which the scan of a hash join takes.
        let is_map =
            |column: usize| Owner::ALL.iter().any(|owner| owner.map_column() == spans_schema.field(column).name());
        let is_given =
            |at| l.gives(at, join.left().schema().fields().len()) || r.gives(at, join.right().schema().fields().len());
        if at_hand.iter().enumerate().any(|(at, column)| is_map(*column) && !is_given(at)) {
            return Ok(None);
        }
        let is_trace = |(a, b): &(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)| {
            l.origin(a) == trace_at && r.origin(b) == trace_at
        };
        let (traces, on): (Vec<_>, Vec<_>) = join.on().iter().cloned().partition(is_trace);
        if traces.is_empty() {
            return Ok(None);
        }
        let (_, made) = build_join_schema(&join.left().schema(), &join.right().schema(), join.join_type());
        let columns = match &join.projection {
            Some(projection) => projection.iter().map(|at| made[*at].clone()).collect(),
            None => made,
        };
        let spans = left.pieces(&at_hand, either(left.predicate(), right.predicate()))?;
        if spans.is_empty() {
            return Ok(None);
        }
        let local = TraceJoin {
            left: l,
            right: r,
            on,
            filter: join.filter().cloned(),
            join_type: *join.join_type(),
            columns,
            schema: join.schema(),
        };
        Ok(Some(Arc::new(local.over(WholeTracesExec::try_new(spans, partitions)?))))
    }

    fn aggregate(&self, last: &AggregateExec, partitions: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(first) = reads_rows(last) else { return Ok(None) };
        let can = |aggregate: &AggregateExec| aggregate.group_expr().is_single() && aggregate.limit_options().is_none();
        let needs_order = first
            .aggr_expr()
            .iter()
            .any(|aggregate| !aggregate.order_bys().is_empty() && aggregate.order_sensitivity().hard_requires());
        if !can(first) || !can(last) || needs_order {
            return Ok(None);
        }
        if let Some((whole, trace)) = whole_below(first.input()) {
            let Some(spans) = above_whole(first.input(), whole) else { return Ok(None) };
            let Some(groups) = groups_within(first, last, spans, Some(trace)) else { return Ok(None) };
            return Ok(Some(Arc::new(groups.upon(whole.clone(), trace)?)));
        }
        let Some(scan) = self.scan_worth_it(first.input()) else { return Ok(None) };
        let Some((spans, trace)) = above_scan(first.input(), scan)? else { return Ok(None) };
        let Some(groups) = groups_within(first, last, spans, trace) else { return Ok(None) };
        let Some(whole) = whole_traces(scan, partitions)? else { return Ok(None) };
        Ok(Some(Arc::new(groups.over(whole))))
    }

    /// Windows over whole traces, of which an operator gives the rows, or a scan may.
    fn windows(&self, window: &WindowAggExec, partitions: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let made = |spans, trace| TraceWindow::new(spans, trace, window.window_expr(), window.schema());
        if let Some((whole, trace)) = whole_below(window.input()) {
            let Some(spans) = above_whole(window.input(), whole) else { return Ok(None) };
            let Some(windows) = made(spans, trace) else { return Ok(None) };
            return Ok(Some(Arc::new(windows.upon(whole.clone(), trace)?)));
        }
        let Some(scan) = self.scan_worth_it(window.input()) else { return Ok(None) };
        let Some((spans, Some(trace))) = above_scan(window.input(), scan)? else { return Ok(None) };
        let Some(windows) = made(spans, trace) else { return Ok(None) };
        let Some(whole) = whole_traces(scan, partitions)? else { return Ok(None) };
        Ok(Some(Arc::new(windows.over(whole))))
    }

    /// The scan below filters and projections, where it pays to bring its traces together.
    fn scan_worth_it<'a>(&self, plan: &'a Arc<dyn ExecutionPlan>) -> Option<&'a SpansScan> {
        let scan = scan_below(plan)?;
        (self.always || !scan.is_lookup() && pays(&[scan.rows()])).then_some(scan)
    }
}

/// What `plan` does with the rows of its scan, and which of these columns is the trace id.
fn above_scan(plan: &Arc<dyn ExecutionPlan>, scan: &SpansScan) -> Result<Option<(Local, Option<usize>)>> {
    let trace = physical_schema().index_of(TRACE_ID)?;
    let trace = scan.columns().iter().position(|column| *column == trace);
    Ok(Local::new(plan, scan.columns()).map(|spans| (spans, trace)))
}

/// The traces of what `scan` reads; `None` when that is nothing.
fn whole_traces(scan: &SpansScan, partitions: usize) -> Result<Option<WholeTracesExec>> {
    let pieces = scan.pieces(scan.columns(), scan.predicate().cloned())?;
    if pieces.is_empty() { Ok(None) } else { WholeTracesExec::try_new(pieces, partitions).map(Some) }
}

/// A projection right above trees, where the scan below can read the single attributes that it asks for. It is done before the projection becomes a
/// part of what is done with whole traces.
fn single_attributes(projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    match projection.input().downcast_ref::<PerTraceExec>() {
        Some(trees) => trees.try_swapping_with_projection(projection),
        None => Ok(None),
    }
}

/// The plan with only those rows that `condition` holds for, where groups within traces below are left out by it before they are made. Between may be
/// projections that the condition sees columns through.
fn having(plan: &Arc<dyn ExecutionPlan>, condition: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(groups) = plan.downcast_ref::<PerTraceExec>() {
        return Ok(groups.filtered(condition)?.map(|groups| Arc::new(groups) as Arc<dyn ExecutionPlan>));
    }
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    let below = |column: &Column| projection.expr().get(column.index()).filter(|made| made.expr.is::<Column>());
    if !collect_columns(condition).iter().all(|column| below(column).is_some()) {
        return Ok(None);
    }
    let condition = condition.clone().transform_down(|expr| match expr.downcast_ref::<Column>().and_then(below) {
        Some(made) => Ok(Transformed::new(made.expr.clone(), true, TreeNodeRecursion::Jump)),
        None => Ok(Transformed::no(expr)),
    });
    let Some(input) = having(projection.input(), &condition.data()?)? else { return Ok(None) };
    replace_children_if_necessary(plan.clone(), vec![input]).map(Some)
}

/// What `plan` does with the rows that `whole` gives.
fn above_whole(plan: &Arc<dyn ExecutionPlan>, whole: &Arc<dyn ExecutionPlan>) -> Option<Local> {
    let all: Vec<usize> = (0..whole.schema().fields().len()).collect();
    Local::above(plan, &|plan| Arc::ptr_eq(plan, whole).then(|| (all.clone(), plan.schema())))
}

/// What `first` groups and `last` gives, of what `spans` makes of rows whose trace ids are in column `trace_at`; `None` when groups are not within traces.
fn groups_within(
    first: &AggregateExec,
    last: &AggregateExec,
    spans: Local,
    trace_at: Option<usize>,
) -> Option<TraceAggregate> {
    let group_by: Vec<_> = first.group_expr().expr().iter().map(|(group, _)| group.clone()).collect();
    let is_trace = |group: &Arc<dyn PhysicalExpr>| trace_at.is_some() && spans.origin(group) == trace_at;
    let trace_group = group_by.iter().position(is_trace)?;
    Some(TraceAggregate {
        spans,
        group_by,
        trace_group,
        aggregates: first.aggr_expr().to_vec(),
        filters: first.filter_expr().to_vec(),
        schema: last.schema(),
        having: None,
    })
}

/// The aggregation that reads rows, when `last` gives what they come to.
fn reads_rows(last: &AggregateExec) -> Option<&AggregateExec> {
    match last.mode() {
        AggregateMode::Single | AggregateMode::SinglePartitioned => Some(last),
        AggregateMode::Final | AggregateMode::FinalPartitioned => {
            let first = last.input().downcast_ref::<AggregateExec>()?;
            (*first.mode() == AggregateMode::Partial).then_some(first)
        }
        _ => None,
    }
}

/// Whether one scan of all that the sides read is less work than theirs.
///
/// A side that reads little, such as an hour, makes a small hash table that the other streams past. Fresh spans lie in no order and
/// have to be sorted, which is more work than a hash table when most are fresh.
pub(super) fn pays(sides: &[Rows]) -> bool {
    const FEW: usize = 4;
    let stored = sides.iter().map(|side| side.stored).max().unwrap_or(0);
    let fresh = sides.iter().map(|side| side.fresh).max().unwrap_or(0);
    let least = sides.iter().map(|side| side.stored + side.fresh).min().unwrap_or(0);
    fresh <= stored && stored > 0 && least * FEW >= stored + fresh
}

/// What either side may want; `None` when a side wants all.
pub(super) fn either(
    left: Option<&Arc<dyn PhysicalExpr>>,
    right: Option<&Arc<dyn PhysicalExpr>>,
) -> Option<Arc<dyn PhysicalExpr>> {
    let (left, right) = left.zip(right)?;
    if left.eq(right) {
        return Some(left.clone());
    }
    Some(Arc::new(BinaryExpr::new(left.clone(), Operator::Or, right.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_pays_when_most_is_stored_and_both_sides_read_much() {
        let rows = |stored, fresh| Rows { stored, fresh };
        for (sides, wanted) in [
            ([rows(1000, 0), rows(1000, 0)], true),
            ([rows(1000, 1000), rows(1000, 1000)], true),
            ([rows(1000, 1001), rows(1000, 1001)], false),
            ([rows(250, 0), rows(1000, 0)], true),
            ([rows(1000, 0), rows(249, 0)], false),
            ([rows(0, 0), rows(0, 0)], false),
            ([rows(0, 10), rows(0, 10)], false),
        ] {
            assert_eq!(pays(&sides), wanted, "{sides:?}");
        }
    }
}
