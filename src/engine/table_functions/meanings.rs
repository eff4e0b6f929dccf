//! What stands for each parameter in a function's query, and puts it there.
//!
//! A parameter that is a list of attribute keys makes of an item of a SELECT that has its name in it an item for each key, with the key for a name,
//! and of the bare name the columns of these names.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, Query, Select, SelectItem, Value, ValueWithSpan, VisitorMut, visit_expressions,
    visit_expressions_mut,
};

/// What stands for a parameter.
pub(super) enum Meaning {
    Value(Box<Expr>),
    Keys(Vec<String>),
}

/// What stands for each parameter of a function.
#[derive(Default)]
pub(super) struct Meanings<'a>(Vec<(&'a str, Meaning)>);

impl<'a> Meanings<'a> {
    pub(super) fn add(&mut self, parameter: &'a str, meaning: Meaning) {
        self.0.push((parameter, meaning));
    }

    /// The values, each with how often a query has it.
    pub(super) fn uses(&self, query: &Query) -> impl Iterator<Item = (&Expr, usize)> {
        let mut times = vec![0; self.0.len()];
        let _ = visit_expressions(query, |expr| {
            if let Some(at) = self.place(expr) {
                times[at] += 1;
            }
            ControlFlow::<()>::Continue(())
        });
        self.0.iter().zip(times).filter_map(|((_, meaning), times)| match meaning {
            Meaning::Value(value) => Some((value.as_ref(), times)),
            Meaning::Keys(_) => None,
        })
    }

    fn place(&self, expr: &Expr) -> Option<usize> {
        let Expr::Identifier(name) = expr else { return None };
        self.0.iter().position(|(known, _)| *known == name.value)
    }

    fn of(&self, expr: &Expr) -> Option<&Meaning> {
        self.place(expr).map(|at| &self.0[at].1)
    }

    /// The keys that an expression has in it, if any.
    fn keys_in(&self, expr: &Expr) -> Option<&[String]> {
        let found = visit_expressions(expr, |expr| match self.of(expr) {
            Some(Meaning::Keys(keys)) => ControlFlow::Break(keys.as_slice()),
            _ => ControlFlow::Continue(()),
        });
        found.break_value()
    }

    fn items(&self, item: SelectItem) -> Vec<SelectItem> {
        let SelectItem::UnnamedExpr(expr) = &item else { return vec![item] };
        let Some(keys) = self.keys_in(expr) else { return vec![item] };
        if matches!(expr, Expr::Identifier(_)) {
            return keys.iter().map(|key| SelectItem::UnnamedExpr(column(key))).collect();
        }
        let of_key = |key: &String| SelectItem::ExprWithAlias { expr: self.for_key(expr, key), alias: quoted(key) };
        keys.iter().map(of_key).collect()
    }

    /// The expression with a key in the place of the list.
    fn for_key(&self, expr: &Expr, key: &str) -> Expr {
        let mut expr = expr.clone();
        let _ = visit_expressions_mut(&mut expr, |expr| {
            if let Some(Meaning::Keys(_)) = self.of(expr) {
                *expr = Expr::Value(ValueWithSpan::from(Value::SingleQuotedString(key.to_owned())));
            }
            ControlFlow::<()>::Continue(())
        });
        expr
    }
}

impl VisitorMut for Meanings<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let items = std::mem::take(&mut select.projection);
        select.projection = items.into_iter().flat_map(|item| self.items(item)).collect();
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            let grouped = std::mem::take(exprs).into_iter().flat_map(|expr| match self.keys_in(&expr) {
                Some(keys) => keys.iter().map(|key| column(key)).collect(),
                None => vec![expr],
            });
            *exprs = grouped.collect();
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(Meaning::Value(value)) = self.of(expr) {
            *expr = Expr::Nested(value.clone());
        }
        ControlFlow::Continue(())
    }
}

fn column(name: &str) -> Expr {
    Expr::Identifier(quoted(name))
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}
