//! A lateral subquery over one row is more columns of the row beside it: `FROM t, unnest(t.list)`, `LATERAL (SELECT t.a * 2)`.
//!
//! DataFusion makes joins of lateral subqueries that read relations, and leaves these.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Subquery, SubqueryAlias, lit};
use datafusion::optimizer::AnalyzerRule;

/// The rule; it runs before types are made to agree.
#[derive(Debug)]
pub(in crate::engine) struct Lateral;

impl AnalyzerRule for Lateral {
    fn name(&self) -> &str {
        "lateral"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        laterals(plan, widened)
    }
}

/// The subquery of a lateral join, and how it is called there.
pub(super) type Side<'a> = (&'a Subquery, Option<TableReference>);

/// Puts what `instead` makes of them in the place of lateral joins.
pub(super) fn laterals(
    plan: LogicalPlan,
    instead: impl Fn(&Join, Side<'_>) -> Result<Option<LogicalPlan>>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let made = match &plan {
            LogicalPlan::Join(join) => side(join).map(|side| instead(join, side)).transpose()?.flatten(),
            _ => None,
        };
        Ok(made.map_or_else(|| Transformed::no(plan), Transformed::yes))
    });
    rewritten.map(|plan| plan.data)
}

fn side(join: &Join) -> Option<Side<'_>> {
    match join.right.as_ref() {
        LogicalPlan::Subquery(subquery) => Some((subquery, None)),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => match input.as_ref() {
            LogicalPlan::Subquery(subquery) => Some((subquery, Some(alias.clone()))),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a join has no condition.
pub(super) fn is_unconditional(join: &Join) -> bool {
    join.on.is_empty() && join.filter.as_ref().is_none_or(|filter| *filter == lit(true))
}

/// The left side of such a join with the subquery's columns; `None` for other joins.
fn widened(join: &Join, (subquery, alias): Side<'_>) -> Result<Option<LogicalPlan>> {
    let keeps_rows = !may_drop_rows(&subquery.subquery);
    let always = is_unconditional(join);
    let fits = match join.join_type {
        JoinType::Inner => true,
        JoinType::Left => keeps_rows && always,
        _ => false,
    };
    if !join.on.is_empty() || !fits {
        return Ok(None);
    }
    let mut row = Row { left: &join.left, names: HashMap::new() };
    let Some(plan) = row.under(&subquery.subquery)? else { return Ok(None) };
    let columns = row.columns(subquery, alias);
    let plan = LogicalPlanBuilder::from(plan).project(columns)?;
    match &join.filter {
        Some(filter) if !always => plan.filter(filter.clone())?.build().map(Some),
        _ => plan.build().map(Some),
    }
}

fn may_drop_rows(plan: &LogicalPlan) -> bool {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Unnest(_) | LogicalPlan::Filter(_)))).unwrap_or(true)
}

/// The row that a subquery runs for.
struct Row<'a> {
    left: &'a Arc<LogicalPlan>,
    /// New names of the subquery's columns that the row has already.
    names: HashMap<String, String>,
}

impl Row<'_> {
    /// The subquery's plan over the row in the place of no relation; `None` when it reads any.
    fn under(&mut self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        let plan = match plan {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => return Ok(Some(self.left.as_ref().clone())),
            LogicalPlan::Projection(projection) => {
                let Some(input) = self.under(&projection.input)? else { return Ok(None) };
                let mut names = HashMap::new();
                let mut columns = self.own();
                for expr in &projection.expr {
                    let (_, name) = expr.qualified_name();
                    let mut new_name = name.clone();
                    if self.has(&name) {
                        new_name = format!("{name} of the row");
                        names.insert(name, new_name.clone());
                    }
                    columns.push(self.inside(expr)?.unalias().alias(new_name));
                }
                self.names = names;
                LogicalPlanBuilder::from(input).project(columns)?
            }
            LogicalPlan::Filter(filter) => {
                let Some(input) = self.under(&filter.input)? else { return Ok(None) };
                LogicalPlanBuilder::from(input).filter(self.inside(&filter.predicate)?)?
            }
            LogicalPlan::Unnest(unnest) => {
                let Some(input) = self.under(&unnest.input)? else { return Ok(None) };
                LogicalPlanBuilder::from(input)
                    .unnest_columns_with_options(unnest.exec_columns.clone(), unnest.options.clone())?
            }
            _ => return Ok(None),
        };
        plan.build().map(Some)
    }

    fn own(&self) -> Vec<Expr> {
        self.left.schema().columns().into_iter().map(Expr::Column).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.left.schema().fields().iter().any(|field| field.name() == name)
    }

    /// An expression of the subquery, over the row.
    fn inside(&self, expr: &Expr) -> Result<Expr> {
        let schema: &DFSchema = self.left.schema();
        let expr = expr.clone().transform_up(|expr| {
            Ok(match expr {
                Expr::OuterReferenceColumn(_, column) if schema.has_column(&column) => {
                    Transformed::yes(Expr::Column(column))
                }
                Expr::Column(Column { relation: None, ref name, .. }) if self.names.contains_key(name) => {
                    Transformed::yes(Expr::Column(Column::from_name(&self.names[name])))
                }
                other => Transformed::no(other),
            })
        })?;
        Ok(expr.data)
    }

    /// The row's columns and the subquery's, by the names that they had in the join.
    fn columns(&self, subquery: &Subquery, alias: Option<TableReference>) -> Vec<Expr> {
        let mut columns = self.own();
        for (relation, field) in subquery.subquery.schema().iter() {
            let name = self.names.get(field.name()).unwrap_or(field.name());
            let relation = alias.clone().or_else(|| relation.cloned());
            columns.push(Expr::Column(Column::from_name(name)).alias_qualified(relation, field.name()));
        }
        columns
    }
}
