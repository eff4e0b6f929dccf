//! A predicate over `traces.spans`, decided span by span: what `WHERE` keeps, for those who read spans outside a statement.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::execution::SessionState;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerConfig};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::errors::from_datafusion;
use super::grammar::Grammar;
use super::scan::files_that_may_match;
use super::script;
use super::shared::Engine;
use crate::error::{Error, Result};
use crate::model::schema::physical_schema;
use crate::store::{DataFile, SpanFilter};

/// What the predicate stands behind while it is planned.
const BEFORE: &str = "SELECT span_id FROM traces.spans WHERE (\n";
const AFTER: &str = "\n)";

/// Decides over spans as the statement `SELECT … FROM traces.spans WHERE predicate` does.
#[derive(Debug)]
struct SpanPredicate(Arc<dyn PhysicalExpr>);

impl Engine {
    /// Reads a predicate over the columns of `traces.spans`.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`], with the place in `text`, when it is none, or when it needs more than the span itself: a subquery,
    /// or a function that answers otherwise each time.
    pub async fn span_filter(self: &Arc<Self>, text: &str) -> Result<Arc<dyn SpanFilter>> {
        check_is_closed(text)?;
        let script = format!("{BEFORE}{text}{AFTER}");
        let session = self.session();
        let (state, plan) = session.planned(&script).await.map_err(|error| replaced(error, BEFORE, text))?;
        let predicate = self.runtime(false).run(async move { physical(state, plan) }).await?;
        Ok(Arc::new(SpanPredicate(predicate)))
    }
}

/// Refuses a text that would close the parenthesis around it, or end the statement.
pub(super) fn check_is_closed(text: &str) -> Result<()> {
    // What cannot be read as tokens is for the parser to tell.
    let Ok(tokens) = Tokenizer::new(&Grammar::for_tokens(0), text).tokenize_with_location() else { return Ok(()) };
    let mut open = 0_usize;
    for token in &tokens {
        let closes_more = match token.token {
            Token::LParen => {
                open += 1;
                false
            }
            Token::RParen if open == 0 => true,
            Token::RParen => {
                open -= 1;
                false
            }
            Token::SemiColon => true,
            _ => false,
        };
        if closes_more {
            let error = Error::bad_input(format!("syntax error at or near \"{}\"", token.token));
            let place = script::position(text, token.span.start.line, token.span.start.column);
            return Err(error.with_position(place.unwrap_or(1)));
        }
    }
    Ok(())
}

/// The error with its place in the predicate instead of in the statement around it.
pub(super) fn replaced(mut error: Error, before: &str, text: &str) -> Error {
    let length = text.chars().count();
    let position = error.position.map(|position| position.saturating_sub(before.chars().count()));
    if position.is_some_and(|position| position > length) && error.message.starts_with("syntax error") {
        error.message = "syntax error at end of input".into();
    }
    error.position = position.map(|position| position.clamp(1, length.max(1)));
    error
}

fn physical(mut state: SessionState, plan: LogicalPlan) -> Result<Arc<dyn PhysicalExpr>> {
    state.mark_start_execution();
    let plan = state.analyzer().execute_and_check(plan, &state.options(), |_, _| {}).map_err(from_datafusion)?;
    // What a statement's plan goes through beside this is for speed.
    let rules = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new()), Arc::new(PushDownFilter::new())]);
    let plan = rules.optimize(plan, &state, |_, _| {}).map_err(from_datafusion)?;
    let predicate = of_scan(&plan)?;
    check_alone(&predicate)?;
    let schema = DFSchema::try_from(physical_schema()).map_err(from_datafusion)?;
    state.create_physical_expr(predicate, &schema).map_err(from_datafusion)
}

/// The predicate over the physical columns.
fn of_scan(plan: &LogicalPlan) -> Result<Expr> {
    let predicate = match plan {
        LogicalPlan::Projection(projection) => return of_scan(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => return of_scan(&alias.input),
        LogicalPlan::Filter(filter) if matches!(*filter.input, LogicalPlan::TableScan(_)) => filter.predicate.clone(),
        LogicalPlan::TableScan(scan) => conjunction(scan.filters.clone()).unwrap_or_else(|| lit(true)),
        _ => return Err(not_alone("something else")),
    };
    let unqualified = predicate.transform_up(|expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))),
        expr => Ok(Transformed::no(expr)),
    });
    unqualified.map(|unqualified| unqualified.data).map_err(from_datafusion)
}

fn check_alone(predicate: &Expr) -> Result<()> {
    if predicate.is_volatile() {
        return Err(not_alone("a function that answers otherwise each time"));
    }
    let mut has_subquery = false;
    let visited = predicate.apply(|expr| {
        has_subquery |=
            matches!(expr, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_));
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(from_datafusion)?;
    match has_subquery {
        true => Err(not_alone("a subquery")),
        false => Ok(()),
    }
}

fn not_alone(what: &str) -> Error {
    Error::bad_input(format!("the predicate needs {what}: only what a span itself says can decide"))
        .with_sqlstate("0A000")
        .with_hint("ask for the ids of the traces with a statement, and give those")
}

impl SpanFilter for SpanPredicate {
    fn columns(&self) -> Vec<String> {
        collect_columns(&self.0).iter().map(|column| column.name().to_owned()).collect()
    }

    fn may_match(&self, files: &[DataFile]) -> Vec<bool> {
        files_that_may_match(files, &self.0)
    }

    fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let value = self.0.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
        let value = value.map_err(from_datafusion)?;
        value.as_boolean_opt().cloned().ok_or_else(|| Error::internal("a predicate that is not a boolean"))
    }
}
