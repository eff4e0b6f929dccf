//! Commands whose arguments are SQL: `\flame`, `\heatmap`, `\hist`, `\tail`.

use super::commands::Command;
use super::lexer::{TokenKind, tokens};
use crate::error::{Error, Result};

/// The commands that take SQL, which may be left out but for the value of `\hist`.
const TAKERS: [&str; 4] = ["\\flame", "\\heatmap", "\\hist", "\\tail"];

/// Where in a command's text SQL begins, of a command that takes any.
pub fn sql_after(text: &str) -> Option<usize> {
    let (name, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    TAKERS.contains(&name).then(|| text.len() - rest.trim_start().len())
}

/// Reads such a command; `None` when it is another.
pub fn parse(text: &str) -> Option<Result<Command>> {
    let text = text.trim();
    let (name, sql) = text.split_at(sql_after(text)?);
    let sql = sql.trim_end_matches(';').trim_end();
    if let Err(error) = whole(sql) {
        return Some(Err(error));
    }
    Some(match name.trim() {
        "\\flame" => Ok(Command::Flame(condition(sql))),
        "\\heatmap" => Ok(Command::Heatmap(condition(sql))),
        "\\tail" => Ok(Command::Tail(condition(sql))),
        _ => histogram(sql),
    })
}

/// What holds of the spans that are meant.
fn condition(sql: &str) -> String {
    if sql.is_empty() { "true".to_owned() } else { sql.to_owned() }
}

fn histogram(sql: &str) -> Result<Command> {
    if sql.is_empty() {
        return Err(Error::bad_input("\\hist needs a column or another value")
            .with_hint("\\hist duration_ms span_kind = 'SERVER', or \\hist attributes['http.route']"));
    }
    let end = end_of_value(sql);
    let (value, rest) = sql.split_at(end);
    Ok(Command::Histogram { value: value.to_owned(), condition: condition(rest.trim_start()) })
}

/// The end of the first word, which may have spaces in parentheses, brackets and quotes.
fn end_of_value(sql: &str) -> usize {
    let mut depth = 0_usize;
    for token in tokens(sql) {
        match (token.kind, token.text(sql)) {
            (TokenKind::Symbol, "(" | "[") => depth += 1,
            (TokenKind::Symbol, ")" | "]") => depth = depth.saturating_sub(1),
            (TokenKind::Space, _) if depth == 0 => return token.start,
            _ => {}
        }
    }
    sql.len()
}

/// Refuses what would not be one value where it is put: an open quote, a parenthesis too many, a second statement.
fn whole(sql: &str) -> Result<()> {
    let mut depth = 0_i64;
    for token in tokens(sql) {
        match (token.kind, token.text(sql)) {
            (TokenKind::Symbol, "(") => depth += 1,
            (TokenKind::Symbol, ")") => depth -= 1,
            (TokenKind::Semicolon | TokenKind::Go, _) => {
                return Err(Error::bad_input("a condition is not a statement: it has no ; in it"));
            }
            (TokenKind::Comment, _) => return Err(Error::bad_input("a condition has no comments")),
            _ => {}
        }
        if depth < 0 {
            break;
        }
    }
    let mut scanner = super::lexer::Scanner::default();
    scanner.scan(sql);
    match scanner.open() {
        super::lexer::Open::SingleQuote | super::lexer::Open::DoubleQuote | super::lexer::Open::DollarQuote => {
            Err(Error::bad_input("a quote is not closed"))
        }
        _ if depth != 0 => Err(Error::bad_input("parentheses do not match")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Command {
        parse(text).expect("it takes SQL").expect(text)
    }

    #[test]
    fn a_condition_is_taken_as_it_is() {
        let condition = "attributes['it''s'] = 'a b' AND (x OR y)";
        assert_eq!(parsed(&format!("\\flame {condition} ;")), Command::Flame(condition.to_owned()));
        assert_eq!(parsed("\\heatmap"), Command::Heatmap("true".to_owned()));
        assert_eq!(parsed("\\tail  a = ';'"), Command::Tail("a = ';'".to_owned()));
        assert_eq!(sql_after("\\hist x"), Some(6));
        assert!(parse("\\trace x").is_none() && sql_after("\\flames x").is_none());
    }

    #[test]
    fn a_value_ends_at_a_space_outside_brackets() {
        let histogram = |value: &str, condition: &str| Command::Histogram {
            value: value.to_owned(),
            condition: condition.to_owned(),
        };
        assert_eq!(parsed("\\hist duration_ms"), histogram("duration_ms", "true"));
        let text = "\\hist attributes['http. route'] span_kind = 'SERVER'";
        assert_eq!(parsed(text), histogram("attributes['http. route']", "span_kind = 'SERVER'"));
        assert_eq!(parsed("\\hist (a + b)/2 c"), histogram("(a + b)/2", "c"));
        assert!(parse("\\hist").expect("it takes SQL").is_err());
    }

    #[test]
    fn what_would_be_more_than_a_condition_is_refused() {
        for text in ["true) OR (true", "'a", "a; select 1", "true -- x", "(a", "true /*"] {
            assert!(parse(&format!("\\flame {text}")).expect("it takes SQL").is_err(), "{text}");
        }
    }
}
