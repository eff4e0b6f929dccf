//! What a statement may be: its length, its tokens and its depth, checked before anything recursive touches it.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, Kind, Result};

/// The longest script, as PostgreSQL clients send at most a few hundred kilobytes.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// The most tokens of a script; an `IN` list of 10,000 values has 40,000 with its blanks.
pub const MAX_TOKENS: usize = 400_000;

/// The deepest nesting of a statement. An operator makes its statement one level deeper just as a parenthesis does, because a chain
/// `a + b + c` is a tree as deep as it is long. Parser, planner and optimizer recurse this deep on a query thread's stack.
pub const MAX_DEPTH: usize = 1_000;

/// The most bytes that the longest text of a script takes when every other token names it: the planner copies constants.
const MAX_COPIED_BYTES: usize = 1 << 30;

/// Refuses a script that is too long.
pub(super) fn check_text(script: &str) -> Result<()> {
    match script.len() {
        0..=MAX_TEXT_BYTES => Ok(()),
        bytes => Err(Error::new(
            Kind::TooLarge,
            format!("the statement is {bytes} bytes long; the limit is {MAX_TEXT_BYTES}"),
        )),
    }
}

/// Refuses a script of too many tokens, or nested too deep.
pub(super) fn check_tokens(tokens: &[TokenWithSpan]) -> Result<()> {
    if tokens.len() > MAX_TOKENS {
        let message = format!("the statement has {} tokens; the limit is {MAX_TOKENS}", tokens.len());
        return Err(Error::new(Kind::TooLarge, message).with_sqlstate("54001"));
    }
    let longest = tokens.iter().map(|token| text_bytes(&token.token)).max().unwrap_or(0);
    if longest.saturating_mul(tokens.len()) > MAX_COPIED_BYTES {
        let message = format!("a text of {longest} bytes is too long for a statement of {} tokens", tokens.len());
        return Err(Error::new(Kind::TooLarge, message).with_hint("send long texts as parameters"));
    }
    let mut levels = vec![Level::default()];
    let mut depth = 0;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                levels.push(Level { sticky: 1, ..Level::default() });
                depth += 1;
            }
            Token::RParen | Token::RBracket | Token::RBrace if levels.len() > 1 => {
                // A CASE within that has no END ends here as well.
                while let Some(level) = levels.pop_if(|level| level.is_case) {
                    depth -= level.sticky + level.chain;
                }
                if levels.len() > 1 {
                    depth -= levels.pop().map_or(0, |level| level.sticky + level.chain);
                }
            }
            Token::Word(word) if word.keyword == Keyword::CASE => {
                if let Some(level) = levels.last_mut() {
                    level.chain += 1;
                    depth += 1;
                }
                levels.push(Level { is_case: true, ..Level::default() });
            }
            Token::Word(word) if word.keyword == Keyword::END => {
                if let Some(level) = levels.pop_if(|level| level.is_case) {
                    depth -= level.sticky + level.chain;
                }
            }
            Token::SemiColon => {
                levels = vec![Level::default()];
                depth = 0;
            }
            token => {
                if let Some(level) = levels.last_mut() {
                    depth -= level.sticky + level.chain;
                    level.take(token);
                    depth += level.sticky + level.chain;
                }
            }
        }
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
    }
    Ok(())
}

/// Whether brackets and CASE nest so little that a parser which reads some arguments twice, level by level, ends soon.
pub(super) fn nests_little(tokens: &[TokenWithSpan]) -> bool {
    /// Far above what the catalogue queries of clients have; it doubles the time of the parse so many times.
    const MOST: usize = 10;
    let mut depth = 0_usize;
    tokens.iter().all(|token| {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Word(word) if word.keyword == Keyword::CASE => depth += 1,
            Token::Word(word) if word.keyword == Keyword::END => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth <= MOST
    })
}

/// What the tokens between two parentheses, or between `CASE` and `END`, have reached.
#[derive(Default)]
struct Level {
    /// Operators since the last comma: each nests what came before it.
    chain: usize,
    /// The parenthesis itself, set operations and joins: a comma does not end these.
    sticky: usize,
    /// Whether a comma joins tables here.
    in_from: bool,
    /// Whether it is a `CASE`, whose branches stand beside each other.
    is_case: bool,
}

