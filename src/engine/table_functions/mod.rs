//! Functions in FROM that are a query: each call is replaced by the query of its file in `schema/table_functions`, with the arguments in the place of
//! the parameters' names. Those queries may call such functions too.
//!
//! A parameter of `text[]` is a list of attribute keys, one of `boolean` a condition, which may name columns of what it stands beside; all other
//! arguments are constants. What is selected of one function alone is in the order of its query.

mod function;
mod meanings;

use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, GroupByExpr, Ident, ObjectName, Query, SelectItem, SetExpr, Statement, TableFactor,
    TableWithJoins, Visit, VisitMut, VisitorMut, visit_expressions,
};

pub(super) use self::function::TableFunction;
use super::catalog::TRACES;
use super::standard::alias_of;
use crate::error::{Error, Kind, Result};

const FILES: &[&str] = &[
    include_str!("../../../schema/table_functions/ancestors_of.sql"),
    include_str!("../../../schema/table_functions/anomalies.sql"),
    include_str!("../../../schema/table_functions/baseline.sql"),
    include_str!("../../../schema/table_functions/bottlenecks.sql"),
    include_str!("../../../schema/table_functions/compare.sql"),
    include_str!("../../../schema/table_functions/critical_path.sql"),
    include_str!("../../../schema/table_functions/critical_path_of_many.sql"),
    include_str!("../../../schema/table_functions/descendants_of.sql"),
    include_str!("../../../schema/table_functions/deviations.sql"),
    include_str!("../../../schema/table_functions/error_propagation.sql"),
    include_str!("../../../schema/table_functions/flamegraph.sql"),
    include_str!("../../../schema/table_functions/forecast.sql"),
    include_str!("../../../schema/table_functions/heatmap.sql"),
    include_str!("../../../schema/table_functions/latency_breakdown.sql"),
    include_str!("../../../schema/table_functions/n_plus_one.sql"),
    include_str!("../../../schema/table_functions/red.sql"),
    include_str!("../../../schema/table_functions/service_calls.sql"),
    include_str!("../../../schema/table_functions/service_map.sql"),
    include_str!("../../../schema/table_functions/service_nodes.sql"),
    include_str!("../../../schema/table_functions/siblings_of.sql"),
    include_str!("../../../schema/table_functions/slow_queries.sql"),
    include_str!("../../../schema/table_functions/span_metrics.sql"),
    include_str!("../../../schema/table_functions/trace_diff.sql"),
    include_str!("../../../schema/table_functions/trace_diff_of_two.sql"),
    include_str!("../../../schema/table_functions/trace_tree.sql"),
    include_str!("../../../schema/table_functions/waterfall.sql"),
];

static FUNCTIONS: LazyLock<Vec<TableFunction>> =
    LazyLock::new(|| FILES.iter().filter_map(|file| TableFunction::read(file)).collect());

/// All functions, in the order of their names.
pub(super) fn all() -> &'static [TableFunction] {
    &FUNCTIONS
}

/// Replaces each call in a statement.
///
/// # Errors
/// [`Kind::BadInput`] for arguments that the function does not take.
pub(super) fn expand(statement: &mut Statement) -> Result<()> {
    expand_in(statement)
}

fn expand_in(node: &mut impl VisitMut) -> Result<()> {
    match node.visit(&mut Calls) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Calls;

impl VisitorMut for Calls {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        order(query);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Error> {
        match replace(table) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn replace(table: &mut TableFactor) -> Result<()> {
    let (name, arguments, alias) = match table {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } => {
            (&*name, args.args.as_slice(), alias)
        }
        TableFactor::Function { name, args, alias, with_ordinality: false, .. } => (&*name, args.as_slice(), alias),
        _ => return Ok(()),
    };
    let Some(name) = name_of(name) else { return Ok(()) };
    let called = functions_called(&name);
    if called.is_empty() {
        return Ok(());
    }
    let mut query = query_of(&called, arguments)?;
    expand_in(&mut query)?;
    let alias = Some(alias.take().unwrap_or_else(|| alias_of(Ident::new(name))));
    *table = TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None };
    Ok(())
}

/// The functions of a name.
fn functions_called(name: &str) -> Vec<&'static TableFunction> {
    FUNCTIONS.iter().filter(|function| function.name == name).collect()
}

/// The query of the function that takes the arguments, of those of one name.
fn query_of(called: &[&TableFunction], arguments: &[FunctionArg]) -> Result<Query> {
    for function in called {
        if let Some(values) = function.values(arguments, called.len() > 1) {
            return function.with_values(values);
        }
    }
    let declared: Vec<String> = called.iter().map(|function| function.declared()).collect();
    let name = called.first().map_or("", |function| &function.name);
    Err(Error::new(Kind::BadInput, format!("function {name} does not take these arguments"))
        .with_sqlstate("42883")
        .with_hint(format!("it is {}", declared.join(" or "))))
}

/// A name without its schema, where that is the one of these functions.
fn name_of(name: &ObjectName) -> Option<String> {
    let idents: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
    match idents?.as_slice() {
        [name] => Some(name.value.to_lowercase()),
        [schema, name] if schema.value.eq_ignore_ascii_case(TRACES) => Some(name.value.to_lowercase()),
        _ => None,
    }
}

