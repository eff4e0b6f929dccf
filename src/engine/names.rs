//! The names of a result's columns: those that PostgreSQL gives, or the expression as it was written where PostgreSQL says `?column?`.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, Ident, ObjectName, OrderByExpr, OrderByKind, Query, SelectItem, SetExpr,
    Statement, Subscript, Value, visit_expressions_mut,
};

use super::inner_names::Numbered;
use super::standard::call;

/// The longest name, as PostgreSQL has it.
const MAX_NAME_CHARS: usize = 63;

/// Names the columns of a query's result; `None` where the planner's names stand, as with `*`.
///
/// Equal columns get a number, in the tree as well, because the planner takes no two columns of one name.
pub(super) fn name_columns(statement: &mut Statement) -> Option<Vec<String>> {
    let Statement::Query(query) = statement else { return None };
    let sorted_by = sorted_by(query);
    let select = leftmost_select(query)?;
    let wanted = select.iter().map(|item| match item {
        SelectItem::UnnamedExpr(expr) => Some((name_of(expr), false)),
        SelectItem::ExprWithAlias { alias, .. } => Some((folded(alias), true)),
        _ => None,
    });
    let wanted: Vec<(String, bool)> = wanted.collect::<Option<_>>()?;
    let mut numbered = Numbered::beside(wanted.iter().map(|(name, _)| name.clone()));
    let mut names = Vec::new();
    for (at, (item, (wanted, is_alias))) in select.iter_mut().zip(wanted).enumerate() {
        let name = numbered.next(&wanted);
        // The planner finds a column that is sorted by position by its name, and rules of ours change expressions after it was named.
        // A name in ORDER BY is that of an output column first, also where nobody wrote it: `SELECT a::text … ORDER BY a`.
        let sorted = sorted_by.contains(&Key::Position(at + 1)) || sorted_by.contains(&Key::Name(wanted.clone()));
        let needs_name = sorted && matches!(item, SelectItem::UnnamedExpr(expr) if !is_plain(expr));
        if name != wanted || needs_name {
            let expr = match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
                _ => return None,
            };
            if needs_name || is_alias || is_plain(&expr) || names.contains(&wanted) {
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name.clone()) };
            }
        }
        names.push(name);
    }
    Some(names)
}

/// Names the columns that the planner would give one name, though their own differ: it leaves casts and subqueries out of names, and knows some
/// functions by several names.
pub(super) fn name_repeats(statement: &mut Statement, names: &[String]) {
    let Statement::Query(query) = statement else { return };
    let Some(select) = leftmost_select(query) else { return };
    let mut used = HashSet::new();
    for (item, name) in select.iter_mut().zip(names) {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let mut planned = expr.clone();
        let _ = visit_expressions_mut(&mut planned, |expr| {
            while let Expr::Cast { expr: inner, .. } | Expr::Nested(inner) = expr {
                *expr = (**inner).clone();
            }
            match expr {
                Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                    *expr = Expr::Value(Value::Null.with_empty_span())
                }
                Expr::Function(function) => function.name = ObjectName::from(vec![Ident::new("f")]),
                Expr::Position { expr: part, r#in } => *expr = call("f", vec![(**r#in).clone(), (**part).clone()]),
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
        if !used.insert(planned.to_string()) {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name.clone()) };
        }
    }
}

/// What `ORDER BY` names a column by.
#[derive(PartialEq, Eq)]
enum Key {
    /// Its place, from 1.
    Position(usize),
    Name(String),
}

fn sorted_by(query: &Query) -> Vec<Key> {
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_ref().map(|order_by| &order_by.kind) else {
        return Vec::new();
    };
    let key = |key: &OrderByExpr| match &key.expr {
        Expr::Identifier(name) => Some(Key::Name(folded(name))),
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.parse().ok().map(Key::Position),
            _ => None,
        },
        _ => None,
    };
    keys.iter().filter_map(key).collect()
}

fn leftmost_select(query: &mut Query) -> Option<&mut Vec<SelectItem>> {
    let mut body = &mut *query.body;
    loop {
        match body {
            SetExpr::Select(select) => return Some(&mut select.projection),
            SetExpr::Query(query) => body = &mut query.body,
            SetExpr::SetOperation { left, .. } => body = left,
            _ => return None,
        }
    }
}

pub(super) fn is_plain(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

pub(super) fn name_of(expr: &Expr) -> String {
    let name = match expr {
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded).unwrap_or_default(),
        Expr::Nested(inner) => name_of(inner),
        Expr::Function(function) => {
            function.name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default()
        }
        Expr::Cast { expr, data_type, .. } => match &**expr {
            Expr::Value(_) => data_type.to_string().to_lowercase(),
            inner => name_of(inner),
        },
        Expr::Case { .. } => "case".into(),
        Expr::Extract { .. } => "extract".into(),
        Expr::Position { .. } => "position".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Exists { .. } => "exists".into(),
        Expr::Interval(_) => "interval".into(),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(AccessExpr::Subscript(Subscript::Index { index: Expr::Value(key) })) => match &key.value {
                Value::SingleQuotedString(key) => key.clone(),
                _ => name_of(root),
            },
            _ => expr.to_string(),
        },
        Expr::BinaryOp { op: BinaryOperator::Arrow | BinaryOperator::LongArrow, right, .. } => match &**right {
            Expr::Value(key) => match &key.value {
                Value::SingleQuotedString(key) => key.clone(),
                _ => expr.to_string(),
            },
            _ => expr.to_string(),
        },
        other => other.to_string(),
    };
    name.chars().take(MAX_NAME_CHARS).collect()
}

/// An identifier's name: as written in quotes, else in lower case.
pub(super) fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn columns_are_named_as_people_expect() {
        for (sql, names) in [
            ("SELECT count(*), max(a), a.b, \"C\"", vec!["count", "max", "b", "C"]),
            (
                "SELECT attributes['http.route'], attributes->>'k', a::int, '1'::int",
                vec!["http.route", "k", "a", "int"],
            ),
            ("SELECT sum(a)/count(*), CASE WHEN a THEN 1 END", vec!["sum(a) / count(*)", "case"]),
            ("SELECT a, a, count(*), count(b), x AS a", vec!["a", "a_2", "count", "count_2", "a_3"]),
            ("SELECT a UNION ALL SELECT b", vec!["a"]),
        ] {
            let mut statement =
                Parser::parse_sql(&crate::engine::grammar::Grammar::for_tokens(100), sql).expect("parses").remove(0);
            assert_eq!(name_columns(&mut statement).expect("names"), names, "{sql}");
        }
    }
}
