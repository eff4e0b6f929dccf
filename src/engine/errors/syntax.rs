//! What is advised where the parser found something else than it expected.

use crate::typed::nearest;

/// Words that begin a clause, in the order in which clauses stand.
const CLAUSES: [&str; 7] = ["FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET"];
/// Words that begin a statement.
const STATEMENTS: [&str; 7] = ["SELECT", "WITH", "EXPLAIN", "SHOW", "SET", "COPY", "VALUES"];

/// The advice for what was expected, and what stands in its place.
pub(in crate::engine) fn advice(expected: &str, found: &str) -> String {
    let found = found.to_uppercase();
    let is_clause = CLAUSES.contains(&found.as_str());
    match expected {
        "end of statement" if is_clause => {
            "clauses stand in this order: SELECT, FROM, WHERE, GROUP BY, HAVING, ORDER BY, LIMIT".to_owned()
        }
        "end of statement" if STATEMENTS.contains(&found.as_str()) => {
            "a semicolon stands between two statements".to_owned()
        }
        "an expression" if is_clause => format!("expected an expression, or no comma before {found}"),
        "an SQL statement" => match nearest(&found, STATEMENTS.into_iter()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "expected an SQL statement, such as SELECT * FROM spans LIMIT 10".to_owned(),
        },
        expected => format!("expected {expected}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_for_what_was_likely_meant() {
        for (expected, found, advised) in [
            ("an SQL statement", "SELEC", "did you mean SELECT?"),
            ("an SQL statement", "{", "expected an SQL statement, such as SELECT * FROM spans LIMIT 10"),
            ("an expression", "from", "expected an expression, or no comma before FROM"),
            ("an expression", ")", "expected an expression"),
            ("end of statement", "select", "a semicolon stands between two statements"),
        ] {
            assert_eq!(advice(expected, found), advised);
        }
    }
}
