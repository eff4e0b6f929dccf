//! Whether a subquery gives rows, and subqueries as expressions.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, Spans};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::logical_expr::expr::{BinaryExpr, Cast, Exists};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, FetchType, JoinType, Limit, LogicalPlan, LogicalPlanBuilder, Operator, SkipType,
    Subquery, lit,
};

use super::subquery_values::Place;
use crate::error::{Error, Kind};

/// `EXISTS (plan)`: of the steps on top only those count that take or make rows.
pub(super) fn existence(plan: &LogicalPlan, schema: &DFSchema, place: Place) -> Result<Expr> {
    match plan {
        LogicalPlan::Projection(step) => existence(&step.input, schema, place),
        LogicalPlan::SubqueryAlias(step) => existence(&step.input, schema, place),
        LogicalPlan::Window(step) => existence(&step.input, schema, place),
        LogicalPlan::Sort(step) if step.fetch.is_none() => existence(&step.input, schema, place),
        LogicalPlan::Distinct(Distinct::All(input)) => existence(input, schema, place),
        LogicalPlan::EmptyRelation(nothing) => Ok(lit(nothing.produce_one_row)),
        LogicalPlan::Aggregate(step) if step.group_expr.is_empty() => Ok(lit(true)),
        LogicalPlan::Aggregate(step) if has_plain_groups(step) => existence(&step.input, schema, place),
        LogicalPlan::Limit(step) if is_correlated(plan) => limited(step, schema, place),
        LogicalPlan::Union(union) if is_correlated(plan) => {
            let mut exists = lit(false);
            for input in &union.inputs {
                exists = exists.or(existence(input, schema, place)?);
            }
            Ok(exists)
        }
        LogicalPlan::Filter(filter) if gives_one_row(&filter.input) => {
            let told = LogicalPlanBuilder::from(filter.input.clone()).project([filter.predicate.clone()])?.build()?;
            match inside(&told, schema) {
                Some(told) => Ok(told.is_true()),
                None if is_aggregated(&filter.input) => Ok(scalar(told).is_true()),
                None => there_are(plan.clone(), place),
            }
        }
        other => there_are(other.clone(), place),
    }
}

/// Whether a limit leaves rows.
fn limited(limit: &Limit, schema: &DFSchema, place: Place) -> Result<Expr> {
    match (limit.get_skip_type()?, limit.get_fetch_type()?) {
        (_, FetchType::Literal(Some(0))) => Ok(lit(false)),
        (SkipType::Literal(0), FetchType::Literal(_)) => existence(&limit.input, schema, place),
        (SkipType::Literal(skipped), FetchType::Literal(_)) => {
            check(&limit.input)?;
            more_than(limit.input.as_ref().clone(), i64::try_from(skipped).unwrap_or(i64::MAX))
        }
        _ => Err(refused("this LIMIT in a subquery that reads the row outside", "write a number")),
    }
}

/// Whether there are rows: of a subquery that reads the row outside a join can tell, in WHERE.
pub(super) fn there_are(rows: LogicalPlan, place: Place) -> Result<Expr> {
    if !is_correlated(&rows) {
        return is_any(LogicalPlanBuilder::from(rows).limit(0, Some(1))?.build()?);
    }
    check(&rows)?;
    match place {
        Place::Value if !is_by_equality(&rows)? => Err(refused(
            "a condition other than an equality with the row outside, in a subquery outside WHERE",
            "join, or ask in WHERE",
        )),
        Place::Value => is_any(rows),
        Place::Asserted | Place::Condition => {
            let rows = LogicalPlanBuilder::from(rows).project([lit(1_i64)])?.build()?;
            Ok(Expr::Exists(Exists { subquery: subquery(rows), negated: false }))
        }
    }
}

/// `(SELECT max(1) FROM rows) IS NOT NULL`. A count would never be NULL, of which the steps that run know nothing.
fn is_any(rows: LogicalPlan) -> Result<Expr> {
    Ok(scalar(aggregated(rows, max(lit(1_i64)))?).is_not_null())
}

fn more_than(rows: LogicalPlan, number: i64) -> Result<Expr> {
    let counted = count(lit(1_i64));
    let name = Expr::Column(Column::from_name(counted.schema_name().to_string()));
    let plan = LogicalPlanBuilder::from(aggregated(rows, counted)?).project([name.gt(lit(number))])?.build()?;
    Ok(scalar(plan))
}

