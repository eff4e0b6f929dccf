//! Commands that the session carries out by itself: settings and transactions.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, Result};

/// A command without a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// `BEGIN`, `START TRANSACTION`.
    Begin { tag: &'static str },
    /// `COMMIT`, `END`.
    Commit,
    /// `ROLLBACK`, `ABORT`.
    Rollback,
    /// `SAVEPOINT`, `RELEASE`, `ROLLBACK TO`: with nothing to undo, they only have to be in a transaction.
    Savepoint { tag: &'static str },
    /// `SET name TO value`; no value means the default. A local setting ends with its transaction.
    Set { name: String, value: Option<String>, local: bool },
    /// `SET TRANSACTION …`, `SET ROLE …`, `SET SESSION AUTHORIZATION …`: accepted, since there is one mode and one role.
    SetNothing,
    /// `RESET name`, or `RESET ALL`.
    Reset { name: Option<String> },
    /// `SHOW name`, or `SHOW ALL`.
    Show { name: Option<String> },
    /// `DISCARD ALL` and its parts.
    Discard { all: bool },
}

/// Reads a command; `None` when the tokens are some other statement.
pub(super) fn parse(tokens: &[TokenWithSpan]) -> Result<Option<Command>> {
    let code: Vec<&Token> = tokens.iter().map(|t| &t.token).filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let words: Vec<String> = code.iter().map(|token| word(token)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = match words.as_slice() {
        ["begin", ..] => Command::Begin { tag: "BEGIN" },
        ["start", "transaction", ..] => Command::Begin { tag: "START TRANSACTION" },
        ["rollback" | "abort", "to", ..] | ["rollback", "work" | "transaction", "to", ..] => {
            Command::Savepoint { tag: "ROLLBACK" }
        }
        ["commit" | "end", ..] => Command::Commit,
        ["rollback" | "abort", ..] => Command::Rollback,
        ["savepoint", _] => Command::Savepoint { tag: "SAVEPOINT" },
        ["release", _] | ["release", "savepoint", _] => Command::Savepoint { tag: "RELEASE" },
        ["discard", what] => Command::Discard { all: *what == "all" },
        ["reset", "all"] => Command::Reset { name: None },
        ["reset", "session", "authorization"] | ["reset", "role"] => Command::SetNothing,
        ["reset", name @ ..] if !name.is_empty() => Command::Reset { name: Some(variable_name(name)) },
        ["show", "all"] => Command::Show { name: None },
        ["show", "tables" | "columns" | "functions", ..] => return Ok(None),
        ["show", name @ ..] if !name.is_empty() => Command::Show { name: Some(variable_name(name)) },
        ["set", rest @ ..] => return set(rest, &code[1..]).map(Some),
        _ => return Ok(None),
    };
    Ok(Some(command))
}

fn set(words: &[&str], code: &[&Token]) -> Result<Command> {
    match words {
        ["transaction", ..] | ["session", "characteristics", ..] | ["role", ..] | ["session" | "local", "role", ..] => {
            Ok(Command::SetNothing)
        }
        ["session", "authorization", ..] | ["constraints", ..] => Ok(Command::SetNothing),
        ["local", ..] => assignment(&words[1..], &code[1..], true),
        ["session", ..] => assignment(&words[1..], &code[1..], false),
        _ => assignment(words, code, false),
    }
}

fn assignment(words: &[&str], code: &[&Token], local: bool) -> Result<Command> {
    if let ["time", "zone", ..] = words {
        return Ok(Command::Set { name: "timezone".into(), value: value(&code[2..])?, local });
    }
    if let ["names", ..] = words {
        return Ok(Command::Set { name: "client_encoding".into(), value: value(&code[1..])?, local });
    }
    let Some(at) = code.iter().position(|token| matches!(token, Token::Eq) || word(token) == "to") else {
        return Err(Error::bad_input("syntax error: SET wants a name, then TO or =, then a value"));
    };
    if at == 0 {
        return Err(Error::bad_input("syntax error: SET wants the name of a setting"));
    }
    Ok(Command::Set { name: variable_name(&words[..at]), value: value(&code[at + 1..])?, local })
}

/// The text of a setting's value; `None` for `DEFAULT`.
fn value(tokens: &[&Token]) -> Result<Option<String>> {
    if let [one] = tokens
        && matches!(word(one).as_str(), "default")
    {
        return Ok(None);
    }
    if tokens.is_empty() {
        return Err(Error::bad_input("syntax error: SET wants a value"));
    }
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::SingleQuotedString(value) | Token::EscapedStringLiteral(value) => text.push_str(value),
            Token::Comma => text.push_str(", "),
            Token::Word(word) => {
                if !text.is_empty() && !text.ends_with([' ', '-']) {
                    text.push(' ');
                }
                text.push_str(&word.value);
            }
            other => text.push_str(&other.to_string()),
        }
    }
    Ok(Some(text))
}

fn variable_name(words: &[&str]) -> String {
    match words {
        ["time", "zone"] => "timezone".into(),
        ["transaction", "isolation", "level"] => "transaction_isolation".into(),
        ["session", "authorization"] => "session_authorization".into(),
        _ => words.concat(),
    }
}

fn word(token: &Token) -> String {
    match token {
        Token::Word(word) => word.value.to_lowercase(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    fn parsed(sql: &str) -> Option<Command> {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().expect("tokens");
        parse(&tokens).expect("a command or not one")
    }

    fn set(name: &str, value: Option<&str>, local: bool) -> Option<Command> {
        Some(Command::Set { name: name.into(), value: value.map(Into::into), local })
    }

    #[test]
    fn settings_are_read_as_drivers_write_them() {
        for (sql, command) in [
            ("SET extra_float_digits = 3", set("extra_float_digits", Some("3"), false)),
            ("set application_name to 'my app'", set("application_name", Some("my app"), false)),
            ("SET SESSION statement_timeout = '5s'", set("statement_timeout", Some("5s"), false)),
            ("SET LOCAL statement_timeout TO DEFAULT", set("statement_timeout", None, true)),
            ("SET TIME ZONE 'Europe/Berlin'", set("timezone", Some("Europe/Berlin"), false)),
            ("SET search_path = traces, public", set("search_path", Some("traces, public"), false)),
            ("SET DateStyle=ISO", set("datestyle", Some("ISO"), false)),
            ("SET datafusion.runtime.memory_limit = '1G'", set("datafusion.runtime.memory_limit", Some("1G"), false)),
            ("SET x = -1", set("x", Some("-1"), false)),
            ("SHOW TIME ZONE", Some(Command::Show { name: Some("timezone".into()) })),
            ("SHOW transaction isolation level", Some(Command::Show { name: Some("transaction_isolation".into()) })),
            ("BEGIN ISOLATION LEVEL REPEATABLE READ", Some(Command::Begin { tag: "BEGIN" })),
            ("ROLLBACK TO SAVEPOINT a", Some(Command::Savepoint { tag: "ROLLBACK" })),
            ("SHOW TABLES", None),
            ("SELECT 1", None),
        ] {
            assert_eq!(parsed(sql), command, "{sql}");
        }
    }
}
