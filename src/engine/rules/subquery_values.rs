//! Subqueries that say yes or no, where a value stands: `x IN (SELECT …)`, `EXISTS (SELECT …)`, `x > ALL (SELECT …)`.
//!
//! DataFusion makes joins of them in WHERE, and has nothing to run elsewhere. Here they become scalar subqueries over aggregates:
//!
//! | written | means |
//! |---|---|
//! | `EXISTS (q)` | `(SELECT count(*) > 0 FROM q)` |
//! | `x IN (q)` | `(SELECT count(*) > 0 FROM q WHERE found = x)`, NULL where a NULL leaves it open |
//! | `x = ANY (q)`, `x <> ALL (q)` | `x IN (q)`, `x NOT IN (q)` |
//! | `x > ALL (q)`, `x > ANY (q)` | `x > (SELECT max(found) FROM q)`, `x > (SELECT min(found) FROM q)` |
//!
//! What a subquery gives gets a name of its own: a query over the relation outside would else compare a column with itself.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue, Spans};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::expr::{BinaryExpr, Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, binary_expr, lit, when,
};
use datafusion::optimizer::AnalyzerRule;

use crate::error::{Error, Kind};

/// The steps and parts of expressions that are copied for a statement: each nested subquery is copied with those inside, thrice at most.
const MAX_COPIED: usize = 20_000;

/// The column of what a subquery gives.
const FOUND: &str = "found";

/// The rule; it runs before types are made to agree.
#[derive(Debug)]
pub(in crate::engine) struct SubqueryValues;

impl AnalyzerRule for SubqueryValues {
    fn name(&self) -> &str {
        "subquery_values"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut names = Names::default();
        let plan = plan.transform_up_with_subqueries(|plan| names.rewrite(plan))?.data;
        Ok(plan)
    }
}

/// Counts a plan's steps and the parts of their expressions, with those of subqueries, until there are too many.
fn count_steps(plan: &LogicalPlan, counted: &mut usize) -> Result<()> {
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| expr.apply(|_| count_one(counted)))?;
        count_one(counted)
    })?;
    Ok(())
}

