//! Subqueries that say yes or no: `x IN (SELECT …)`, `EXISTS (SELECT …)`, `x > ALL (SELECT …)`.
//!
//! DataFusion makes joins of `EXISTS` and `IN` in WHERE, and has nothing to run elsewhere. Here all come down to whether there are rows, which WHERE
//! asks with `EXISTS`, and other clauses with a scalar subquery over an aggregate:
//!
//! | written | means |
//! |---|---|
//! | `EXISTS (q)` | in a value `(SELECT max(1) FROM q) IS NOT NULL` |
//! | `x op ANY (q)`, where open counts as false | `EXISTS (q WHERE x op found)` |
//! | `x op ALL (q)`, where open counts as false | `NOT EXISTS (q WHERE (x op found) IS NOT TRUE)` |
//! | `x op ANY (q)` elsewhere | `EXISTS (q WHERE x op found)`, NULL where a NULL leaves it open |
//! | `x > ALL (q)`, `x > ANY (q)` as values, or where `q` reads nothing outside | `x > (SELECT max(found) FROM q)`, `x > (SELECT min(found) FROM q)` |
//! | `x op ANY (q)`, `x op ALL (q)` where `q` always gives one row | `x op (q)` |
//!
//! `IN` is `= ANY` and `NOT IN` is `<> ALL`. What a subquery gives gets a name of its own: a query over the relation outside would else compare a column
//! with itself.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{BinaryExpr, Exists, InSubquery, SetComparison};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, SubqueryAlias, binary_expr, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::below::computed_below;
use super::compared::{Asked, Found, ends, three_valued};
use super::existence::{existence, gives_one_row, inside, is_correlated, outside, refused, scalar, there_are};
use super::interval_order::are_length_types;
use super::lenient_text::number_from_text;
use crate::engine::functions::interval_length;
use crate::engine::standard::FOUND_ROW;
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
pub(super) enum Place {
    /// In WHERE, where what is open counts as false.
    Asserted,
    /// In WHERE, where it matters whether something is false or open.
    Condition,
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
    fn check_copies(&mut self, expr: &Expr, plan: &LogicalPlan) -> Result<()> {
        expr.apply(|part| {
            match part {
                Expr::ScalarSubquery(inner) | Expr::Exists(Exists { subquery: inner, .. }) => {
                    count_steps(&inner.subquery, &mut self.copied)?;
                }
                _ => {}
            }
            count_one(&mut self.copied)
        })?;
        count_steps(plan, &mut self.copied)?;
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
        if let LogicalPlan::SubqueryAlias(alias) = plan {
            return renamed(alias);
        }
        let mut has_subqueries = false;
        plan.apply_subqueries(|_| {
            has_subqueries = true;
            Ok(TreeNodeRecursion::Stop)
        })?;
        if !has_subqueries {
            return Ok(Transformed::no(plan));
        }
        match plan {
            LogicalPlan::Join(join) => self.joined(join),
            LogicalPlan::Filter(filter) => self.filtered(filter),
            other => self.valued(other),
        }
    }

    /// Asks beside a join what its condition asks of subqueries, since DataFusion makes joins of those in WHERE only.
    fn joined(&mut self, mut join: Join) -> Result<Transformed<LogicalPlan>> {
        let conjuncts = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
        let (asking, plain): (Vec<_>, Vec<_>) = conjuncts.into_iter().partition(asks);
        join.filter = conjunction(plain);
        let Some(asked) = conjunction(asking) else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
        let side = match join.join_type {
            JoinType::Inner => {
                let above = Filter::try_new(asked, Arc::new(LogicalPlan::Join(join)))?;
                return self.filtered(above);
            }
            // The side whose rows are left out where the condition does not hold.
            JoinType::Left => &mut join.right,
            JoinType::Right => &mut join.left,
            _ => return Err(refused("a subquery in the condition of this join", "ask it in WHERE, or in WITH first")),
        };
        if !reads_only(&asked, side.schema())? {
            return Err(refused("a subquery in the condition of this join", "ask it in WITH first"));
        }
        *side = Arc::new(self.filtered(Filter::try_new(asked, side.clone())?)?.data);
        Ok(Transformed::yes(LogicalPlan::Join(join)))
    }