pub(super) fn aggregated(rows: LogicalPlan, aggregate: Expr) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), [aggregate])?.build()
}

pub(super) fn scalar(plan: LogicalPlan) -> Expr {
    Expr::ScalarSubquery(subquery(plan))
}

pub(super) fn subquery(plan: LogicalPlan) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() }
}

pub(super) fn is_correlated(plan: &LogicalPlan) -> bool {
    !plan.all_out_ref_exprs().is_empty()
}

/// Whether a plan has one row, whatever it reads.
pub(super) fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(step) => gives_one_row(&step.input),
        LogicalPlan::SubqueryAlias(step) => gives_one_row(&step.input),
        LogicalPlan::Aggregate(step) => step.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(nothing) => nothing.produce_one_row,
        _ => false,
    }
}

/// Whether the one row is that of an aggregate, which has it even where it reads no rows.
fn is_aggregated(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(step) => is_aggregated(&step.input),
        LogicalPlan::SubqueryAlias(step) => is_aggregated(&step.input),
        other => matches!(other, LogicalPlan::Aggregate(_)),
    }
}

fn has_plain_groups(step: &Aggregate) -> bool {
    !step.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_)))
}

/// Refuses a subquery whose conditions on the row outside stand below a step that they cannot be taken over: DataFusion would, in a join.
fn check(plan: &LogicalPlan) -> Result<()> {
    let bars = |step: &LogicalPlan| {
        let bars = match step {
            LogicalPlan::Limit(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::Distinct(Distinct::On(_)) => true,
            LogicalPlan::Aggregate(step) => step.group_expr.is_empty() || !has_plain_groups(step),
            LogicalPlan::Sort(step) => step.fetch.is_some(),
            LogicalPlan::Join(join) => join.join_type != JoinType::Inner,
            _ => false,
        };
        Ok(bars && is_correlated(step))
    };
    match plan.exists(bars)? {
        true => Err(refused(
            "a limit, aggregate, window, union or outer join in this subquery, over rows of its own for each row outside",
            "compute them in WITH for all rows first, and join",
        )),
        false => Ok(()),
    }
}

/// Whether a subquery is about the row outside by equalities of its columns only: DataFusion groups what it aggregates by these.
fn is_by_equality(plan: &LogicalPlan) -> Result<bool> {
    let is_column = |expr: &Expr| match expr {
        Expr::Column(_) => true,
        Expr::Cast(Cast { expr, .. }) => matches!(expr.as_ref(), Expr::Column(_)),
        _ => false,
    };
    let is_equality = |conjunct: &Expr| match conjunct {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            (is_column(left) && !right.any_column_refs()) || (is_column(right) && !left.any_column_refs())
        }
        _ => false,
    };
    let is_other = |step: &LogicalPlan| {
        Ok(match step {
            LogicalPlan::Filter(filter) => {
                split_conjunction(&filter.predicate).into_iter().any(|it| it.contains_outer() && !is_equality(it))
            }
            step => step.contains_outer_reference(),
        })
    };
    Ok(!plan.exists(is_other)?)
}

/// The one value of a subquery without relations, as the row outside has it; `None` for another.
pub(super) fn inside(plan: &LogicalPlan, schema: &DFSchema) -> Option<Expr> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    let ([value], LogicalPlan::EmptyRelation(_)) = (projection.expr.as_slice(), projection.input.as_ref()) else {
        return None;
    };
    let is_known = |part: &Expr| match part {
        Expr::OuterReferenceColumn(_, column) => schema.has_column(column),
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => false,
        _ => true,
    };
    if value.exists(|part| Ok(!is_known(part))).unwrap_or(true) {
        return None;
    }
    let value = value.clone().unalias().transform_up(|part| {
        Ok(match part {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            other => Transformed::no(other),
        })
    });
    value.ok().map(|value| value.data)
}

/// The expression as a subquery below reads it.
pub(super) fn outside(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let outside = expr.transform_up(|expr| match expr {
        Expr::Column(column) => {
            let field = schema.field_from_column(&column)?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field.clone(), column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(outside.data)
}

/// The error for what cannot be answered.
pub(super) fn refused(what: &str, hint: &'static str) -> DataFusionError {
    let error = Error::new(Kind::BadInput, format!("not supported: {what}")).with_sqlstate("0A000");
    DataFusionError::External(Box::new(error.with_hint(hint)))
}
