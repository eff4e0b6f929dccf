//! `LATERAL (SELECT … WHERE b.key = a.key ORDER BY … LIMIT n)`, the best rows for each row beside it, becomes a join with the rows whose
//! number among those of their key is at most n.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::error::Result;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::{BinaryExpr, Sort as SortKey};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, FetchType, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection, SkipType,
    lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::lateral::{Side, is_unconditional, laterals};

/// The column with the number of a row among those of its key.
const PLACE: &str = "place among the rows of the key";

/// The rule; it runs before types are made to agree.
#[derive(Debug)]
pub(in crate::engine) struct BestRows;

impl AnalyzerRule for BestRows {
    fn name(&self) -> &str {
        "best_rows"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        laterals(plan, joined)
    }
}

/// Such a join as one without a lateral side; `None` for other joins.
fn joined(join: &Join, (subquery, alias): Side<'_>) -> Result<Option<LogicalPlan>> {
    if !is_unconditional(join) || !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return Ok(None);
    }
    let LogicalPlan::Limit(limit) = subquery.subquery.as_ref() else { return Ok(None) };
    let (FetchType::Literal(Some(rows)), SkipType::Literal(0)) = (limit.get_fetch_type()?, limit.get_skip_type()?)
    else {
        return Ok(None);
    };
    let mut keys = Keys { left: &join.left, pairs: Vec::new(), rows, is_cut: false };
    let Some(plan) = keys.carried(&limit.input)? else { return Ok(None) };
    let plan = if keys.is_cut { plan } else { keys.cut(plan, Vec::new())? };
    keys.join(join, plan, alias, subquery.subquery.schema().columns()).map(Some)
}

/// What a subquery's rows are found by.
struct Keys<'a> {
    left: &'a Arc<LogicalPlan>,
    /// The value beside, and the subquery's that it equals.
    pairs: Vec<(Expr, Expr)>,
    rows: usize,
    /// Whether the rows beyond the best ones are gone.
    is_cut: bool,
}

impl Keys<'_> {
    /// The subquery's plan without the conditions on the row beside it, and with its keys; `None` when it is of another form.
    fn carried(&mut self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        match plan {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() && !self.is_cut => {
                let Some(input) = self.carried(&sort.input)? else { return Ok(None) };
                self.cut(input, sort.expr.clone()).map(Some)
            }
            LogicalPlan::Projection(Projection { expr, input, .. }) => {
                let Some(input) = self.carried(input)? else { return Ok(None) };
                let keys = self.pairs.iter().enumerate().map(|(at, (_, key))| key.clone().alias(key_name(at)));
                let columns: Vec<_> = expr.iter().cloned().chain(keys).collect();
                for (at, (_, key)) in self.pairs.iter_mut().enumerate() {
                    *key = Expr::Column(Column::from_name(key_name(at)));
                }
                LogicalPlanBuilder::from(input).project(columns)?.build().map(Some)
            }
            LogicalPlan::Filter(filter) => self.found(filter),
            _ => Ok(None),
        }
    }

    /// Takes the keys out of a condition.
    fn found(&mut self, filter: &Filter) -> Result<Option<LogicalPlan>> {
        let mut rest = Vec::new();
        for condition in split_conjunction(&filter.predicate) {
            if !condition.contains_outer() {
                rest.push(condition.clone());
                continue;
            }
            let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return Ok(None) };
            let pair = match (self.beside(left), self.beside(right)) {
                (Some(beside), None) if !right.contains_outer() => (beside, right.as_ref().clone()),
                (None, Some(beside)) if !left.contains_outer() => (beside, left.as_ref().clone()),
                _ => return Ok(None),
            };
            self.pairs.push(pair);
        }
        if self.pairs.is_empty() || !filter.input.all_out_ref_exprs().is_empty() {
            return Ok(None);
        }
        let plan = LogicalPlanBuilder::from(filter.input.clone());
        match conjunction(rest) {
            Some(rest) => plan.filter(rest)?.build().map(Some),
            None => plan.build().map(Some),
        }
    }

    /// The column beside that an expression is, if it is one.
    fn beside(&self, expr: &Expr) -> Option<Expr> {
        match expr {
            Expr::OuterReferenceColumn(_, column) if self.left.schema().has_column(column) => {
                Some(Expr::Column(column.clone()))
            }
            _ => None,
        }
    }

    /// The best rows of each key.
    fn cut(&mut self, plan: LogicalPlan, order: Vec<SortKey>) -> Result<LogicalPlan> {
        self.is_cut = true;
        let keys = self.pairs.iter().map(|(_, key)| key.clone()).collect();
        let place = row_number().partition_by(keys).order_by(order).build()?.alias(PLACE);
        let within = Expr::Column(Column::from_name(PLACE)).lt_eq(lit(self.rows as u64));
        LogicalPlanBuilder::from(plan).window(vec![place])?.filter(within)?.build()
    }

    fn join(
        self,
        join: &Join,
        plan: LogicalPlan,
        alias: Option<TableReference>,
        columns: Vec<Column>,
    ) -> Result<LogicalPlan> {
        let keys = self.pairs.iter().enumerate().map(|(at, (_, key))| key.clone().alias(key_name(at)));
        let all: Vec<_> = columns.iter().cloned().map(Expr::Column).chain(keys).collect();
        let mut right = LogicalPlanBuilder::from(plan).project(all)?;
        if let Some(alias) = &alias {
            right = right.alias(alias.clone())?;
        }
        let of_right = |column: &Column| match &alias {
            Some(alias) => Column::new(Some(alias.clone()), &column.name),
            None => column.clone(),
        };
        let right_keys: Vec<Expr> =
            (0..self.pairs.len()).map(|at| Expr::Column(of_right(&Column::from_name(key_name(at))))).collect();
        let left_keys: Vec<Expr> = self.pairs.iter().map(|(beside, _)| beside.clone()).collect();
        let kept = self.left.schema().columns().into_iter().chain(columns.iter().map(of_right)).map(Expr::Column);
        LogicalPlanBuilder::from(self.left.clone())
            .join_with_expr_keys(right.build()?, join.join_type, (left_keys, right_keys), None)?
            .project(kept)?
            .build()
    }
}

fn key_name(at: usize) -> String {
    format!("key {at} of the row beside")
}
