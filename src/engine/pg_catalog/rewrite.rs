//! Clients' catalogue queries, brought into what DataFusion plans.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, CastKind, DataType, Expr, FunctionArguments, SetExpr, Statement, Value,
    visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

/// Names of types and functions without the `pg_` that all others have.
const CATALOG_WORDS: &[&str] =
    &["regclass", "regtype", "regproc", "regprocedure", "regnamespace", "regrole", "regoper"];

static PARSER: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);

/// Parses a statement that asks about the catalogue; `None` for every other, and where the usual parser must say what is wrong.
pub(in crate::engine) fn parse(text: &str, tokens: &[TokenWithSpan]) -> Option<Statement> {
    if !tokens.iter().any(|token| is_catalog_word(&token.token)) {
        return None;
    }
    let mut statements = PARSER.parse(text).ok()?;
    match (statements.pop(), statements.is_empty()) {
        (Some(mut statement), true) => {
            empty_arrays(&mut statement);
            empty_subqueries(&mut statement);
            backslash_escapes(&mut statement);
            Some(statement)
        }
        _ => None,
    }
}

/// Puts empty arrays for `ARRAY(SELECT …)`, which DataFusion does not plan: what catalogue queries collect that way (members of
/// roles, options, policies) does not exist here.
fn empty_arrays(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Function(function) = expr
            && matches!(function.args, FunctionArguments::Subquery(_))
            && function.name.to_string().eq_ignore_ascii_case("array")
        {
            *expr = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(Expr::Array(Array { elem: Vec::new(), named: true })),
                data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)),
                array: false,
                format: None,
            };
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Tables that are empty here: no column has a default or counts up.
const EMPTY_TABLES: [&str; 2] = ["pg_sequence", "pg_attrdef"];

/// Puts NULL for subqueries that read empty tables, with functions that no other query needs.
fn empty_subqueries(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Subquery(query) = expr
            && let SetExpr::Select(select) = query.body.as_ref()
            && select.from.iter().any(|from| EMPTY_TABLES.iter().any(|table| from.relation.to_string().contains(table)))
        {
            *expr = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(Expr::Value(Value::Null.with_empty_span())),
                data_type: DataType::Text,
                array: false,
                format: None,
            };
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Turns `LIKE … ESCAPE '/'` into the backslash that DataFusion knows alone.
fn backslash_escapes(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } = expr
            && let Some(escape) = escape_char.as_ref().map(|value| value.to_string()).filter(|text| text.len() == 3)
        {
            let replaced = format!(r"replace({pattern}, {escape}, '\')");
            let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&replaced).and_then(|mut p| p.parse_expr());
            if let Ok(parsed) = parsed {
                **pattern = parsed;
                *escape_char = None;
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

fn is_catalog_word(token: &Token) -> bool {
    let Token::Word(word) = token else { return false };
    let name = word.value.to_ascii_lowercase();
    name.starts_with("pg_") || CATALOG_WORDS.contains(&name.as_str())
}