    /// What WHERE says, conjunct by conjunct.
    fn filtered(&mut self, filter: Filter) -> Result<Transformed<LogicalPlan>> {
        let schema = filter.input.schema().clone();
        let mut conjuncts = Vec::new();
        for conjunct in split_conjunction_owned(filter.predicate) {
            conjuncts.push(match Asked::of(&conjunct) {
                Some(asked) => self.alone(asked, &schema)?,
                None => {
                    let place = if asserts(&conjunct) { Place::Asserted } else { Place::Condition };
                    conjunct.transform_up(|expr| self.answer(expr, &schema, place))?.data
                }
            });
        }
        let predicate = conjunction(conjuncts).unwrap_or_else(|| lit(true));
        Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
    }

    /// What other clauses than WHERE compute.
    fn valued(&mut self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = merge_schema(&plan.inputs());
        let preserver = NamePreserver::new(&plan);
        let rewritten = plan.map_expressions(|expr| {
            let name = preserver.save(&expr);
            let rewritten = expr.transform_up(|expr| self.answer(expr, &schema, Place::Value))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })?;
        let lifts = matches!(rewritten.data, LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_));
        if !lifts {
            return Ok(rewritten);
        }
        // DataFusion makes no joins of subqueries below these.
        let relation = self.next("computed");
        let lifted = computed_below(rewritten.data, relation, |expr, below| {
            expr.transform_down(|expr| match &expr {
                Expr::ScalarSubquery(subquery) if !subquery.outer_ref_columns.is_empty() => {
                    Ok(Transformed::yes(below.column(expr)))
                }
                _ => Ok(Transformed::no(expr)),
            })
        })?;
        Ok(Transformed { data: lifted.data, transformed: rewritten.transformed || lifted.transformed, ..rewritten })
    }

    /// A conjunct that is one such comparison and nothing else.
    fn alone(&mut self, asked: Asked, schema: &DFSchema) -> Result<Expr> {
        let asked = asked
            .transform_left(|left| Ok(left.transform_up(|expr| self.answer(expr, schema, Place::Condition))?.data))?;
        let reads_outside = is_correlated(&asked.plan);
        // A join that knows NULL, of what a column of the row is compared with.
        let is_denied = asked.is_not_in() && !reads_outside && asked.left.any_column_refs();
        if is_denied || (asked.is_in() && !reads_outside) {
            return Ok(asked.into_membership());
        }
        self.decided(asked, schema, Place::Asserted)
    }

    /// One expression, whose parts are done.
    fn answer(&mut self, expr: Expr, schema: &DFSchema, place: Place) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::Exists(Exists { subquery, negated }) => {
                let exists = existence(&subquery.subquery, schema, place)?;
                let exists = match open_rows(&subquery.subquery)? {
                    Some(open) if place != Place::Asserted => {
                        if place == Place::Value {
                            return Err(refused("a row IN a subquery outside WHERE", "write EXISTS"));
                        }
                        three_valued(exists, Some(existence(&open, schema, place)?), true)?
                    }
                    _ => exists,
                };
                Transformed::yes(if negated { !exists } else { exists })
            }
            other => match Asked::of(&other).filter(|_| !matches!(other, Expr::Not(_))) {
                Some(asked) => Transformed::yes(self.decided(asked, schema, place)?),
                None => Transformed::no(other),
            },
        })
    }

    /// `x op ANY (q)`, `x op ALL (q)`.
    fn decided(&mut self, asked: Asked, schema: &DFSchema, place: Place) -> Result<Expr> {
        if gives_one_row(&asked.plan) {
            let found = inside(&asked.plan, schema).unwrap_or_else(|| scalar(asked.plan));
            return Ok(binary_expr(asked.left, asked.op, found));
        }
        self.check_copies(&asked.left, &asked.plan)?;
        let rows = self.named(asked, schema)?;
        let reads_outside = is_correlated(&rows.plan);
        let ends = ends(rows.op, rows.is_any).filter(|_| place == Place::Value || !reads_outside);
        if let Some((ends, joined_by)) = ends.filter(|_| rows.are_ordered_alike(schema)) {
            return rows.by_ends(ends, joined_by, schema, place);
        }
        let wanted = outside(rows.left.clone(), schema)?;
        let compared = binary_expr(wanted, rows.op, rows.found.clone());
        if place == Place::Asserted {
            return match rows.is_any {
                true => there_are(rows.filtered(compared)?, place),
                false => Ok(!there_are(rows.filtered(compared.is_not_true())?, place)?),
            };
        }
        let is_equality = matches!((rows.op, rows.is_any), (Operator::Eq, true) | (Operator::NotEq, false));
        // `found = x` is what DataFusion knows as the key of a join.
        let deciding = match (is_equality, rows.is_any) {
            (true, _) => binary_expr(rows.found.clone(), Operator::Eq, outside(rows.left.clone(), schema)?),
            (false, true) => compared,
            (false, false) => !compared,
        };
        let decided = there_are(rows.filtered(deciding)?, place)?;
        three_valued(decided, rows.unknown(schema, place)?, rows.is_any)
    }

    /// A subquery's rows and their one column, under names that nothing else has, where both sides compare as they should.
    fn named(&mut self, asked: Asked, schema: &DFSchema) -> Result<Found> {
        let Asked { left, plan, op, is_any } = asked;
        if left.contains_outer() {
            return Err(refused("a subquery that reads rows two levels outside", "join the two in FROM"));
        }
        let column = Expr::Column(Column::from(plan.schema().qualified_field(0)));
        let types = (left.get_type(schema)?, column.get_type(plan.schema())?);
        let is_text = |expr: &Expr| !matches!(expr, Expr::Literal(..));
        let (left, column) = match types {
            (l, r) if are_length_types([l.clone(), r.clone()]) => (interval_length(left), interval_length(column)),
            (l, r) if l.is_string() && r.is_numeric() && is_text(&left) => (number_from_text(left), column),
            (l, r) if l.is_numeric() && r.is_string() => (left, number_from_text(column)),
            _ => (left, column),
        };
        // An alias would hide from DataFusion what it adds to the columns of a subquery that reads the row outside.
        let name = self.next(FOUND);
        let found = Expr::Column(Column::new(Some(name.clone()), FOUND));
        let plan = LogicalPlanBuilder::from(plan).project([column.alias_qualified(Some(name), FOUND)])?.build()?;
        Ok(Found { left, plan, found, op, is_any })
    }
}