fn count_one(counted: &mut usize) -> Result<TreeNodeRecursion> {
    *counted += 1;
    Ok(if *counted > MAX_COPIED { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
}

/// Where a subquery that says yes or no stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where what is open counts as false, and DataFusion makes a join.
    Condition,
    /// Where a condition is denied, so that it matters whether it is false or open. EXISTS is never open.
    Denied,
    /// Where DataFusion makes no joins of subqueries.
    Value,
}

/// Gives each subquery and each value of a statement a name.
#[derive(Default)]
struct Names {
    last: usize,
    copied: usize,
}

impl Names {
    fn next(&mut self, kind: &str) -> String {
        self.last += 1;
        format!("{kind}_{}", self.last)
    }

    /// Refuses what would copy too much.
    fn check_copies(&mut self, expr: &Expr, subquery: &Subquery) -> Result<()> {
        expr.apply(|part| {
            match part {
                Expr::ScalarSubquery(inner) | Expr::Exists(Exists { subquery: inner, .. }) => {
                    count_steps(&inner.subquery, &mut self.copied)?;
                }
                _ => {}
            }
            count_one(&mut self.copied)
        })?;
        count_steps(&subquery.subquery, &mut self.copied)?;
        match self.copied {
            0..=MAX_COPIED => Ok(()),
            _ => {
                let error = Error::new(Kind::TooLarge, "subqueries that say yes or no are nested too deeply");
                let error = error.with_sqlstate("54001").with_hint("compute the inner ones in WITH first");
                Err(DataFusionError::External(Box::new(error)))
            }
        }
    }

    fn rewrite(&mut self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let mut has_subqueries = false;
        plan.apply_subqueries(|_| {
            has_subqueries = true;
            Ok(TreeNodeRecursion::Stop)
        })?;
        if !has_subqueries {
            return Ok(Transformed::no(plan));
        }
        let schema = merge_schema(&plan.inputs());
        let are_values = matches!(
            plan,
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_)
        );
        let is_filter = matches!(plan, LogicalPlan::Filter(_));
        let preserver = NamePreserver::new(&plan);
        let rewritten = plan.map_expressions(|expr| {
            let name = preserver.save(&expr);
            let rewritten = match (is_filter, are_values) {
                (true, _) => self.condition(expr, &schema)?,
                (false, true) => expr.transform_up(|expr| self.value(expr, &schema, Place::Value))?,
                (false, false) => expr.transform_up(|expr| self.value(expr, &schema, Place::Condition))?,
            };
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })?;
        if matches!(rewritten.data, LogicalPlan::Projection(_)) || !are_values {
            return Ok(rewritten);
        }
        let lifted = self.lifted(rewritten.data)?;
        Ok(Transformed { data: lifted.data, transformed: rewritten.transformed || lifted.transformed, ..rewritten })
    }

    /// What WHERE says, conjunct by conjunct.
    fn condition(&mut self, predicate: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let mut transformed = false;
        let mut conjuncts = Vec::new();
        for conjunct in split_conjunction_owned(predicate) {
            let place = if asserts(&conjunct) || is_denied_alone(&conjunct) { Place::Condition } else { Place::Denied };
            let rewritten = conjunct.transform_up(|expr| self.value(expr, schema, place))?;
            transformed |= rewritten.transformed;
            conjuncts.push(rewritten.data);
        }
        let predicate = conjunction(conjuncts).unwrap_or_else(|| lit(true));
        Ok(Transformed::new_transformed(predicate, transformed))
    }

    /// One expression, whose parts are done.
    fn value(&mut self, expr: Expr, schema: &DFSchema, place: Place) -> Result<Transformed<Expr>> {
        let expr = match expr {
            Expr::SetComparison(comparison) => Transformed::yes(self.compared(comparison, schema)?),
            other => Transformed::no(other),
        };
        Ok(match expr.data {
            other if place == Place::Condition => Transformed { data: other, ..expr },
            Expr::Exists(Exists { subquery, negated }) if place == Place::Value => {
                Transformed::yes(counted((*subquery.subquery).clone(), negated)?)
            }
            Expr::InSubquery(membership) => Transformed::yes(self.contained(membership, schema)?),
            other => Transformed { data: other, ..expr },
        })
    }

    /// `x IN (q)`.
    fn contained(&mut self, membership: InSubquery, schema: &DFSchema) -> Result<Expr> {
        let InSubquery { expr, subquery, negated } = membership;
        self.check_copies(&expr, &subquery)?;
        let (rows, found) = self.named(&subquery)?;
        let wanted = outside(expr.as_ref().clone(), schema)?;
        let matching = LogicalPlanBuilder::from(rows.clone()).filter(found.clone().eq(wanted))?.build()?;
        let is_found = counted(matching, false)?;
        let unknown = unknown(&expr, schema, &rows, &found)?;
        three_valued(is_found, unknown, !negated)
    }

    /// `x op ANY (q)`, `x op ALL (q)`.
    fn compared(&mut self, comparison: SetComparison, schema: &DFSchema) -> Result<Expr> {
        let SetComparison { expr, subquery, op, quantifier } = comparison;
        let is_any = quantifier == SetQuantifier::Any;
        if matches!((op, is_any), (Operator::Eq, true) | (Operator::NotEq, false)) {
            return Ok(Expr::InSubquery(InSubquery::new(expr, subquery, !is_any)));
        }
        self.check_copies(&expr, &subquery)?;
        let (rows, found) = self.named(&subquery)?;
        let ends = ends(op, is_any).filter(|_| are_ordered_alike(&expr, schema, &rows, &found));
        let Some((ends, joined_by)) = ends else {
            let subquery = Subquery {
                outer_ref_columns: rows.all_out_ref_exprs(),
                subquery: Arc::new(rows),
                spans: subquery.spans,
            };
            return Ok(Expr::SetComparison(SetComparison::new(expr, subquery, op, quantifier)));
        };
        let mut decided: Option<Expr> = None;
        for end in ends {
            let end = scalar(aggregated(rows.clone(), end(found.clone()))?);
            let one = binary_expr(expr.as_ref().clone(), op, end);
            decided = Some(match decided {
                Some(other) => binary_expr(other, joined_by, one),
                None => one,
            });
        }
        let decided = decided.unwrap_or_else(|| lit(is_any));
        let unknown = unknown(&expr, schema, &rows, &found)?;
        match is_any {
            true => three_valued(decided.is_true(), unknown, true),
            false => three_valued(decided.is_false(), unknown, false),
        }
    }

    /// A subquery's rows and their one column, under names that nothing else has.
    fn named(&mut self, subquery: &Subquery) -> Result<(LogicalPlan, Expr)> {
        let plan = subquery.subquery.as_ref().clone();
        let column = Expr::Column(Column::from(plan.schema().qualified_field(0)));
        let name = self.next(FOUND);
        let found = Expr::Column(Column::new(Some(name.clone()), FOUND));
        let rows = LogicalPlanBuilder::from(plan).project([column.alias(FOUND)])?.alias(name)?.build()?;
        Ok((rows, found))
    }

    /// Moves subqueries that read the row outside below a step that DataFusion makes no joins under.
    fn lifted(&mut self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let [input] = plan.inputs()[..] else { return Ok(Transformed::no(plan)) };
        let input = input.clone();
        let mut lifted: Vec<(Expr, Column)> = Vec::new();
        let preserver = NamePreserver::new(&plan);
        let columns = plan.schema().columns();
        let is_aggregate = matches!(plan, LogicalPlan::Aggregate(_));
        let rewritten = plan.map_expressions(|expr| {
            let name = preserver.save(&expr);
            let rewritten = expr.transform_down(|expr| match &expr {
                Expr::ScalarSubquery(subquery) if !subquery.outer_ref_columns.is_empty() => {
                    let known = lifted.iter().find(|(known, _)| *known == expr).map(|(_, column)| column.clone());
                    let column = known.unwrap_or_else(|| {
                        let column = Column::from_name(self.next("value"));
                        lifted.push((expr.clone(), column.clone()));
                        column
                    });
                    Ok(Transformed::yes(Expr::Column(column)))
                }
                _ => Ok(Transformed::no(expr)),
            })?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })?;
        if lifted.is_empty() {
            return Ok(rewritten);
        }
        let own = input.schema().columns().into_iter().map(Expr::Column);
        let values = lifted.into_iter().map(|(value, column)| value.alias(column.name));
        let input = LogicalPlanBuilder::from(input).project(own.chain(values))?.build()?;
        let exprs = rewritten.data.expressions();
        let wider = rewritten.data.with_new_exprs(exprs, vec![input])?;
        if is_aggregate {
            return Ok(Transformed::yes(wider));
        }
        LogicalPlanBuilder::from(wider).project(columns.into_iter().map(Expr::Column))?.build().map(Transformed::yes)
    }
}

