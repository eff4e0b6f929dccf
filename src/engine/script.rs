//! A script becomes statements: tokens within limits, split at semicolons, each parsed.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError};

use super::admit;
use super::commands::{self, Command};
use super::dialect;
use super::errors::advice;
use super::grammar::Grammar;
use super::inner_names;
use super::interval_text;
use super::limits;
use super::names;
use super::pg_catalog;
use super::standard;
use super::table_functions;
use crate::error::{Error, Result};

/// A statement of a script.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The statement's own text, without the semicolon.
    pub text: String,
    pub body: Body,
}

/// What a statement is.
#[derive(Debug)]
pub(super) enum Body {
    /// A query, or something that the planner makes a query of.
    Query { ast: Box<ast::Statement>, names: Option<Vec<String>> },
    /// A command that the session itself carries out.
    Command(Command),
}

/// How deep expressions may nest as the parser counts; the token check before it is the one that users meet.
const PARSER_DEPTH: usize = 2_000;

/// Splits and parses a script. Empty statements vanish.
pub(super) fn parse(script: &str) -> Result<Vec<Parsed>> {
    limits::check_text(script)?;
    let places = Places::new(script);
    let tokens = tokenize(&Grammar::for_tokens(0), script, &places)?;
    limits::check_tokens(&tokens)?;
    let mut statements = Vec::new();
    for tokens in split(tokens) {
        let text = places.text_of(script, &tokens);
        if text.is_empty() {
            continue;
        }
        let body = parse_one(&text, tokens, &places)?;
        statements.push(Parsed { text, body });
    }
    Ok(statements)
}

fn parse_one(text: &str, tokens: Vec<TokenWithSpan>, places: &Places) -> Result<Body> {
    if let Some(command) = commands::parse(&tokens)? {
        return Ok(Body::Command(command));
    }
    admit::check_first_word(&tokens)?;
    // PostgreSQL's own dialect reads each argument of a call twice.
    let may_be_postgres = limits::nests_little(&tokens);
    if let Some(mut statement) = may_be_postgres.then(|| pg_catalog::parse(text, &tokens)).flatten() {
        admit::check_statement(&statement)?;
        let names = rewrite(&mut statement)?;
        return Ok(Body::Query { ast: Box::new(statement), names });
    }
    let start = tokens.first().map(|token| token.span.start).unwrap_or(Location::new(1, 1));
    let mut statement = match parse_tokens(&Grammar::for_tokens(tokens.len()), tokens) {
        Ok(statement) => statement,
        Err(first) => {
            // Some of PostgreSQL's forms are known to its own dialect only. The parse that came further knows better what is wrong.
            let first = places.syntax_error(first, Location::new(1, 1));
            if !may_be_postgres {
                return Err(first);
            }
            let postgres =
                Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(ParserError::from);
            match postgres.and_then(|tokens| parse_tokens(&PostgreSqlDialect {}, tokens)) {
                Ok(statement) => statement,
                Err(second) => {
                    let inner = Places::new(text).syntax_error(second, Location::new(1, 1));
                    let shift = places.position(start).unwrap_or(1) - 1;
                    let second = match inner.position {
                        Some(position) => inner.with_position(position + shift),
                        None => inner,
                    };
                    return Err(if second.position > first.position { second } else { first });
                }
            }
        }
    };
    admit::check_statement(&statement)?;
    let names = rewrite(&mut statement)?;
    Ok(Body::Query { ast: Box::new(statement), names })
}

/// Writes what SQL has here and DataFusion does not in DataFusion's words; gives the names of the result's columns.
fn rewrite(statement: &mut ast::Statement) -> Result<Option<Vec<String>>> {
    table_functions::expand(statement)?;
    let names = names::name_columns(statement);
    inner_names::name_inner(statement);
    dialect::rewrite(statement);
    interval_text::rewrite(statement)?;
    standard::rewrite(statement)?;
    dialect::call_bare_words(statement);
    names::name_repeats(statement, names.as_deref().unwrap_or_default());
    Ok(names)
}

fn parse_tokens(dialect: &dyn Dialect, tokens: Vec<TokenWithSpan>) -> Result<ast::Statement, ParserError> {
    let mut parser = Parser::new(dialect).with_recursion_limit(PARSER_DEPTH).with_tokens_with_locations(tokens);
    let statement = parser.parse_statement()?;
    let rest = parser.peek_token();
    match rest.token {
        Token::EOF => Ok(statement),
        _ => Err(ParserError::ParserError(format!("Expected: end of statement, found: {rest}{}", rest.span.start))),
    }
}

pub(super) fn tokenize(dialect: &dyn Dialect, script: &str, places: &Places) -> Result<Vec<TokenWithSpan>> {
    Tokenizer::new(dialect, script).tokenize_with_location().map_err(|TokenizerError { message, location }| {
        let error = Error::bad_input(format!("syntax error: {}", lower_first(&message)));
        let error = match message.contains("Unterminated") {
            true => error.with_hint("a quote that is opened is closed by the same; within a text it is written twice"),
            false => error,
        };
        match places.position(location) {
            Some(position) => error.with_position(position),
            None => error,
        }
    })
}

