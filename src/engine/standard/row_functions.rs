//! Functions in FROM that are a query (`schema/row_functions.sql`): each call is a subquery, with the arguments in the place of the parameters.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, Query, SelectItem, SetExpr, TableFactor, TableWithJoins, visit_expressions,
};

use super::functions::{Argument, Expression, argument, expressions_of, with_values};
use super::tables::alias_of;
use crate::error::Result;

/// The functions of the file by name.
static QUERIES: LazyLock<HashMap<String, Vec<Expression>>> =
    LazyLock::new(|| expressions_of(include_str!("../../../schema/row_functions.sql")));

/// Rewrites a call in FROM; one that no function takes is left for the planner to refuse.
pub(super) fn rewrite(table: &mut TableFactor) -> Result<()> {
    let (name, args, alias, lateral) = match table {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, &mut args.args, alias, false),
        TableFactor::Function { name, args, alias, lateral, .. } => (name, args, alias, *lateral),
        _ => return Ok(()),
    };
    let name = name.to_string().to_lowercase();
    let name = name.strip_prefix("traces.").unwrap_or(&name);
    let arguments: Option<Vec<Argument>> = args.iter().map(argument).collect();
    let functions = QUERIES.get(name).into_iter().flatten();
    let called = arguments.and_then(|arguments| functions.filter_map(|it| Some((it, it.values(&arguments)?))).next());
    let Some((function, values)) = called else { return Ok(()) };
    if let Expr::Subquery(subquery) = with_values(function, &values)? {
        let alias = alias.take().unwrap_or_else(|| alias_of(Ident::new(name)));
        *table = TableFactor::Derived { lateral, subquery, alias: Some(alias), sample: None };
    }
    Ok(())
}

/// Gives a query that selects columns of one such function alone, and says nothing of their order, the function's: the planner leaves the order of
/// subqueries out.
pub(super) fn order(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let [TableWithJoins { relation: TableFactor::Table { name, args: Some(_), .. }, joins }] = select.from.as_slice()
    else {
        return;
    };
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(groups, _) if groups.is_empty());
    let is_plain = joins.is_empty() && select.distinct.is_none() && !is_grouped && select.having.is_none();
    if query.order_by.is_some() || !is_plain || !select.projection.iter().all(is_of_row) {
        return;
    }
    let name = name.to_string().to_lowercase();
    let name = name.strip_prefix("traces.").unwrap_or(&name);
    let own = QUERIES.get(name).into_iter().flatten().find_map(Expression::query);
    query.order_by = own.and_then(|own| own.order_by.clone());
}

/// Whether an item is of each row by itself: a call may be one of an aggregate.
fn is_of_row(item: &SelectItem) -> bool {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return true };
    visit_expressions(expr, |expr| match expr {
        Expr::Function(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_continue()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_file_is_an_ordered_query() {
        let file = include_str!("../../../schema/row_functions.sql");
        assert_eq!(QUERIES.values().flatten().count(), file.matches("CREATE FUNCTION").count());
        let is_ordered = |it: &Expression| it.query().is_some_and(|query| query.order_by.is_some());
        assert!(QUERIES.values().flatten().all(is_ordered));
    }
}
