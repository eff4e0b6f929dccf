//! The names of the columns of subqueries in FROM and WITH: as those of a result, so that `SELECT count FROM (SELECT count(*) …)` finds them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, TableFactor, VisitMut,
    VisitorMut, WildcardAdditionalOptions,
};

use super::names::{folded, is_plain, name_of};

/// What PostgreSQL calls a column that it has no name for.
const UNNAMED: &str = "?column?";

/// Names the columns of every subquery in FROM and WITH, and the columns that stand beside a `*` which has them too.
pub(super) fn name_inner(statement: &mut Statement) {
    let unnamed = statement.to_string().contains(UNNAMED);
    let _ = statement.visit(&mut Inner { unnamed });
}

/// Names the columns of a query that will stand in FROM.
pub(super) fn name_columns_of(query: &mut Query) {
    Inner { unnamed: false }.body(&mut query.body);
}

struct Inner {
    /// Whether the statement asks for a column by PostgreSQL's name for none.
    unnamed: bool,
}

impl VisitorMut for Inner {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            self.body(&mut cte.query.body);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, .. } = table {
            self.body(&mut subquery.body);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        beside_wildcard(select);
        ControlFlow::Continue(())
    }
}

impl Inner {
    fn body(&self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.body(&mut query.body),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            _ => {}
        }
    }

    fn select(&self, select: &mut Select) {
        let named = select.projection.iter().map(|item| self.wanted(item));
        let named: Vec<_> = named.collect();
        let written = named.iter().flatten().map(|(name, _)| name.clone());
        let mut names = Numbered::beside(written);
        for (item, named) in select.projection.iter_mut().zip(named) {
            let (Some((wanted, has_name)), SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) =
                (named, &*item)
            else {
                continue;
            };
            let expr = expr.clone();
            let name = names.next(&wanted);
            if !has_name || name != wanted {
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
            }
        }
    }

    /// The name that a column has or would have, and whether it is written.
    fn wanted(&self, item: &SelectItem) -> Option<(String, bool)> {
        match item {
            SelectItem::UnnamedExpr(expr) if is_plain(expr) => Some((name_of(expr), true)),
            SelectItem::UnnamedExpr(expr) => Some((self.name(expr), false)),
            SelectItem::ExprWithAlias { alias, .. } => Some((folded(alias), true)),
            _ => None,
        }
    }

    fn name(&self, expr: &Expr) -> String {
        match expr {
            Expr::Nested(inner) => self.name(inner),
            Expr::Value(_) | Expr::BinaryOp { .. } | Expr::UnaryOp { .. } if self.unnamed => UNNAMED.to_string(),
            other => name_of(other),
        }
    }
}

/// Names of columns, of which equal ones get numbers that are no names of others.
pub(super) struct Numbered {
    /// The names that are wanted, and how often each was given.
    given: HashMap<String, usize>,
}

impl Numbered {
    /// All names that columns want; what is numbered takes none of these.
    pub(super) fn beside(wanted: impl IntoIterator<Item = String>) -> Self {
        Self { given: wanted.into_iter().map(|name| (name, 0)).collect() }
    }

    /// The name, with a number when it was given before.
    pub(super) fn next(&mut self, wanted: &str) -> String {
        let mut number = self.given.get(wanted).copied().unwrap_or_default() + 1;
        let mut name = wanted.to_string();
        if number > 1 {
            name = format!("{wanted}_{number}");
            while self.given.contains_key(&name) {
                number += 1;
                name = format!("{wanted}_{number}");
            }
            self.given.insert(name.clone(), 1);
        }
        self.given.insert(wanted.to_string(), number);
        name
    }
}

/// Numbers the columns that a `*` of the same SELECT has too: the planner takes no two of one name.
fn beside_wildcard(select: &mut Select) {
    let has_all =
        select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(options) if is_whole(options)));
    let tables: Vec<String> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
                if is_whole(options) =>
            {
                Some(name.to_string())
            }
            _ => None,
        })
        .collect();
    if !has_all && tables.is_empty() {
        return;
    }
    let is_repeated = |expr: &Expr| match expr {
        Expr::Identifier(_) => has_all,
        Expr::CompoundIdentifier(parts) => {
            let table = parts[..parts.len().saturating_sub(1)].iter().map(Ident::to_string).collect::<Vec<_>>();
            has_all || tables.contains(&table.join("."))
        }
        _ => false,
    };
    let wanted = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) => Some(name_of(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    });
    let mut names = Numbered::beside(wanted);
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        if !is_repeated(expr) {
            continue;
        }
        let wanted = name_of(expr);
        let first = names.next(&wanted);
        // The column of the `*` has the name itself.
        let name = if first == wanted { names.next(&wanted) } else { first };
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name) };
    }
}

fn is_whole(options: &WildcardAdditionalOptions) -> bool {
    options.opt_exclude.is_none() && options.opt_except.is_none() && options.opt_rename.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::grammar::Grammar;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn columns_of_subqueries_are_named_as_those_of_results() {
        for (written, named) in [
            ("SELECT count(*) FROM t", "SELECT count(*) FROM t"),
            (
                "SELECT max(count) FROM (SELECT count(*), count(a), b FROM t GROUP BY b) AS x",
                "SELECT max(count) FROM (SELECT count(*) AS \"count\", count(a) AS \"count_2\", b FROM t GROUP BY b) AS x",
            ),
            (
                "WITH RECURSIVE t (id, root) AS (SELECT a, a FROM s UNION ALL SELECT 1, 1 FROM t) SELECT id FROM t",
                "WITH RECURSIVE t (id, root) AS (SELECT a, a AS \"a_2\" FROM s UNION ALL \
                 SELECT 1 AS \"1\", 1 AS \"1_2\" FROM t) SELECT id FROM t",
            ),
            (
                "SELECT \"?column?\" FROM (SELECT 1 + 1) AS t",
                "SELECT \"?column?\" FROM (SELECT 1 + 1 AS \"?column?\") AS t",
            ),
            ("SELECT a, * FROM t", "SELECT a AS \"a_2\", * FROM t"),
            ("SELECT t.a, t.* FROM t", "SELECT t.a AS \"a_2\", t.* FROM t"),
            ("SELECT t.a, u.* FROM t, u", "SELECT t.a, u.* FROM t, u"),
            ("SELECT x IN (SELECT count(*) FROM t)", "SELECT x IN (SELECT count(*) FROM t)"),
        ] {
            let mut statement = Parser::parse_sql(&Grammar::for_tokens(100), written).expect("parses").remove(0);
            name_inner(&mut statement);
            assert_eq!(statement.to_string(), named);
        }
    }
}
