//! Clients' catalogue queries, brought into what DataFusion plans.

use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::Statement;
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
        (Some(statement), true) => Some(statement),
        _ => None,
    }
}

fn is_catalog_word(token: &Token) -> bool {
    let Token::Word(word) = token else { return false };
    let name = word.value.to_ascii_lowercase();
    name.starts_with("pg_") || CATALOG_WORDS.contains(&name.as_str())
}
