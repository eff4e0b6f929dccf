//! Read-only: which statements may run at all.

use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, Kind, Result};

/// Words that begin statements which change something or touch files; they are refused even when their syntax is not known here.
const REFUSED_FIRST_WORDS: &[&str] = &[
    "alter",
    "analyze",
    "attach",
    "call",
    "checkpoint",
    "cluster",
    "comment",
    "copy",
    "create",
    "delete",
    "detach",
    "do",
    "drop",
    "export",
    "grant",
    "import",
    "insert",
    "install",
    "load",
    "lock",
    "merge",
    "msck",
    "optimize",
    "pragma",
    "reassign",
    "refresh",
    "reindex",
    "replace",
    "revoke",
    "security",
    "truncate",
    "unload",
    "update",
    "vacuum",
];

/// Words that begin what a session of the Postgres wire keeps, and is done there before it comes here; and what to do without it.
const OF_THE_WIRE: &[(&str, &str)] = &[
    ("prepare", "run the statement itself"),
    ("execute", "run the statement itself"),
    ("deallocate", "nothing is prepared here"),
    ("declare", "run the query itself: its rows are shown as they come"),
    ("fetch", "run the query itself: its rows are shown as they come"),
    ("move", "run the query itself: its rows are shown as they come"),
    ("close", "no cursor is open here"),
    ("listen", "nothing is notified here"),
    ("unlisten", "nothing is notified here"),
];

/// Refuses a statement that begins with a word of writing, or of the wire.
pub(super) fn check_first_word(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut words = tokens.iter().filter_map(|token| match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        _ => None,
    });
    check_wire(&words.clone().collect::<Vec<_>>())?;
    // The statement that EXPLAIN or PREPARE would run is what counts.
    let first = words.by_ref().find(|word| !matches!(word.as_str(), "explain" | "verbose"));
    match first {
        Some(word) if REFUSED_FIRST_WORDS.contains(&word.as_str()) && !is_explain_analyze(tokens, &word) => {
            Err(read_only(&word))
        }
        Some(word) if word == "analyze" => words
            .next()
            .filter(|word| REFUSED_FIRST_WORDS.contains(&word.as_str()))
            .map_or(Ok(()), |word| Err(read_only(&word))),
        _ => Ok(()),
    }
}

/// Refuses what clients of the wire are served with before a statement comes here.
fn check_wire(words: &[String]) -> Result<()> {
    let Some(first) = words.first() else { return Ok(()) };
    let of_the_wire = |what: String, hint: &'static str| {
        let message = format!("{what} is for clients of the Postgres wire; here each statement stands by itself");
        Err(Error::new(Kind::BadInput, message).with_sqlstate("0A000").with_hint(hint))
    };
    if let Some((_, hint)) = OF_THE_WIRE.iter().find(|(word, _)| word == first) {
        return of_the_wire(first.to_uppercase(), hint);
    }
    if first == "copy" && words.windows(2).any(|pair| pair == ["to", "stdout"]) {
        let hint = "run the query itself and choose a format, such as --format csv, or \\format csv in the shell";
        return of_the_wire("COPY … TO STDOUT".to_owned(), hint);
    }
    Ok(())
}

fn is_explain_analyze(tokens: &[TokenWithSpan], word: &str) -> bool {
    word == "analyze"
        && matches!(tokens.iter().find_map(|t| match &t.token { Token::Word(w) => Some(w), _ => None }), Some(w) if w.value.eq_ignore_ascii_case("explain"))
}

/// Refuses whatever is not a read, also inside EXPLAIN.
pub(super) fn check_statement(statement: &Statement) -> Result<()> {
    match statement {
        Statement::Query(query) => check_query(query),
        Statement::Explain { statement, .. } => check_statement(statement),
        Statement::ExplainTable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowFunctions { .. } => Ok(()),
        other => {
            let text = other.to_string();
            let word = text.split_whitespace().next().unwrap_or_default().to_lowercase();
            Err(read_only(&word))
        }
    }
}

fn check_query(query: &Query) -> Result<()> {
    if !query.locks.is_empty() {
        return Err(Error::new(Kind::Denied, "cannot lock rows: this server only reads").with_sqlstate("25006"));
    }
    for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
        check_query(&cte.query)?;
    }
    check_body(&query.body)
}

fn check_body(body: &SetExpr) -> Result<()> {
    match body {
        SetExpr::Select(select) if select.into.is_some() => Err(read_only("select into")),
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => Ok(()),
        SetExpr::Query(query) => check_query(query),
        SetExpr::SetOperation { left, right, .. } => {
            check_body(left)?;
            check_body(right)
        }
        SetExpr::Insert(_) => Err(read_only("insert")),
        SetExpr::Update(_) => Err(read_only("update")),
        SetExpr::Delete(_) => Err(read_only("delete")),
        SetExpr::Merge(_) => Err(read_only("merge")),
    }
}

fn read_only(word: &str) -> Error {
    let error = Error::new(Kind::Denied, format!("cannot {word}: SQL here only reads"));
    if word == "use" {
        return error
            .with_hint("a connection has one database, and spans are in its schema \"traces\", which needs no USE");
    }
    error.with_hint("spans come in over OTLP; take results out with the client, as in psql's \\copy (SELECT …) TO")
}
