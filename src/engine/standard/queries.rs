//! Clauses of whole queries.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, LimitClause, Query, Select, SelectItem, SetExpr, Statement, UtilityOption, Value, ValueWithSpan,
    VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::tables;
use crate::error::{Error, Result};

/// Puts a LIMIT for `FETCH FIRST n ROWS ONLY`.
pub(super) fn fetch(query: &mut Query) -> Result<()> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.with_ties || fetch.percent {
        let error = Error::bad_input("not supported: FETCH WITH TIES or PERCENT").with_sqlstate("0A000");
        return Err(error.with_hint("use rank() over the order, or LIMIT"));
    }
    let rows = fetch.quantity.unwrap_or(Expr::Value(ValueWithSpan::from(Value::Number("1".into(), false))));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
        None => {
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() });
        }
        Some(_) => return Err(Error::bad_input("LIMIT and FETCH cannot both be given").with_sqlstate("42601")),
    }
    Ok(())
}

/// Makes rows of series, and values of what EXISTS finds, where they are selected.
pub(super) fn select(select: &mut Select) {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        tables::in_select(expr);
        let _ = expr.visit(&mut Found { depth: 0 });
    }
}

/// Finds EXISTS in a value, and not in the subqueries inside.
struct Found {
    depth: usize,
}

impl VisitorMut for Found {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Exists { subquery, negated } = expr
            && let Some(counted) = counted(subquery, *negated)
        {
            *expr = counted;
        }
        ControlFlow::Continue(())
    }
}

/// How many rows a subquery has, compared with none. A plain one counts its own rows, since the planner takes references to the outer query
/// one level deep only.
fn counted(subquery: &Query, negated: bool) -> Option<Expr> {
    let op = if negated { "=" } else { ">" };
    if let SetExpr::Select(select) = subquery.body.as_ref()
        && is_plain(subquery, select)
    {
        let (mut query, mut select) = (subquery.clone(), select.clone());
        let count =
            Parser::new(&GenericDialect {}).try_with_sql(&format!("count(*) {op} 0")).ok()?.parse_expr().ok()?;
        select.projection = vec![SelectItem::UnnamedExpr(count)];
        query.body = Box::new(SetExpr::Select(select));
        query.order_by = None;
        return Some(Expr::Subquery(Box::new(query)));
    }
    let outer = format!("SELECT count(*) {op} 0 FROM (SELECT 1) AS found");
    let Some(Statement::Query(mut outer)) = Parser::parse_sql(&GenericDialect {}, &outer).ok()?.pop() else {
        return None;
    };
    let SetExpr::Select(select) = outer.body.as_mut() else { return None };
    let datafusion::sql::sqlparser::ast::TableFactor::Derived { subquery: inner, .. } =
        &mut select.from.first_mut()?.relation
    else {
        return None;
    };
    **inner = subquery.clone();
    Some(Expr::Subquery(outer))
}

/// Whether a subquery has as many rows as come through its WHERE.
fn is_plain(query: &Query, select: &Select) -> bool {
    let is_value = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            matches!(expr, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        }
        _ => true,
    };
    query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.distinct.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.top.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty())
        && select.projection.iter().all(is_value)
}

/// Takes the options of EXPLAIN that have a meaning here.
pub(super) fn explain(statement: &mut Statement) -> Result<()> {
    let Statement::Explain { analyze, verbose, options, .. } = statement else { return Ok(()) };
    for UtilityOption { name, arg } in options.take().into_iter().flatten() {
        let value = arg.map(|arg| arg.to_string().trim_matches('\'').to_lowercase());
        let is_on = !matches!(value.as_deref(), Some("off" | "false" | "0"));
        match name.value.to_lowercase().as_str() {
            "analyze" => *analyze = is_on,
            "verbose" => *verbose = is_on,
            "format" if value.as_deref() != Some("text") => {
                let error =
                    Error::bad_input("not supported: EXPLAIN in another format than text").with_sqlstate("0A000");
                return Err(error);
            }
            "format" | "buffers" | "costs" | "settings" | "summary" | "timing" | "wal" | "generic_plan" | "memory"
            | "serialize" => {}
            other => {
                return Err(Error::bad_input(format!("unrecognized EXPLAIN option \"{other}\"")).with_sqlstate("42601"));
            }
        }
    }
    Ok(())
}