/// Gives a query that selects columns of one such function alone, and says nothing of their order, the function's: the planner leaves the order of
/// subqueries out.
fn order(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let [TableWithJoins { relation: TableFactor::Table { name, args: Some(args), .. }, joins }] =
        select.from.as_slice()
    else {
        return;
    };
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(groups, _) if groups.is_empty());
    let is_plain = joins.is_empty() && select.distinct.is_none() && !is_grouped && select.having.is_none();
    if query.order_by.is_some() || !is_plain || !select.projection.iter().all(is_of_row) {
        return;
    }
    let called = name_of(name).map(|name| functions_called(&name)).unwrap_or_default();
    let own = called.iter().find(|function| function.values(&args.args, called.len() > 1).is_some());
    query.order_by = own.and_then(|own| own.query.order_by.clone());
}

/// Whether an item is of each row by itself: a call may be one of an aggregate.
fn is_of_row(item: &SelectItem) -> bool {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return true };
    !has(expr, |expr| matches!(expr, Expr::Function(_)))
}

/// Whether an expression has one in it that `is` says yes to.
fn has(node: &impl Visit, is: impl Fn(&Expr) -> bool) -> bool {
    visit_expressions(node, |expr| if is(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }).is_break()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::engine::grammar::Grammar;

    fn expanded(sql: &str) -> Result<String> {
        let mut statements = Parser::parse_sql(&Grammar::for_tokens(100), sql).expect("parses");
        expand(&mut statements[0])?;
        Ok(statements[0].to_string())
    }

    #[test]
    fn every_file_is_a_function_with_its_purpose() {
        assert_eq!(FUNCTIONS.len(), FILES.len());
        assert!(FUNCTIONS.is_sorted_by(|one, next| one.name <= next.name));
        assert!(FUNCTIONS.iter().all(|function| function.purpose.ends_with('.')));
    }

    #[test]
    fn keys_become_columns() {
        let sql = expanded("SELECT * FROM traces.red('1 hour', ARRAY['a.b', 'c''d']) AS r").expect("expanded");
        for part in [
            "span_kind, \"a.b\", \"c'd\", CASE WHEN (false)",
            "coalesce(attributes ->> 'a.b', resource_attributes ->> 'a.b') AS \"a.b\"",
            "coalesce(attributes ->> 'c''d', resource_attributes ->> 'c''d') AS \"c'd\"",
            "bucket_width((INTERVAL '1 hour'))",
            "GROUP BY time, service_name, span_name, span_kind, \"a.b\", \"c'd\"",
            ") AS r",
        ] {
            assert!(sql.contains(part), "{part} in {sql}");
        }
        let plain = expanded("SELECT * FROM red()").expect("expanded");
        assert!(!plain.contains("dimensions") && plain.ends_with(") AS red"), "{plain}");
        for same in ["red(dimensions => '{}')", "RED('5 minutes')", "traces.red(width => '5 minutes')"] {
            assert_eq!(expanded(&format!("SELECT * FROM {same}")).expect("expanded"), plain);
        }
        for other in ["SELECT * FROM red", "SELECT * FROM other.red()", "SELECT red(1)"] {
            assert_eq!(expanded(other).expect("expanded"), other);
        }
    }

    #[test]
    fn a_condition_may_name_columns() {
        let sql = expanded("SELECT * FROM flamegraph(duration_ms > 5 OR depth = 0) f").expect("expanded");
        assert!(sql.contains("WHERE (duration_ms > 5 OR depth = 0)"), "{sql}");
    }

    #[test]
    fn what_is_selected_of_one_function_has_its_order() {
        for (query, ordered) in [
            ("SELECT span FROM trace_tree('a')", true),
            ("SELECT * FROM traces.trace_tree('a') AS t WHERE depth > 1", true),
            ("SELECT span FROM trace_tree('a') ORDER BY span", false),
            ("SELECT * FROM critical_path('a')", false),
            ("SELECT * FROM critical_path(depth = 0)", false),
            ("SELECT count(*) FROM trace_tree('a')", false),
            ("SELECT DISTINCT span FROM trace_tree('a')", false),
            ("SELECT depth FROM trace_tree('a') GROUP BY depth", false),
            ("SELECT 1 FROM trace_tree('a'), spans", false),
        ] {
            let sql = expanded(query).expect("expanded");
            assert_eq!(sql.ends_with(" ORDER BY nset_left"), ordered, "{sql}");
        }
        for (call, order) in [("'a'", "from_ms, depth"), ("depth = 0", "critical_ms DESC, service_name, span_name")] {
            let sql = expanded(&format!("SELECT * FROM critical_path({call})")).expect("expanded");
            assert!(sql.ends_with(&format!(" ORDER BY {order}")), "{sql}");
        }
    }

    #[test]
    fn arguments_that_are_not_taken_are_told() {
        for (call, sqlstate) in [
            ("red('1 hour', '{}', true, 3)", "42883"),
            ("red(interval => '1 hour')", "42883"),
            ("red(*)", "42883"),
            ("red(width)", "0A000"),
            ("red('1 hour', ARRAY[1])", "22023"),
            ("red('1 hour', $1)", "22023"),
            ("red('1 hour', '{a,a}')", "22023"),
            ("red('1 hour', '{time}')", "22023"),
            ("red('1 hour', '{\"\"}')", "22023"),
        ] {
            let error = expanded(&format!("SELECT * FROM {call}")).expect_err(call);
            assert_eq!(error.sqlstate(), sqlstate, "{call}: {error}");
        }
    }
}
