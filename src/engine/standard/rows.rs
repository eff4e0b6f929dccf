//! Rows and subqueries as values: `(a, b) IN (SELECT …)`, `ARRAY (SELECT …)`, `LIKE … ESCAPE`.

use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, Expr, FunctionArgumentClause, FunctionArguments, GroupByExpr, Ident, OrderByKind, Query,
    Select, SelectItem, SetExpr, Statement, TableAlias, TableAliasColumnDef, TableFactor, Value, ValueWithSpan,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::{call, take};
use crate::engine::inner_names::name_columns_of;

/// Rewrites a value in place.
pub(super) fn rewrite(expr: &mut Expr) {
    let made = match expr {
        Expr::InSubquery { expr: row, subquery, negated } => match row.as_ref() {
            Expr::Tuple(values) => found(values, subquery, *negated),
            _ => None,
        },
        Expr::Function(function) => match &function.args {
            FunctionArguments::Subquery(query) if function.name.to_string().eq_ignore_ascii_case("array") => {
                collected(query)
            }
            _ => None,
        },
        Expr::Collate { expr, collation } => {
            let collation = collation.to_string().trim_matches('"').to_lowercase();
            matches!(collation.as_str(), "c" | "posix" | "default" | "ucs_basic").then(|| take(expr))
        }
        Expr::Like { pattern, escape_char, .. } => {
            if let Some(escaped) = escape_char.as_ref().and_then(|escape| with_backslashes(pattern, &escape.value)) {
                **pattern = escaped;
                *escape_char = None;
            }
            None
        }
        _ => None,
    };
    if let Some(made) = made {
        *expr = made;
    }
}

/// A pattern with a backslash for its escape character.
fn with_backslashes(pattern: &Expr, escape: &Value) -> Option<Expr> {
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(pattern), span }) = pattern else { return None };
    let Value::SingleQuotedString(escape) = escape else { return None };
    let mut escaped = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            char if escape.chars().eq([char]) => {
                escaped.push('\\');
                escaped.extend(chars.next());
            }
            '\\' => escaped.push_str("\\\\"),
            char => escaped.push(char),
        }
    }
    Some(Expr::Value(Value::SingleQuotedString(escaped).with_span(*span)))
}

/// The rows that a row is looked for among: where such a row may be open, the rule for subqueries knows it by this name.
pub(in crate::engine) const FOUND_ROW: &str = "found_row";

/// `EXISTS (SELECT 1 FROM (query) AS found_row (…) WHERE found_row.… = a AND …)`.
fn found(values: &[Expr], query: &Query, negated: bool) -> Option<Expr> {
    let table = Ident::new(FOUND_ROW);
    let columns: Vec<Ident> = (1..=values.len()).map(|at| Ident::new(format!("found_{at}"))).collect();
    let equal = |(value, column): (&Expr, &Ident)| Expr::BinaryOp {
        left: Box::new(Expr::CompoundIdentifier(vec![table.clone(), column.clone()])),
        op: BinaryOperator::Eq,
        right: Box::new(value.clone()),
    };
    let condition = values.iter().zip(&columns).map(equal).reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    })?;
    let mut outer = over(query, table, columns)?;
    select_of(&mut outer)?.selection = Some(condition);
    Some(Expr::Exists { subquery: Box::new(outer), negated })
}

/// `(SELECT coalesce(array_agg(x), '{}') FROM …)`, in the query's order.
fn collected(query: &Query) -> Option<Expr> {
    let mut outer = match plain(query) {
        Some(plain) => plain,
        None => over(query, Ident::new("collected"), vec![Ident::new("element")])?,
    };
    let order_by = outer.order_by.take();
    let select = select_of(&mut outer)?;
    let element = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] => match expr {
            Expr::Value(ValueWithSpan { value: Value::Number(one, _), .. }) if one == "1" && plain(query).is_none() => {
                Expr::Identifier(Ident::new("element"))
            }
            expr => expr.clone(),
        },
        _ => return None,
    };
    let mut aggregate = call("array_agg", vec![element]);
    if let (Expr::Function(function), Some(order_by)) = (&mut aggregate, order_by)
        && let (FunctionArguments::List(list), OrderByKind::Expressions(keys)) = (&mut function.args, order_by.kind)
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(keys));
    }
    let none = Expr::Array(Array { elem: Vec::new(), named: true });
    select.projection = vec![SelectItem::UnnamedExpr(call("coalesce", vec![aggregate, none]))];
    Some(Expr::Subquery(Box::new(outer)))
}

/// The query, if each row of its FROM and WHERE is one of its own, so that an aggregate may stand for its column.
fn plain(query: &Query) -> Option<Query> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let is_plain = query.limit_clause.is_none() && query.fetch.is_none() && select.distinct.is_none();
    let groups =
        select.having.is_some() || !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let calls = select.projection.iter().any(|item| item.to_string().contains('('));
    (is_plain && !groups && !calls).then(|| query.clone())
}

/// `SELECT 1 FROM (query) AS table (columns)`.
fn over(query: &Query, table: Ident, columns: Vec<Ident>) -> Option<Query> {
    let Some(Statement::Query(mut outer)) =
        Parser::parse_sql(&GenericDialect {}, "SELECT 1 FROM (SELECT 1) AS t").ok()?.pop()
    else {
        return None;
    };
    let factor = &mut select_of(&mut outer)?.from.first_mut()?.relation;
    let columns = columns.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect();
    let alias = Some(TableAlias { explicit: true, name: table, columns, at: None });
    let mut inner = query.clone();
    name_columns_of(&mut inner);
    *factor = TableFactor::Derived { lateral: false, subquery: Box::new(inner), alias, sample: None };
    Some(*outer)
}

fn select_of(query: &mut Query) -> Option<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}