/// Whether a condition holds only where its subqueries do, so that what is open among them counts as false.
fn asserts(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            asserts(left) && asserts(right)
        }
        Expr::InSubquery(membership) => !membership.negated,
        Expr::SetComparison(comparison) => {
            (comparison.op, &comparison.quantifier) == (Operator::Eq, &SetQuantifier::Any)
        }
        other => {
            let may_be_open = |expr: &Expr| Ok(matches!(expr, Expr::InSubquery(_) | Expr::SetComparison(_)));
            !other.exists(may_be_open).unwrap_or(true)
        }
    }
}

/// Whether a conjunct is `x NOT IN (q)` and nothing else, for which there is a join that knows NULL.
fn is_denied_alone(expr: &Expr) -> bool {
    match expr {
        Expr::InSubquery(_) => true,
        Expr::SetComparison(comparison) => {
            (comparison.op, &comparison.quantifier) == (Operator::NotEq, &SetQuantifier::All)
        }
        Expr::Not(inner) => matches!(inner.as_ref(), Expr::InSubquery(_)),
        _ => false,
    }
}

/// The least or greatest of a column.
type End = fn(Expr) -> Expr;

/// Which ends of a set decide a comparison with any or all of it, and what joins the two; `None` for an operator that orders nothing.
fn ends(op: Operator, is_any: bool) -> Option<(&'static [End], Operator)> {
    const LEAST: &[End] = &[min];
    const GREATEST: &[End] = &[max];
    const BOTH: &[End] = &[min, max];
    Some(match (op, is_any) {
        (Operator::Lt | Operator::LtEq, false) | (Operator::Gt | Operator::GtEq, true) => (LEAST, Operator::And),
        (Operator::Gt | Operator::GtEq, false) | (Operator::Lt | Operator::LtEq, true) => (GREATEST, Operator::And),
        (Operator::Eq, false) => (BOTH, Operator::And),
        (Operator::NotEq, true) => (BOTH, Operator::Or),
        _ => return None,
    })
}

