//! Sizes of relations and of the database, out of the store's own figures.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Statement, Value, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

const RELATION: &str = include_str!("../../../../schema/pg_catalog/relation_size.sql");
const DATABASE: &str = include_str!("../../../../schema/pg_catalog/database_size.sql");

/// Puts the question of the store's files for calls that ask for a size.
pub(super) fn measure(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Function(function) = expr
            && let Some(sql) = asked(&function.name.to_string())
            && let FunctionArguments::List(arguments) = &function.args
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) = arguments.args.first()
            && let Some(size) = question(sql, argument)
        {
            *expr = size;
        }
        ControlFlow::<()>::Continue(())
    });
}

fn asked(function: &str) -> Option<&'static str> {
    let name = function.to_ascii_lowercase();
    match name.strip_prefix("pg_catalog.").unwrap_or(&name) {
        "pg_database_size" => Some(DATABASE),
        "pg_relation_size" | "pg_table_size" | "pg_total_relation_size" => Some(RELATION),
        _ => None,
    }
}

fn question(sql: &str, argument: &Expr) -> Option<Expr> {
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).and_then(|mut parser| parser.parse_expr());
    let mut size = parsed.ok()?;
    let _ = visit_expressions_mut(&mut size, |expr| {
        if matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_))) {
            *expr = argument.clone();
        }
        ControlFlow::<()>::Continue(())
    });
    Some(Expr::Nested(Box::new(size)))
}
