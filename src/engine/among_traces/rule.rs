//! Which semi joins the operator takes over.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

use super::exec::AmongTracesExec;
use crate::engine::traces::{Local, any_scan_below};
use crate::model::schema::{TRACE_ID, TRACE_ID_TYPE, physical_schema};

/// The rule. It comes after that for joins of traces with themselves, and before joins choose their sides.
#[derive(Debug, Default)]
pub(in crate::engine) struct AmongTraces {
    /// Does it wherever it can be done, for tests.
    always: bool,
}

impl PhysicalOptimizerRule for AmongTraces {
    fn name(&self) -> &str {
        "among_traces"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let among = plan.downcast_ref::<HashJoinExec>().map(|join| self.among(join)).transpose()?.flatten();
            Ok(among.map_or_else(|| Transformed::no(plan), Transformed::yes))
        })
        .data()
    }
}

impl AmongTraces {
    /// The rule for tests: it does not ask whether it pays.
    #[cfg(test)]
    pub fn always() -> Self {
        Self { always: true }
    }

    /// A semi join on the trace id and nothing else, which gives spans of a scan.
    fn among(&self, join: &HashJoinExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let [(left, right)] = join.on() else { return Ok(None) };
        let (spans, key, ids, id) = match join.join_type() {
            JoinType::LeftSemi => (join.left(), left, join.right(), right),
            JoinType::RightSemi => (join.right(), right, join.left(), left),
            _ => return Ok(None),
        };
        let is_plain = join.filter().is_none() && join.fetch().is_none() && !join.null_aware;
        if !is_plain || join.null_equality() != NullEquality::NullEqualsNothing {
            return Ok(None);
        }
        let is_of_traces = id.data_type(&ids.schema())? == TRACE_ID_TYPE;
        let Some(trace) = trace_column(spans, key)?.filter(|_| is_of_traces) else { return Ok(None) };
        if !self.always && !pays(spans, ids) {
            return Ok(None);
        }
        let among = Arc::new(AmongTracesExec::new(spans.clone(), trace, ids.clone(), id.clone()));
        let Some(columns) = &join.projection else { return Ok(Some(among)) };
        let schema = among.schema();
        let column = |at: &usize| {
            let name = schema.field(*at).name();
            ProjectionExpr { expr: Arc::new(Column::new(name, *at)), alias: name.clone() }
        };
        Ok(Some(Arc::new(ProjectionExec::try_new(columns.iter().map(column), among)?)))
    }
}

/// The column of `spans` that `key` is, where it is the trace id of a scan that names no traces itself.
fn trace_column(spans: &Arc<dyn ExecutionPlan>, key: &Arc<dyn PhysicalExpr>) -> Result<Option<usize>> {
    let Some(scan) = any_scan_below(spans).filter(|scan| !scan.is_lookup()) else { return Ok(None) };
    let trace = physical_schema().index_of(TRACE_ID)?;
    let trace = scan.columns().iter().position(|column| *column == trace);
    let Some(local) = Local::new(spans, scan.columns()) else { return Ok(None) };
    let is_trace = trace.is_some() && local.origin(key) == trace;
    Ok(key.downcast_ref::<Column>().filter(|_| is_trace).map(Column::index))
}

/// Whether the ids are known to be no more than the spans that are read for them: where a few spans are looked for among many ids, those of the
/// spans make the smaller table.
fn pays(spans: &Arc<dyn ExecutionPlan>, ids: &Arc<dyn ExecutionPlan>) -> bool {
    let rows = |plan: &Arc<dyn ExecutionPlan>| {
        let known = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
        known.num_rows.get_value().copied()
    };
    rows(ids).zip(rows(spans)).is_some_and(|(ids, spans)| ids <= spans)
}
