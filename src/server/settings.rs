//! What a user may set about the PostgreSQL listener, and the session settings that clients are told of.

use std::sync::Arc;
use std::time::Duration;

use super::connection::Connection;
use crate::audit::Audit;
use crate::engine::Session;
use crate::error::{Error, Result};
use crate::pg::{ALL_SECOND_DIGITS, TextStyle};

/// What a user may set about the PostgreSQL listener.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Sessions at once; one more is told so and sent away.
    pub max_connections: usize,
    /// Time a client has from connecting to its first statement being possible.
    pub startup_timeout: Duration,
    /// Who is told what clients do.
    pub audit: Arc<Audit>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        // An idle session holds a socket and a few KiB; the engine bounds what running statements hold.
        Self { max_connections: 500, startup_timeout: Duration::from_secs(30), audit: Audit::off() }
    }
}

/// The settings that PostgreSQL reports to clients at the start and after each change, by the name clients look for.
pub(super) const REPORTED: [&str; 11] = [
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "is_superuser",
    "session_authorization",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
];

/// Decimals of a second in text for programs: PostgreSQL has microseconds, and clients such as psycopg refuse more.
const PROGRAM_SECOND_DIGITS: u8 = 6;

/// Returns how a session wants text to look: psql only shows text and so gets every nanosecond.
pub(super) fn text_style(session: &Session) -> Result<TextStyle> {
    let person = session.setting("application_name")? == "psql";
    let digits = if person { ALL_SECOND_DIGITS } else { PROGRAM_SECOND_DIGITS };
    TextStyle::in_zone(&session.setting("TimeZone")?, digits)
}

/// Takes the settings that a client sends as it starts.
pub(super) fn apply_startup(session: &Session, parameters: &[(String, String)]) -> Result<()> {
    for (name, value) in parameters {
        match name.as_str() {
            "user" => session.set_user(value),
            "database" | "replication" => {}
            "options" => apply_options(session, value)?,
            extension if extension.starts_with("_pq_.") => {}
            // PostgreSQL looks only at letters and digits of an encoding's name; asyncpg sends it in quotes.
            "client_encoding" => {
                let name: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
                session.set("client_encoding", &name)?;
            }
            name => session.set(name, value)?,
        }
    }
    Ok(())
}

/// Takes `-c name=value` and `--name=value` out of a command line.
fn apply_options(session: &Session, options: &str) -> Result<()> {
    let words = words(options);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let assignment =
            match word.strip_prefix("--").or_else(|| word.strip_prefix("-c").filter(|rest| !rest.is_empty())) {
                Some(assignment) => assignment.to_owned(),
                None if word == "-c" => words.next().cloned().unwrap_or_default(),
                None => return Err(bad_option(word)),
            };
        let (name, value) = assignment.split_once('=').ok_or_else(|| bad_option(&assignment))?;
        session.set(&name.replace('-', "_"), value)?;
    }
    Ok(())
}

/// Splits at blanks that no backslash precedes.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => words.last_mut().into_iter().for_each(|word| word.extend(chars.next())),
            c if c.is_whitespace() => words.push(String::new()),
            c => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn bad_option(word: &str) -> Error {
    Error::bad_input(format!("invalid command-line argument for a session: {word}; use -c name=value"))
        .with_sqlstate("42601")
}

impl Connection {
    /// Tells the client of every reported setting whose value it does not have yet.
    pub(super) fn report_settings(&mut self) {
        for (index, name) in REPORTED.iter().enumerate() {
            let Ok(value) = self.session.setting(name) else { continue };
            match self.reported.get_mut(index) {
                Some(told) if *told == value => continue,
                Some(told) => told.clone_from(&value),
                None => {}
            }
            self.wire.put_parameter(name, &value);
            if *name == "application_name" {
                self.registration.is_called(&value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_split_as_a_command_line() {
        assert_eq!(words("  -c a=1 -cb=x\\ y --c-d=2 "), ["-c", "a=1", "-cb=x y", "--c-d=2"]);
        assert!(words("").is_empty());
    }
}
