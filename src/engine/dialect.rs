//! Spellings from ClickHouse and Timescale become what the planner knows, in the syntax tree.
//!
//! | written | means |
//! |---|---|
//! | `f(0.95)(x)` | `f(x, 0.95)` |
//! | `countIf(c)`, `sumIf(x, c)`, `quantileIf(0.9)(x, c)`, … | `f(x) FILTER (WHERE c)` |
//! | `uniq(x)`, `uniqExact(x)` | `count(DISTINCT x)` |
//! | `any(x)` | `first_value(x)` |
//! | `time_bucket('5 minutes', t)` | `date_bin(INTERVAL '5 minutes', t)` |
//! | `current_user`, `user`, `current_catalog`, … | calls with parentheses |
//! | `localtimestamp` | `CAST(now() AS TIMESTAMP)` |

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, Interval, ObjectName, ObjectNamePart, Statement, TimezoneInfo, Value,
    visit_expressions_mut,
};

use super::standard::call;

/// Aggregates that take ClickHouse's `…If` ending.
const WITH_IF: &[&str] =
    &["any", "avg", "count", "max", "min", "quantile", "quantileexact", "quantiles", "sum", "uniq", "uniqexact"];

/// Rewrites a statement in place.
pub(super) fn rewrite(statement: &mut Statement) {
    let done = visit_expressions_mut(statement, |expr| {
        if let Expr::Function(function) = expr {
            rewrite_function(function);
        }
        ControlFlow::<()>::Continue(())
    });
    debug_assert!(done.is_continue());
}

/// PostgreSQL's functions that are called without parentheses, and what stands for them.
const BARE_CALLS: &[(&str, &str)] = &[
    ("current_catalog", "current_database"),
    ("current_role", "current_user"),
    ("current_schema", "current_schema"),
    ("current_user", "current_user"),
    ("session_user", "session_user"),
    ("user", "current_user"),
];

/// Gives PostgreSQL's bare words for the session and the local time their calls.
pub(super) fn call_bare_words(statement: &mut Statement) {
    let done = visit_expressions_mut(statement, |expr| {
        let word = match &*expr {
            Expr::Identifier(word) if word.quote_style.is_none() => word.value.to_lowercase(),
            Expr::Function(function) if matches!(function.args, FunctionArguments::None) => {
                function.name.to_string().to_lowercase()
            }
            _ => return ControlFlow::<()>::Continue(()),
        };
        if word == "localtimestamp" {
            *expr = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(call("now", Vec::new())),
                data_type: DataType::Timestamp(None, TimezoneInfo::None),
                array: false,
                format: None,
            };
        } else if let Some((_, name)) = BARE_CALLS.iter().find(|(bare, _)| *bare == word) {
            *expr = call(name, Vec::new());
        }
        ControlFlow::Continue(())
    });
    debug_assert!(done.is_continue());
}

fn rewrite_function(function: &mut Function) {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return };
    let mut name = name.value.to_lowercase();
    move_parameters(function);
    if let Some(base) = name.strip_suffix("if").filter(|base| WITH_IF.contains(base)) {
        let Some(condition) = pop_argument(function) else { return };
        function.filter = Some(Box::new(condition));
        name = base.to_string();
        rename(function, &name);
    }
    match name.as_str() {
        "uniq" | "uniqexact" => {
            if let FunctionArguments::List(list) = &mut function.args {
                list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
                rename(function, "count");
            }
        }
        "any" => rename(function, "first_value"),
        "time_bucket" => {
            rename(function, "date_bin");
            if let FunctionArguments::List(list) = &mut function.args
                && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(width))) = list.args.first_mut()
                && matches!(width, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
            {
                *width = Expr::Interval(Interval {
                    value: Box::new(width.clone()),
                    leading_field: None,
                    leading_precision: None,
                    last_field: None,
                    fractional_seconds_precision: None,
                });
            }
        }
        _ => {}
    }
}

/// `f(parameters)(arguments)` becomes `f(arguments, parameters)`.
fn move_parameters(function: &mut Function) {
    if let FunctionArguments::List(parameters) = &mut function.parameters
        && let FunctionArguments::List(FunctionArgumentList { args, .. }) = &mut function.args
    {
        args.append(&mut parameters.args);
        function.parameters = FunctionArguments::None;
    }
}

/// Takes the condition off the arguments: the last one, before the levels that were moved behind it.
fn pop_argument(function: &mut Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &mut function.args else { return None };
    let levels = list.args.iter().rev().take_while(|arg| is_number(arg)).count();
    let at = list.args.len().checked_sub(levels + 1)?;
    match list.args.remove(at) {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(condition)) => Some(condition),
        other => {
            list.args.insert(at, other);
            None
        }
    }
}

fn is_number(arg: &FunctionArg) -> bool {
    matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) if matches!(value.value, Value::Number(..)))
}

fn rename(function: &mut Function, name: &str) {
    function.name = ObjectName::from(vec![Ident::new(name)]);
    // `count()` of all rows is written with a star.
    if name == "count"
        && let FunctionArguments::List(list) = &mut function.args
        && list.args.is_empty()
    {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn clickhouse_spellings_become_plain_calls() {
        for (written, meant) in [
            ("SELECT quantile(0.95)(x)", "SELECT quantile(x, 0.95)"),
            ("SELECT quantiles(0.5, 0.9)(x) FILTER (WHERE a)", "SELECT quantiles(x, 0.5, 0.9) FILTER (WHERE a)"),
            ("SELECT countIf(a > 1)", "SELECT count(*) FILTER (WHERE a > 1)"),
            ("SELECT quantileIf(0.9)(x, a > 1)", "SELECT quantile(x, 0.9) FILTER (WHERE a > 1)"),
            ("SELECT sumIf(x, y)", "SELECT sum(x) FILTER (WHERE y)"),
            ("SELECT uniq(x)", "SELECT count(DISTINCT x)"),
            ("SELECT time_bucket('5 minutes', t)", "SELECT date_bin(INTERVAL '5 minutes', t)"),
            ("SELECT nullif(a, b)", "SELECT nullif(a, b)"),
        ] {
            let mut statements = Parser::parse_sql(&GenericDialect {}, written).expect("parses");
            rewrite(&mut statements[0]);
            assert_eq!(statements[0].to_string(), meant);
        }
    }
}
