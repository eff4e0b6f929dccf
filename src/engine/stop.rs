//! How a running statement stops: at its next row of output, or at the next batch that a join's condition looks at.
//!
//! Stopping a task takes effect where it yields. Joins yield neither while they make rows nor while their condition turns all of
//! them away, so the finished plan gets two additions: joins yield now and then, and their conditions look at the statement's [`Stop`]. So does what
//! is worked out of a whole graph.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};

use super::functions::stoppable_graph;
use crate::error::{Error, Kind};

/// A statement's flag: once set, the statement ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Tells the statement to end.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Sets the flag when what this gives is dropped.
    pub fn when_dropped(&self) -> WhenDropped {
        WhenDropped(self.clone())
    }

    /// Fails once the statement that is planned with these options is told to end.
    pub fn check_in(options: &ConfigOptions) -> Result<()> {
        options.extensions.get::<Self>().map_or(Ok(()), Self::check)
    }

    /// Fails once the statement is told to end.
    pub fn check(&self) -> Result<()> {
        match self.0.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(DataFusionError::External(Box::new(Error::new(
                Kind::Cancelled,
                "canceling statement due to user request",
            )))),
        }
    }
}

/// Tells a statement to end when it is dropped.
pub(super) struct WhenDropped(Stop);

impl Drop for WhenDropped {
    fn drop(&mut self) {
        self.0.set();
    }
}

impl ConfigExtension for Stop {
    const PREFIX: &'static str = "stop";
}

impl ExtensionOptions for Stop {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        datafusion::common::config_err!("{key} is no setting")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

/// The plan with its joins, and what computes for long at the end of a group, made stoppable.
pub(super) fn stoppable(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
            return Ok(with_stoppable_graphs(aggregate, stop)?.map_or_else(|| Transformed::no(plan), Transformed::yes));
        }
        if !plan.name().contains("Join") && plan.name() != "UnnestExec" {
            return Ok(Transformed::no(plan));
        }
        let plan = with_watched_filter(plan, stop)?;
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>))
    })
    .map(|plan| plan.data)
}

/// The aggregate where it makes graphs.
fn with_stoppable_graphs(aggregate: &AggregateExec, stop: &Stop) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let mut is_changed = false;
    let stoppable = |expr: &Arc<AggregateFunctionExpr>| {
        let Some(function) = stoppable_graph(expr.fun(), stop) else { return Ok(expr.clone()) };
        is_changed = true;
        let stoppable = AggregateExprBuilder::new(Arc::new(function), expr.expressions())
            .schema(aggregate.input_schema())
            .alias(expr.name())
            .order_by(expr.order_bys().to_vec())
            .with_distinct(expr.is_distinct());
        stoppable.build().map(Arc::new)
    };
    let exprs = aggregate.aggr_expr().iter().map(stoppable).collect::<Result<Vec<_>>>()?;
    Ok(is_changed.then(|| Arc::new(aggregate.with_new_aggr_exprs(exprs)) as Arc<dyn ExecutionPlan>))
}

fn with_watched_filter(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return Ok(Arc::new(join.builder().with_filter(Some(watched(filter, stop))).build()?));
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let builder = datafusion::physical_plan::joins::NestedLoopJoinExecBuilder::from(join);
        return Ok(Arc::new(builder.with_filter(Some(watched(filter, stop))).build()?));
    }
    Ok(plan)
}

fn watched(filter: &JoinFilter, stop: &Stop) -> JoinFilter {
    let expr = Arc::new(Watched { inner: filter.expression().clone(), stop: stop.clone() });
    JoinFilter::new(expr, filter.column_indices().to_vec(), filter.schema().clone())
}

/// A condition that fails once its statement is told to stop.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl PhysicalExpr for Watched {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.stop.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(inner) => Ok(Arc::new(Self { inner, stop: self.stop.clone() })),
            None => internal_err!("a watched condition without a condition"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Watched {}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}
