//! Quantiles of the same values at several levels share a sketch.
//!
//! `quantile(x, 0.5), quantile(x, 0.99)` becomes `quantiles(x, 0.5, 0.99)` once, and its elements above: filling a sketch is most of
//! what a quantile costs.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::functions_nested::extract::array_element;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::engine::functions::{is_quantile, quantiles_udaf};

/// The rule; it runs where an aggregate's arguments are settled.
#[derive(Debug)]
pub(in crate::engine) struct SharedSketch;

impl OptimizerRule for SharedSketch {
    fn name(&self) -> &str {
        "shared_sketch"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Aggregate(aggregate) => share(aggregate),
            other => Ok(Transformed::no(other)),
        }
    }
}

/// Quantiles that one sketch can answer: their values, and where each stands among the aggregates with its level.
struct Shared {
    /// Without the level.
    params: AggregateFunctionParams,
    levels: Vec<(usize, Expr)>,
}

fn share(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let mut groups: Vec<Shared> = Vec::new();
    for (at, expr) in aggregate.aggr_expr.iter().enumerate() {
        let Some((params, level)) = quantile(expr) else { continue };
        match groups.iter_mut().find(|group| group.params == params) {
            Some(group) => group.levels.push((at, level)),
            None => groups.push(Shared { params, levels: vec![(at, level)] }),
        }
    }
    groups.retain(|group| group.levels.len() > 1);
    if groups.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let is_shared = |at: usize| groups.iter().any(|group| group.levels.iter().any(|(member, _)| *member == at));
    let kept: Vec<usize> = (0..aggregate.aggr_expr.len()).filter(|at| !is_shared(*at)).collect();
    let mut aggregates: Vec<Expr> = kept.iter().map(|at| aggregate.aggr_expr[*at].clone()).collect();
    aggregates.extend(groups.iter().map(quantiles));
    let inner = Aggregate::try_new(aggregate.input, aggregate.group_expr, aggregates)?;
    let made = |at: usize| Expr::Column(Column::from(inner.schema.qualified_field(at)));
    let columns = aggregate.schema.iter().enumerate().map(|(at, (qualifier, field))| {
        let Some(member) = at.checked_sub(keys) else { return made(at) };
        if let Ok(at) = kept.binary_search(&member) {
            return made(keys + at);
        }
        let place = groups.iter().enumerate().find_map(|(group, shared)| {
            let level = shared.levels.iter().position(|(at, _)| *at == member)?;
            Some((group, level))
        });
        let (group, level) = place.unwrap_or_default();
        let element = array_element(made(keys + kept.len() + group), lit(level as i64 + 1));
        element.alias_qualified(qualifier.cloned(), field.name())
    });
    let columns = columns.collect();
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(
        columns,
        Arc::new(LogicalPlan::Aggregate(inner)),
    )?)))
}

/// The parts of `quantile(x, level)`: what it has but its level, and the level.
fn quantile(expr: &Expr) -> Option<(AggregateFunctionParams, Expr)> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else { return None };
    if !is_quantile(func) || params.distinct {
        return None;
    }
    let mut params = params.clone();
    let level = match params.args.len() {
        1 => lit(0.5),
        2 => params.args.pop()?,
        _ => return None,
    };
    Some((params, level))
}

fn quantiles(shared: &Shared) -> Expr {
    let mut params = shared.params.clone();
    params.args.extend(shared.levels.iter().map(|(_, level)| level.clone()));
    Expr::AggregateFunction(AggregateFunction { func: quantiles_udaf(), params })
}