/// The columns of a subquery that reads the row outside, under another name: DataFusion adds columns to a projection, and none to an alias.
fn renamed(alias: SubqueryAlias) -> Result<Transformed<LogicalPlan>> {
    if matches!(alias.input.as_ref(), LogicalPlan::Subquery(_)) || !is_correlated(&alias.input) {
        return Ok(Transformed::no(LogicalPlan::SubqueryAlias(alias)));
    }
    let columns = alias.input.schema().columns().into_iter().map(|column| {
        let name = column.name.clone();
        Expr::Column(column).alias_qualified(Some(alias.alias.clone()), name)
    });
    let columns: Vec<_> = columns.collect();
    LogicalPlanBuilder::from(alias.input).project(columns)?.build().map(Transformed::yes)
}

/// The rows that a row is not known to be like, where it is looked for among those of a subquery; `None` where all are known.
fn open_rows(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(None) };
    let LogicalPlan::Filter(filter) = projection.input.as_ref() else { return Ok(None) };
    let is_found = |column: &&Column| column.relation.as_ref().is_some_and(|relation| relation.table() == FOUND_ROW);
    if !filter.predicate.column_refs().iter().any(is_found) || !filter.predicate.nullable(filter.input.schema())? {
        return Ok(None);
    }
    let open = LogicalPlanBuilder::from(filter.input.clone()).filter(filter.predicate.clone().is_null())?.build()?;
    Ok(Some(open))
}

/// Whether an expression asks a subquery for yes or no.
fn asks(expr: &Expr) -> bool {
    let asks = |expr: &Expr| Ok(matches!(expr, Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::Exists(_)));
    expr.exists(asks).unwrap_or(true)
}

/// Whether an expression and its subqueries read no other columns than these of the row.
fn reads_only(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    let mut only = expr.column_refs().into_iter().all(|column| schema.has_column(column));
    expr.apply(|part| {
        if let Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. })
        | Expr::Exists(Exists { subquery, .. })
        | Expr::ScalarSubquery(subquery) = part
        {
            let is_known = |outer: &Expr| matches!(outer, Expr::OuterReferenceColumn(_, it) if schema.has_column(it));
            only &= subquery.outer_ref_columns.iter().all(is_known);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(only)
}

/// Whether a condition holds only where its subqueries do, so that what is open among them counts as false.
fn asserts(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            asserts(left) && asserts(right)
        }
        Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::Exists(Exists { negated: false, .. }) => true,
        other => {
            let may_be_open = |expr: &Expr| {
                Ok(match expr {
                    Expr::InSubquery(_) | Expr::SetComparison(_) => true,
                    Expr::Exists(exists) => open_rows(&exists.subquery.subquery)?.is_some(),
                    _ => false,
                })
            };
            !other.exists(may_be_open).unwrap_or(true)
        }
    }
}