/// Whether the ends of a set say what comparisons with each of its values would.
fn are_ordered_alike(expr: &Expr, schema: &DFSchema, rows: &LogicalPlan, found: &Expr) -> bool {
    let (Ok(left), Ok(right)) = (expr.get_type(schema), found.get_type(rows.schema())) else { return false };
    (left.is_string() && right.is_string())
        || (left.is_numeric() && right.is_numeric())
        || (left == right && left.is_temporal() && !matches!(left, DataType::Interval(_)))
}

/// When a comparison with a set that is not decided stays open: NULL is in the set, or is compared with any set but the empty one.
fn unknown(expr: &Expr, schema: &DFSchema, rows: &LogicalPlan, found: &Expr) -> Result<Option<Expr>> {
    let mut unknown = None;
    if found.nullable(rows.schema())? {
        let nulls = LogicalPlanBuilder::from(rows.clone()).filter(found.clone().is_null())?.build()?;
        unknown = Some(counted(nulls, false)?);
    }
    if expr.nullable(schema)? {
        let of_null = expr.clone().is_null().and(counted(rows.clone(), false)?);
        unknown = Some(match unknown {
            Some(other) => other.or(of_null),
            None => of_null,
        });
    }
    Ok(unknown)
}

/// `CASE WHEN decided THEN result WHEN unknown THEN NULL ELSE NOT result END`.
fn three_valued(decided: Expr, unknown: Option<Expr>, result: bool) -> Result<Expr> {
    let mut case = when(decided, lit(result));
    match unknown {
        Some(unknown) => case.when(unknown, lit(ScalarValue::Boolean(None))).otherwise(lit(!result)),
        None => case.otherwise(lit(!result)),
    }
}

/// Whether there are rows, or none.
fn counted(rows: LogicalPlan, none: bool) -> Result<Expr> {
    let number = count(lit(1_i64));
    let name = Expr::Column(Column::from_name(number.schema_name().to_string()));
    let compared = if none { name.eq(lit(0_i64)) } else { name.gt(lit(0_i64)) };
    let plan = LogicalPlanBuilder::from(aggregated(rows, number)?).project([compared])?.build()?;
    Ok(scalar(plan))
}

fn aggregated(rows: LogicalPlan, aggregate: Expr) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), [aggregate])?.build()
}

fn scalar(plan: LogicalPlan) -> Expr {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() })
}

/// The expression as a subquery below reads it.
fn outside(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let outside = expr.transform_up(|expr| match expr {
        Expr::Column(column) => {
            let field = schema.field_from_column(&column)?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field.clone(), column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(outside.data)
}
