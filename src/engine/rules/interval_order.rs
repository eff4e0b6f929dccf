//! Intervals compare by how long they are, as in PostgreSQL: a day is 24 hours, and a month 30 days. Arrow compares months first, then days.
//!
//! Groups and distinct rows are of justified intervals, of which equal ones are the same.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, JoinConstraint};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, BinaryExpr, InList, InSubquery, Sort};
use datafusion::logical_expr::utils::{enumerate_grouping_sets, grouping_set_to_exprlist};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{columns_of, rewrite_of};
use super::lenient_text::is_comparison;
use crate::engine::functions::{interval_length, justified};

/// Aggregates that compare their values: among justified intervals, fewer months mean a shorter one.
const BY_ORDER: &[&str] = &["max", "min", "mode", "percentile_disc"];

/// The rule; it runs before types are made to agree.
#[derive(Debug)]
pub(in crate::engine) struct IntervalOrder;

impl AnalyzerRule for IntervalOrder {
    fn name(&self) -> &str {
        "interval_order"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|plan| {
            let schema = columns_of(&plan)?;
            rewrite_of(plan, compared)?.transform_data(|plan| distinguished(plan, &schema))
        })?;
        Ok(plan.data)
    }
}

/// Sorts, groups, distinct rows and equal columns of joins over intervals.
fn distinguished(plan: LogicalPlan, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(mut sort) if has_interval_keys(&sort.expr, schema) => {
            sort.expr.iter_mut().for_each(|key| measure_key(key, schema));
            Ok(Transformed::yes(LogicalPlan::Sort(sort)))
        }
        LogicalPlan::Aggregate(aggregate) => grouped(aggregate, schema),
        LogicalPlan::Distinct(Distinct::All(input)) if has_intervals(input.schema()) => {
            let plan = LogicalPlanBuilder::from(with_justified(input, |_| true)?).distinct()?.build()?;
            Ok(Transformed::yes(plan))
        }
        LogicalPlan::Distinct(Distinct::On(mut on)) if on.on_expr.iter().any(|key| is_interval(key, schema)) => {
            on.on_expr.iter_mut().filter(|key| is_interval(key, schema)).for_each(measure);
            on.sort_expr.iter_mut().flatten().for_each(|key| measure_key(key, schema));
            Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::On(on))))
        }
        LogicalPlan::Join(join) if join.on.iter().any(|(left, right)| are_lengths([left, right], schema)) => {
            joined(join, schema).map(LogicalPlan::Join).map(Transformed::yes)
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Groups by justified intervals, under the names that they had. The keys of grouping sets stay as they are, since `grouping()` names them: the
/// intervals below are justified.
fn grouped(mut aggregate: Aggregate, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let keys = enumerate_grouping_sets(aggregate.group_expr.clone())?;
    if let [Expr::GroupingSet(_)] = keys.as_slice() {
        let of_sets = grouping_set_to_exprlist(&keys)?;
        if !of_sets.iter().any(|key| is_interval(key, schema)) {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        let is_key = |column: &Expr| of_sets.contains(&column);
        aggregate.input = Arc::new(with_justified(aggregate.input, is_key)?);
        return Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)));
    }
    let mut changed = false;
    for key in aggregate.group_expr.iter_mut().filter(|key| is_interval(key, schema)) {
        let (relation, name) = key.qualified_name();
        *key = justified(std::mem::take(key).unalias()).alias_qualified(relation, name);
        changed = true;
    }
    Ok(Transformed::new_transformed(LogicalPlan::Aggregate(aggregate), changed))
}

/// The same rows with justified intervals in the columns that are chosen.
fn with_justified(input: Arc<LogicalPlan>, is_chosen: impl Fn(&Expr) -> bool) -> Result<LogicalPlan> {
    let columns = input.schema().columns().into_iter().map(|column| {
        let (relation, name) = (column.relation.clone(), column.name.clone());
        let column = Expr::Column(column);
        match is_chosen(&column) && is_interval(&column, input.schema()) {
            true => justified(column).alias_qualified(relation, name),
            false => column,
        }
    });
    let columns: Vec<_> = columns.collect();
    LogicalPlanBuilder::from(input).project(columns)?.build()
}

