//! Intervals compare by how long they are, as in PostgreSQL: a day is 24 hours, and a month 30 days. Arrow compares months first, then days.
//!
//! Groups and distinct rows are of justified intervals, of which equal ones are the same.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, BinaryExpr, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::AnalyzerRule;

use super::lenient_text::is_comparison;
use crate::engine::functions::{interval_length, justified};

/// The rule; it runs before types are made to agree.
#[derive(Debug)]
pub(in crate::engine) struct IntervalOrder;

impl AnalyzerRule for IntervalOrder {
    fn name(&self) -> &str {
        "interval_order"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            let plan = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| Ok(compared(expr, &schema)))?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })?;
            plan.transform_data(|plan| distinguished(plan, &schema))
        })
        .map(|plan| plan.data)
    }
}

/// Sorts, groups and distinct rows over intervals.
fn distinguished(plan: LogicalPlan, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(mut sort) if sort.expr.iter().any(|key| is_interval(&key.expr, schema)) => {
            for key in &mut sort.expr {
                if is_interval(&key.expr, schema) {
                    key.expr = interval_length(std::mem::take(&mut key.expr));
                }
            }
            Ok(Transformed::yes(LogicalPlan::Sort(sort)))
        }
        LogicalPlan::Aggregate(mut aggregate) if aggregate.group_expr.iter().any(|key| is_interval(key, schema)) => {
            for key in &mut aggregate.group_expr {
                if is_interval(key, schema) {
                    let (relation, name) = key.qualified_name();
                    *key = justified(std::mem::take(key).unalias()).alias_qualified(relation, name);
                }
            }
            Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
        }
        LogicalPlan::Distinct(Distinct::All(input)) if has_intervals(input.schema()) => {
            let columns = input.schema().columns().into_iter().map(|column| {
                let (relation, name) = (column.relation.clone(), column.name.clone());
                let column = Expr::Column(column);
                if is_interval(&column, input.schema()) {
                    justified(column).alias_qualified(relation, name)
                } else {
                    column
                }
            });
            let columns: Vec<_> = columns.collect();
            let plan = LogicalPlanBuilder::from(input).project(columns)?.distinct()?.build()?;
            Ok(Transformed::yes(plan))
        }
        other => Ok(Transformed::no(other)),
    }
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
        Expr::WindowFunction(mut window) => {
            let params = &mut window.params;
            let keys = params.order_by.iter_mut().map(|key| &mut key.expr).chain(&mut params.partition_by);
            let mut changed = false;
            for key in keys.filter(|key| is_interval(key, schema)) {
                *key = interval_length(std::mem::take(key));
                changed = true;
            }
            Transformed::new_transformed(Expr::WindowFunction(window), changed)
        }
        other => Transformed::no(other),
    }
}

/// Whether all have a length, and not all are durations, which compare as they are.
fn are_lengths<'a>(exprs: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> bool {
    let types: Vec<_> = exprs.into_iter().map(|expr| expr.get_type(schema).unwrap_or(DataType::Null)).collect();
    types.iter().all(|it| matches!(it, DataType::Interval(_) | DataType::Duration(_)))
        && types.iter().any(|it| matches!(it, DataType::Interval(_)))
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}