fn split(tokens: Vec<TokenWithSpan>) -> Vec<Vec<TokenWithSpan>> {
    let mut statements = vec![Vec::new()];
    for token in tokens {
        match token.token {
            Token::SemiColon => statements.push(Vec::new()),
            Token::EOF => {}
            _ => {
                if let Some(statement) = statements.last_mut() {
                    statement.push(token);
                }
            }
        }
    }
    statements
}

/// The position, in characters from 1, of a line and column of the script.
pub(super) fn position(script: &str, line: u64, column: u64) -> Option<usize> {
    Places::new(script).position(Location::new(line, column))
}

/// Where the lines of a script begin, to turn the tokenizer's lines and columns into positions.
pub(super) struct Places {
    /// For each line: its first character's place in characters and in bytes, from 0.
    lines: Vec<(usize, usize)>,
    chars: usize,
}

impl Places {
    pub(super) fn new(script: &str) -> Self {
        let mut lines = vec![(0, 0)];
        let mut chars = 0;
        for (byte, char) in script.char_indices() {
            chars += 1;
            if char == '\n' {
                lines.push((chars, byte + 1));
            }
        }
        Self { lines, chars }
    }

    /// The position in characters from 1; `None` for the unknown location.
    pub(super) fn position(&self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(location.column).ok()?;
        let (start, _) = self.lines.get(line)?;
        Some((start + column).clamp(1, self.chars.max(1)))
    }

    pub(super) fn byte(&self, script: &str, location: Location) -> usize {
        let Some((_, start)) =
            usize::try_from(location.line).ok().and_then(|line| self.lines.get(line.checked_sub(1)?))
        else {
            return script.len();
        };
        let column = location.column.saturating_sub(1) as usize;
        script[*start..].char_indices().nth(column).map_or(script.len(), |(byte, _)| start + byte)
    }

    fn text_of(&self, script: &str, tokens: &[TokenWithSpan]) -> String {
        let mut code = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
        let Some(first) = code.next() else { return String::new() };
        let last = code.next_back().unwrap_or(first);
        script[self.byte(script, first.span.start)..self.byte(script, last.span.end)].to_string()
    }

    fn syntax_error(&self, error: ParserError, fallback: Location) -> Error {
        let text = match error {
            ParserError::RecursionLimitExceeded => return limits::too_deep(),
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        };
        let (text, location) = match text.rsplit_once(" at Line: ") {
            Some((text, place)) => (text.to_string(), location_of(place).unwrap_or(fallback)),
            None => (text, fallback),
        };
        let at_end = text.ends_with("found: EOF");
        let error = match text.split_once(", found: ") {
            Some((expected, found)) => {
                let hint = match expected.strip_prefix("Expected") {
                    Some(what) => advice(what.trim_start_matches(':').trim_start(), if at_end { "" } else { found }),
                    None => lower_first(expected),
                };
                match at_end {
                    true => Error::bad_input("syntax error at end of input").with_hint(hint),
                    false => Error::bad_input(format!("syntax error at or near \"{found}\"")).with_hint(hint),
                }
            }
            None => Error::bad_input(format!("syntax error: {}", lower_first(&text))),
        };
        let position = if at_end { Some(self.chars.max(1)) } else { self.position(location) };
        match position {
            Some(position) => error.with_position(position),
            None => error,
        }
    }
}

fn location_of(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A parser that reads something twice at each level does not come back from these.
    #[test]
    fn deeply_nested_statements_are_read_once() {
        const DEPTH: usize = 60;
        let shapes = [
            ("abs(", ")"),
            ("coalesce(1, ", ")"),
            ("lower(", ")"),
            ("(", ")"),
            ("(SELECT ", ")"),
            ("CAST(", " AS text)"),
            ("CASE WHEN true THEN ", " END"),
            ("1 IN (", ")"),
            ("EXISTS (SELECT ", ")"),
            ("[", "]"),
            ("ARRAY[", "]"),
            ("position('a' IN ", ")"),
            ("extract(epoch FROM ", ")"),
            ("substring(", " FROM 1 FOR 2)"),
            ("trim(BOTH 'x' FROM ", ")"),
            ("interval '1 hour' * (", ")"),
            ("date(", ")"),
            ("timestamp(", ")"),
            ("quantile(0.5)(", ")"),
            ("overlay(", " PLACING 'x' FROM 1)"),
            ("{fn abs(", ")}"),
            ("x -> (", ")"),
            ("a[", "]"),
            ("floor(", ")"),
            ("ceil(", " TO day)"),
            ("left(", ", 1)"),
            ("NOT (", ")"),
            ("row(", ")"),
            ("map {'a': ", "}"),
            ("sum(", ") OVER (PARTITION BY 1)"),
        ];
        let statements = shapes.into_iter().flat_map(|(open, close)| {
            ["1", "1 1", ""].map(|inner| format!("SELECT {}{inner}{}", open.repeat(DEPTH), close.repeat(DEPTH)))
        });
        // Statements are parsed on threads with large stacks.
        let reader = std::thread::Builder::new().stack_size(256 << 20);
        let read = reader.spawn(move || statements.map(|statement| parse(&statement).is_ok()).filter(|ok| *ok).count());
        assert!(read.expect("a thread").join().expect("no panic") >= 10, "whole statements are read");
    }
}
