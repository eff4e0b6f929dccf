//! Queries over relations that are always empty: what they compute of no rows need not be planned.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, GroupByExpr, Ident, JoinOperator, ObjectNamePart, Query, Select, SelectItem,
    SetExpr, Statement, TableFactor, TableWithJoins, Value, Visit, VisitMut, Visitor, VisitorMut, visit_expressions,
};

use super::null_of;
use crate::engine::names::name_of;
use crate::engine::pg_catalog::empty;

/// Aggregates, which give a row of no rows.
const AGGREGATES: [&str; 10] =
    ["array_agg", "avg", "bool_and", "bool_or", "count", "json_agg", "max", "min", "string_agg", "sum"];

/// Puts `SELECT NULL, … WHERE false` for each select that joins with an empty relation and calls functions: many of those are for
/// keys and indexes alone, with forms that do not plan here.
pub(super) fn cut(statement: &mut Statement) {
    let _ = statement.visit(&mut Cut);
}

struct Cut;

impl VisitorMut for Cut {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if cut_body(&mut query.body) {
            query.order_by = None;
        }
        ControlFlow::Continue(())
    }
}

/// Cuts the selects of a body; returns whether the body was one select and was cut.
fn cut_body(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => cut_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            cut_body(left);
            cut_body(right);
            false
        }
        _ => false,
    }
}

fn cut_select(select: &mut Select) -> bool {
    if !select.from.iter().any(gives_no_rows) || !needs_cut(select) {
        return false;
    }
    let Some(projection) = null_items(&select.projection) else { return false };
    let selection = never_with(parameters(select));
    select.projection = projection;
    select.distinct = None;
    select.from.clear();
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    select.having = None;
    select.selection = Some(selection);
    true
}

/// The parameters in a select, which clients bind whether they decide anything or not.
fn parameters(select: &Select) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let _ = visit_expressions(select, |expr| {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(name) = &value.value
        {
            found.insert(name.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    found
}

/// `false`, and something about each parameter.
fn never_with(parameters: BTreeSet<String>) -> Expr {
    parameters.into_iter().fold(never(), |so_far, name| {
        let parameter = Expr::Value(Value::Placeholder(name).with_empty_span());
        let right = Box::new(Expr::IsNull(Box::new(parameter)));
        Expr::BinaryOp { left: Box::new(so_far), op: BinaryOperator::And, right }
    })
}

fn is_never(selection: &Expr) -> bool {
    match selection {
        Expr::BinaryOp { left, op: BinaryOperator::And, .. } => is_never(left),
        other => *other == never(),
    }
}

fn never() -> Expr {
    Expr::Value(Value::Boolean(false).with_empty_span())
}

/// The same columns without values, each under a name of its own; `None` for all columns of a relation, whose names only the
/// planner knows.
fn null_items(items: &[SelectItem]) -> Option<Vec<SelectItem>> {
    let mut names: Vec<String> = Vec::new();
    let mut nulls = Vec::new();
    for item in items {
        let mut alias = match item {
            SelectItem::UnnamedExpr(expr) => Ident::with_quote('"', name_of(expr)),
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            _ => return None,
        };
        if names.contains(&alias.value) {
            alias.value = format!("{}_{}", alias.value, names.len() + 1);
        }
        names.push(alias.value.clone());
        nulls.push(SelectItem::ExprWithAlias { expr: null_of(DataType::Text), alias });
    }
    Some(nulls)
}

/// Whether an inner join in it has no rows.
fn gives_no_rows(from: &TableWithJoins) -> bool {
    // A right or full join gives rows of its other side.
    let inner = |operator: &JoinOperator| {
        matches!(operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_))
    };
    let keeps_left = from.joins.iter().all(|join| {
        inner(&join.join_operator) || matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_))
    });
    keeps_left
        && (is_empty(&from.relation)
            || from.joins.iter().any(|join| inner(&join.join_operator) && is_empty(&join.relation)))
}

fn is_empty(table: &TableFactor) -> bool {
    match table {
        TableFactor::Table { name, args: None, .. } => match name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => empty::is_empty(&name.value.to_ascii_lowercase()),
            [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(name)] => {
                schema.value.eq_ignore_ascii_case("pg_catalog") && empty::is_empty(&name.value.to_ascii_lowercase())
            }
            _ => false,
        },
        TableFactor::Derived { subquery, .. } => matches!(
            subquery.body.as_ref(),
            SetExpr::Select(select) if select.from.is_empty() && select.selection.as_ref().is_some_and(is_never)
        ),
        TableFactor::NestedJoin { table_with_joins, .. } => gives_no_rows(table_with_joins),
        _ => false,
    }
}

/// Whether it has more than columns and comparisons, or reads a query that was cut, and gives no row without rows.
fn needs_cut(select: &Select) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let mut forms = Forms::default();
    let _ = select.visit(&mut forms);
    let nulls = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::UnnamedExpr(Expr::Value(value)) if value.value == Value::Null));
    let from = select.from.iter().any(|from| calls_functions(from) || reads_cut(from));
    (forms.calls || from || nulls) && (grouped || !forms.aggregates)
}

/// What the expressions of a select have.
#[derive(Default)]
struct Forms {
    /// How many queries are around what is visited.
    depth: usize,
    calls: bool,
    /// Aggregates of the select itself.
    aggregates: bool,
}

impl Visitor for Forms {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => {
                self.calls = true;
                let name = function.name.to_string().to_ascii_lowercase();
                let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
                self.aggregates |= self.depth == 0 && AGGREGATES.contains(&name);
            }
            Expr::Subquery(_) | Expr::AnyOp { .. } | Expr::AllOp { .. } | Expr::CompoundFieldAccess { .. } => {
                self.calls = true;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Whether it reads a query that was cut, whose columns have lost their types.
fn reads_cut(from: &TableWithJoins) -> bool {
    let cut = |table: &TableFactor| matches!(table, TableFactor::Derived { .. }) && is_empty(table);
    cut(&from.relation) || from.joins.iter().any(|join| cut(&join.relation))
}

fn calls_functions(from: &TableWithJoins) -> bool {
    let calls = |table: &TableFactor| {
        matches!(
            table,
            TableFactor::Table { args: Some(_), .. } | TableFactor::Function { .. } | TableFactor::UNNEST { .. }
        )
    };
    calls(&from.relation) || from.joins.iter().any(|join| calls(&join.relation))
}