/// A join whose equal columns are intervals of one length. `USING` is said of columns only, and every name is bound by now.
fn joined(mut join: Join, schema: &DFSchema) -> Result<Join> {
    for (left, right) in &mut join.on {
        if are_lengths([&*left, &*right], schema) {
            measure(left);
            measure(right);
        }
    }
    join.join_constraint = JoinConstraint::On;
    Ok(join)
}

fn measure(expr: &mut Expr) {
    *expr = interval_length(std::mem::take(expr));
}

fn measure_key(key: &mut Sort, schema: &DFSchema) {
    if is_interval(&key.expr, schema) {
        measure(&mut key.expr);
    }
}

fn has_interval_keys(keys: &[Sort], schema: &DFSchema) -> bool {
    keys.iter().any(|key| is_interval(&key.expr, schema))
}

fn has_intervals(schema: &DFSchema) -> bool {
    schema.fields().iter().any(|field| matches!(field.data_type(), DataType::Interval(_)))
}

fn compared(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let length = |expr: Box<Expr>| Box::new(interval_length(*expr));
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if is_comparison(op) && are_lengths([left.as_ref(), right.as_ref()], schema) =>
        {
            Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(length(left), op, length(right))))
        }
        Expr::Between(Between { expr, negated, low, high })
            if are_lengths([expr.as_ref(), low.as_ref(), high.as_ref()], schema) =>
        {
            let between = Between { expr: length(expr), negated, low: length(low), high: length(high) };
            Transformed::yes(Expr::Between(between))
        }
        Expr::InList(InList { expr, list, negated }) if are_lengths(list.iter().chain([expr.as_ref()]), schema) => {
            let list = list.into_iter().map(interval_length).collect();
            Transformed::yes(Expr::InList(InList { expr: length(expr), list, negated }))
        }
        Expr::InSubquery(among) => among_lengths(among, schema),
        Expr::AggregateFunction(mut call) => {
            let mut changed = false;
            let by_order = call.params.distinct || BY_ORDER.contains(&call.func.name());
            for arg in call.params.args.iter_mut().filter(|arg| by_order && is_interval(arg, schema)) {
                *arg = justified(std::mem::take(arg));
                changed = true;
            }
            for key in call.params.order_by.iter_mut().filter(|key| is_interval(&key.expr, schema)) {
                measure(&mut key.expr);
                changed = true;
            }
            Transformed::new_transformed(Expr::AggregateFunction(call), changed)
        }
        Expr::WindowFunction(mut window) => {
            let params = &mut window.params;
            let keys = params.order_by.iter_mut().map(|key| &mut key.expr).chain(&mut params.partition_by);
            let mut changed = false;
            for key in keys.filter(|key| is_interval(key, schema)) {
                measure(key);
                changed = true;
            }
            Transformed::new_transformed(Expr::WindowFunction(window), changed)
        }
        other => Transformed::no(other),
    }
}

/// `interval IN (SELECT interval …)`, by lengths on both sides.
fn among_lengths(among: InSubquery, schema: &DFSchema) -> Transformed<Expr> {
    let found = among.subquery.subquery.schema().columns();
    let [found] = found.as_slice() else { return Transformed::no(Expr::InSubquery(among)) };
    let of_found = Expr::Column(found.clone());
    let types = [among.expr.get_type(schema), of_found.get_type(among.subquery.subquery.schema())];
    if !are_length_types(types.map(|it| it.unwrap_or(DataType::Null))) {
        return Transformed::no(Expr::InSubquery(among));
    }
    let plan = among.subquery.subquery.as_ref().clone();
    match LogicalPlanBuilder::from(plan).project([interval_length(of_found)]).and_then(LogicalPlanBuilder::build) {
        Ok(plan) => {
            let expr = Box::new(interval_length(*among.expr));
            let subquery = among.subquery.with_plan(Arc::new(plan));
            Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated: among.negated }))
        }
        Err(_) => Transformed::no(Expr::InSubquery(among)),
    }
}

/// Whether all have a length, and not all are durations, which compare as they are.
fn are_lengths<'a>(exprs: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> bool {
    are_length_types(exprs.into_iter().map(|expr| expr.get_type(schema).unwrap_or(DataType::Null)))
}

pub(super) fn are_length_types(types: impl IntoIterator<Item = DataType>) -> bool {
    let types: Vec<_> = types.into_iter().collect();
    types.iter().all(|it| matches!(it, DataType::Interval(_) | DataType::Duration(_)))
        && types.iter().any(|it| matches!(it, DataType::Interval(_)))
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}
