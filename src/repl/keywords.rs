//! The words of SQL that completion offers and highlighting shows.

/// Words that start a statement.
pub const STATEMENTS: &[&str] =
    &["SELECT", "WITH", "EXPLAIN", "SHOW", "SET", "RESET", "VALUES", "BEGIN", "COMMIT", "ROLLBACK"];

/// All other words that mean something to SQL.
const OTHERS: &[&str] = &[
    "ALL",
    "ANALYZE",
    "AND",
    "ANY",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CROSS",
    "CURRENT",
    "DESC",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXTRACT",
    "FALSE",
    "FETCH",
    "FILTER",
    "FIRST",
    "FOLLOWING",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LAST",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NATURAL",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PRECEDING",
    "RANGE",
    "RECURSIVE",
    "RIGHT",
    "ROW",
    "ROWS",
    "SIMILAR",
    "THEN",
    "TIMESTAMP",
    "TO",
    "TRUE",
    "UNBOUNDED",
    "UNION",
    "UNNEST",
    "USING",
    "VERBOSE",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITHIN",
];

/// Every word, those that start statements first.
pub fn all() -> impl Iterator<Item = &'static str> {
    STATEMENTS.iter().chain(OTHERS).copied()
}

/// Whether a word means something to SQL, in any case.
pub fn is_keyword(word: &str) -> bool {
    all().any(|keyword| keyword.eq_ignore_ascii_case(word))
}
