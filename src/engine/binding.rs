//! Values in the place of `:name` in a text of SQL: what shipped questions and reports share.
//!
//! A value becomes a literal of its parameter's type and nothing else, whatever it holds. Names in strings, quoted names and comments
//! are left alone.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::grammar::Grammar;
use super::limits;
use super::script::{Places, tokenize};
use crate::error::{Error, Result};

/// What a parameter's value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    Text,
    Integer,
    Double,
    Timestamp,
}

impl ParameterKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Text, Self::Integer, Self::Double, Self::Timestamp];

    /// The name that headers give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Timestamp => "timestamp",
        }
    }

    /// A value as an SQL literal of this type; `name` is the parameter's.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`] for a value that is not of this type.
    pub fn literal(self, name: &str, value: &str) -> Result<String> {
        let quoted = || format!("'{}'", value.replace('\'', "''"));
        let wrong =
            |wanted: &str| Err(Error::bad_input(format!("parameter \"{name}\" wants {wanted}, not \"{value}\"")));
        match self {
            Self::Text => Ok(quoted()),
            Self::Integer => match value.parse::<i64>() {
                // After a minus a second one would begin a comment.
                Ok(number) if number < 0 => Ok(format!("({number})")),
                Ok(number) => Ok(number.to_string()),
                Err(_) => wrong("a whole number"),
            },
            Self::Double => match value.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(format!("CAST({} AS DOUBLE)", quoted())),
                _ => wrong("a number"),
            },
            Self::Timestamp => match timestamp(value) {
                Some(literal) => Ok(literal),
                None => wrong("a time such as 2026-01-31T12:00:00Z"),
            },
        }
    }
}

/// A time as a literal: one with an offset is an instant, whatever the session's zone is; seconds may be left out.
fn timestamp(value: &str) -> Option<String> {
    use datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
    if value.contains('\'') {
        return None;
    }
    if chrono::DateTime::parse_from_rfc3339(value).is_ok() {
        return string_to_timestamp_nanos(value).ok().map(|_| format!("TIMESTAMPTZ '{value}'"));
    }
    let with_seconds = format!("{value}:00");
    let whole = [value, with_seconds.as_str()].into_iter().find(|text| string_to_timestamp_nanos(text).is_ok())?;
    Some(format!("TIMESTAMP '{whole}'"))
}

/// A `:name` in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placeholder<'a> {
    pub name: &'a str,
    /// Whether a value stands right before it, as in `list[1:n]`, where the colon may be SQL's own.
    pub may_be_sql: bool,
}

/// A text with values in it, which knows where in the text without them each place lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    pub sql: String,
    replaced: Vec<Replaced>,
}

/// A name that became a literal; places and lengths are in characters, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Replaced {
    at: usize,
    len: usize,
    was_at: usize,
    was_len: usize,
}

impl Bound {
    /// The position in the text without values of a position in the text with them, both from 1.
    pub fn position_before(&self, position: usize) -> usize {
        let at = position.saturating_sub(1);
        let last = self.replaced.iter().rev().find(|replaced| replaced.at <= at);
        let before = last.map_or(at, |replaced| {
            // Within a literal is at its name.
            let beyond = at.saturating_sub(replaced.at + replaced.len);
            if at < replaced.at + replaced.len { replaced.was_at } else { replaced.was_at + replaced.was_len + beyond }
        });
        before + 1
    }
}