impl Level {
    fn take(&mut self, token: &Token) {
        match token {
            Token::Comma => {
                self.chain = 0;
                self.sticky += usize::from(self.in_from);
            }
            Token::Word(word) => match word.keyword {
                Keyword::FROM => self.in_from = true,
                Keyword::WHERE
                | Keyword::GROUP
                | Keyword::ORDER
                | Keyword::HAVING
                | Keyword::LIMIT
                | Keyword::SELECT => {
                    self.in_from = false;
                }
                Keyword::WHEN | Keyword::THEN | Keyword::ELSE if self.is_case => self.chain = 0,
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN => self.sticky += 1,
                _ => self.chain += usize::from(deepens(token)),
            },
            token => self.chain += usize::from(deepens(token)),
        }
    }
}

/// The answer to a statement that nests too deep.
pub(super) fn too_deep() -> Error {
    Error::new(Kind::TooLarge, format!("the statement nests deeper than {MAX_DEPTH} levels"))
        .with_sqlstate("54001")
        .with_hint("a long chain of OR is shorter as IN (…); a long UNION ALL is shorter as a list of VALUES")
}

fn deepens(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::EXPLAIN
                | Keyword::INTERVAL
                | Keyword::AT
        ),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Whitespace(_)
        | Token::Placeholder(_)
        | Token::Period
        | Token::EOF => false,
        Token::Char(_) => true,
        other => is_operator(other),
    }
}

fn text_bytes(token: &Token) -> usize {
    match token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.len(),
        Token::DollarQuotedString(text) => text.value.len(),
        _ => 0,
    }
}

fn is_operator(token: &Token) -> bool {
    let text = token.to_string();
    !text.is_empty() && text.len() <= 4 && text.chars().all(|c| "+-*/<>=~!@#%^&|`?:".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    fn check(sql: &str) -> Result<()> {
        check_text(sql)?;
        check_tokens(&Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().expect("tokens"))
    }

    #[test]
    fn long_lists_pass_and_deep_statements_do_not() {
        let list = vec!["'0123456789abcdef'"; 10_000].join(", ");
        assert!(check(&format!("SELECT * FROM spans WHERE span_id IN ({list})")).is_ok());
        let columns = (0..3_000).map(|n| format!("a + {n} AS c{n}")).collect::<Vec<_>>().join(", ");
        assert!(check(&format!("SELECT {columns}")).is_ok());
        let branches = (0..1_000).map(|n| format!("WHEN a = {n} AND b THEN c + {n}")).collect::<Vec<_>>().join(" ");
        assert!(check(&format!("SELECT CASE {branches} ELSE d END + 1, e")).is_ok());
        let long = "x".repeat(1 << 20);
        assert!(check(&format!("SELECT '{long}', '{long}'")).is_ok());
        let often = format!("SELECT {} FROM (SELECT '{long}' AS a)", vec!["a"; 2_000].join(", "));
        assert_eq!(check(&often).expect_err("too much").sqlstate(), "54000");
        for deep in [
            format!("SELECT {}", vec!["a = 1"; 2_000].join(" OR ")),
            format!("SELECT {}", vec!["1"; 2_000].join(" + ")),
            vec!["SELECT 1"; 3_000].join(" UNION ALL "),
            vec!["SELECT 1, 2"; 3_000].join(" UNION ALL "),
            format!("SELECT 1 FROM {}", vec!["spans"; 3_000].join(", ")),
            format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
            format!("SELECT {}1", "- ".repeat(2_000)),
            format!("SELECT {}1", "NOT ".repeat(2_000)),
            format!("SELECT 1{}", "::int".repeat(2_000)),
            format!("SELECT {}1{}", "CASE WHEN a THEN ".repeat(2_000), " END".repeat(2_000)),
            format!("SELECT {}1", "CASE WHEN end THEN ".repeat(2_000)),
            format!("SELECT {}1", "CASE WHEN - - - ".repeat(500)),
        ] {
            let error = check(&deep).expect_err("too deep");
            assert_eq!(error.sqlstate(), "54001", "{}", &deep[..40]);
        }
    }
}
