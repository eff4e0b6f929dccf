//! The search path as rows: `SELECT … s[i] FROM generate_series(…) AS i, string_to_array(path, ',') s`, as Grafana asks for it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SetExpr, Statement, TableFactor, TableWithJoins, VisitMut, VisitorMut,
    visit_expressions_mut,
};

/// Reads the elements of a list one by one where a query counts through it: a series of numbers that the list's bounds give, and the list as
/// a relation of one row.
pub(super) fn unnest(statement: &mut Statement) {
    let _ = statement.visit(&mut Elements);
}

struct Elements;

impl VisitorMut for Elements {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut() {
            unnest_select(select);
        }
        ControlFlow::Continue(())
    }
}

fn unnest_select(select: &mut Select) {
    let [series, list] = select.from.as_slice() else { return };
    let (Some(("generate_series", _)), Some(("string_to_array", Some(name)))) = (called(series), called(list)) else {
        return;
    };
    let name = name.clone();
    let TableFactor::Table { name: _, alias, args: Some(arguments), .. } = &list.relation else { return };
    let (arguments, mut alias) = (arguments.args.clone(), alias.clone());
    let texts: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let sql = format!("SELECT unnest(string_to_array({})) AS {name}", texts.join(", "));
    let Ok(mut parsed) = datafusion::sql::sqlparser::parser::Parser::parse_sql(
        &datafusion::sql::sqlparser::dialect::PostgreSqlDialect {},
        &sql,
    ) else {
        return;
    };
    let Some(Statement::Query(subquery)) = parsed.pop() else { return };
    if let Some(alias) = &mut alias {
        alias.columns.clear();
    }
    let relation = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
    select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    let _ = visit_expressions_mut(&mut select.projection, |expr| {
        if let Expr::CompoundFieldAccess { root, .. } = expr
            && matches!(root.as_ref(), Expr::Identifier(root) if *root == name)
        {
            *expr = Expr::Identifier(name.clone());
        }
        ControlFlow::<()>::Continue(())
    });
}

/// The function that a relation of FROM calls, and the relation's name.
fn called(from: &TableWithJoins) -> Option<(&'static str, Option<&Ident>)> {
    let TableFactor::Table { name, alias, args: Some(_), .. } = &from.relation else { return None };
    let word = name.0.last()?.as_ident()?.value.to_ascii_lowercase();
    let known = ["generate_series", "string_to_array"].into_iter().find(|known| *known == word)?;
    Some((known, alias.as_ref().map(|alias| &alias.name)))
}