/// Puts a literal in the place of each `:name` for which `literal` gives one; the rest of the text stays as it is.
///
/// # Errors
/// What `literal` gives, with the position in `sql`; [`crate::error::Kind::BadInput`] for a text that is no SQL.
pub fn bind(sql: &str, mut literal: impl FnMut(Placeholder<'_>) -> Result<Option<String>>) -> Result<Bound> {
    limits::check_text(sql)?;
    let places = Places::new(sql);
    let tokens = tokenize(&Grammar::for_tokens(0), sql, &places)?;
    let mut bound = Bound { sql: String::with_capacity(sql.len()), replaced: Vec::new() };
    // How much of `sql` is in the new text, in bytes; how much longer that is than what it was made of, in characters.
    let (mut done, mut chars_done) = (0, 0);
    for (at, pair) in tokens.windows(2).enumerate() {
        let [TokenWithSpan { token: Token::Colon, span: colon }, TokenWithSpan { token: Token::Word(word), span }] =
            pair
        else {
            continue;
        };
        if word.quote_style.is_some() {
            continue;
        }
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let placeholder = Placeholder { name: &word.value, may_be_sql: before.is_some_and(ends_a_value) };
        let position = places.position(colon.start).unwrap_or(1);
        let Some(text) = literal(placeholder).map_err(|error| error.with_position(position))? else { continue };
        let (start, end) = (places.byte(sql, colon.start), places.byte(sql, span.end));
        bound.sql.push_str(&sql[done..start]);
        chars_done += sql[done..start].chars().count();
        let (len, was_len) = (text.chars().count(), sql[start..end].chars().count());
        bound.replaced.push(Replaced { at: chars_done, len, was_at: position - 1, was_len });
        bound.sql.push_str(&text);
        chars_done += len;
        done = end;
    }
    bound.sql.push_str(&sql[done..]);
    Ok(bound)
}

/// Whether the token may be the end of a value.
fn ends_a_value(token: &TokenWithSpan) -> bool {
    match &token.token {
        Token::Word(word) => word.keyword == datafusion::sql::sqlparser::keywords::Keyword::NoKeyword,
        token => matches!(token, Token::Number(..) | Token::RBracket | Token::RParen | Token::SingleQuotedString(_)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(sql: &str) -> Bound {
        bind(sql, |placeholder| match placeholder.name {
            "a" => ParameterKind::Text.literal("a", "it's\nlong").map(Some),
            "n" => ParameterKind::Integer.literal("n", "7").map(Some),
            _ if placeholder.may_be_sql => Ok(None),
            name => Err(Error::bad_input(format!("no {name}"))),
        })
        .expect("bound")
    }

    #[test]
    fn names_become_literals_and_nothing_else_changes() {
        for (sql, expected) in [
            ("SELECT :a, :n", "SELECT 'it''s\nlong', 7"),
            (
                "SELECT ':a', \":a\", $$:a$$ -- :a\n, x::text /* :n */ + :n",
                "SELECT ':a', \":a\", $$:a$$ -- :a\n, x::text /* :n */ + 7",
            ),
            ("SELECT l[1:m], E'\\'' , x->>'é', :n", "SELECT l[1:m], E'\\'' , x->>'é', 7"),
            ("SELECT 1", "SELECT 1"),
        ] {
            assert_eq!(bound(sql).sql, expected);
        }
        let error = bind("SELECT é,\n :b", |_| Err(Error::bad_input("no"))).expect_err("unknown");
        assert_eq!(error.position, Some(12));
        assert!(bind("SELECT 'open", |_| Ok(None)).is_err());
    }

    #[test]
    fn a_place_is_found_again() {
        let sql = "SELECT :a AS x, :n + nope";
        let bound = bound(sql);
        for word in ["SELECT", "AS", "nope"] {
            let place = |text: &str| text.find(word).map(|at| at + 1).expect("there");
            assert_eq!(bound.position_before(place(&bound.sql)), place(sql), "{word}");
        }
        assert_eq!(bound.position_before(10), 8, "within a literal");
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (kind, bad, good) in [
            (ParameterKind::Integer, "5; DROP TABLE x", "-5"),
            (ParameterKind::Double, "inf", "1e3"),
            (ParameterKind::Timestamp, "soon", "2026-01-31T12:00:00Z"),
        ] {
            let error = kind.literal("p", bad).expect_err(bad).to_string();
            assert!(error.starts_with("parameter \"p\" wants a ") && error.contains(bad), "{error}");
            assert!(kind.literal("p", good).is_ok(), "{good}");
        }
        for (time, literal) in [
            ("2026-01-31", "TIMESTAMP '2026-01-31'"),
            ("2026-01-31 12:00", "TIMESTAMP '2026-01-31 12:00:00'"),
            ("2026-01-31T12:00:00+02:00", "TIMESTAMPTZ '2026-01-31T12:00:00+02:00'"),
        ] {
            assert_eq!(ParameterKind::Timestamp.literal("p", time).expect(time), literal);
        }
    }
}
