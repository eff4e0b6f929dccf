//! A server elsewhere, over PostgreSQL's protocol.
//!
//! Results come as text and are shown as those of the data directory are: numbers, truths and times become Arrow's, the rest stays text. One
//! connection runs one statement after the other; what asks on the side has a connection of its own.

mod place;
mod rows;

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datafusion::arrow::datatypes::SchemaRef;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::backend::Answer;
use crate::error::{Error, Kind, Result};
pub use place::Place;

/// A server that does not answer is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One that cannot be asked to stop a statement is left with it.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(3);

/// SQLSTATEs that the shell tells apart; others are told by their class.
const STATES: [&str; 14] = [
    "22P02", "25P02", "26000", "28000", "28P01", "3D000", "40001", "42501", "42601", "42703", "42883", "42P01",
    "53200", "57014",
];

/// A connection.
pub struct Remote {
    client: Client,
    place: Place,
    tls: Option<MakeRustlsConnect>,
    time_zone: String,
    in_transaction: AtomicBool,
}

impl Remote {
    /// Connects.
    pub async fn connect(place: Place) -> Result<Self> {
        let mut config = tokio_postgres::Config::from_str(place.conninfo())
            .map_err(|error| Error::bad_input(format!("{} cannot be understood: {error}", place.shown())))?;
        config.application_name("spanhouse repl");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        place.complete(&mut config);
        let failed = |error: tokio_postgres::Error| cannot_connect(&place, error);
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(place.tls()?),
        };
        let client = match &tls {
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
                tokio::spawn(connection);
                client
            }
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await.map_err(failed)?;
                tokio::spawn(connection);
                client
            }
        };
        let mut remote =
            Self { client, place, tls, time_zone: "UTC".to_owned(), in_transaction: AtomicBool::new(false) };
        remote.time_zone = remote.setting("timezone").await?;
        Ok(remote)
    }

    /// A second connection to the same server.
    pub async fn another(&self) -> Result<Self> {
        Self::connect(self.place.clone()).await
    }

    /// What a person is told of where this is; it holds no password.
    pub fn shown(&self) -> &str {
        self.place.shown()
    }

    pub fn time_zone(&self) -> &str {
        &self.time_zone
    }

    pub fn in_transaction(&self) -> bool {
        self.in_transaction.load(Ordering::Relaxed)
    }

    /// Runs one statement.
    pub async fn run(&self, text: &str) -> Result<Answer> {
        let first = first_word(text);
        if first == "COPY" {
            let error = Error::bad_input("the shell does not copy").with_sqlstate("42601");
            return Err(error.with_hint("\\o FILE writes results to a file"));
        }
        // Simple queries tell no types, and their rows are text, which shows every type as the server writes it.
        let statement = self.client.prepare(text).await.map_err(|error| self.failed(error))?;
        let schema = rows::schema(statement.columns());
        if statement.columns().is_empty() {
            self.client.simple_query(text).await.map_err(|error| self.failed(error))?;
            match first.as_str() {
                "BEGIN" | "START" => self.in_transaction.store(true, Ordering::Relaxed),
                "COMMIT" | "END" | "ROLLBACK" | "ABORT" => self.in_transaction.store(false, Ordering::Relaxed),
                _ => {}
            }
            return Ok(Answer::Command(first));
        }
        let stream = self.client.simple_query_raw(text).await.map_err(|error| self.failed(error))?;
        let lost = self.lost();
        let stream = rows::batches(stream, schema.clone(), move |error| of_server(error, &lost));
        Ok(Answer::Rows { schema, stream, is_plan: first == "EXPLAIN" })
    }

    /// The columns that a query gives.
    pub async fn columns(&self, text: &str) -> Result<SchemaRef> {
        let statement = self.client.prepare(text).await.map_err(|error| self.failed(error))?;
        Ok(rows::schema(statement.columns()))
    }

    /// Asks the server to stop what it does for this connection.
    pub async fn cancel(&self) {
        let token = self.client.cancel_token();
        let asked = async {
            match &self.tls {
                Some(tls) => token.cancel_query(tls.clone()).await,
                None => token.cancel_query(NoTls).await,
            }
        };
        // A statement that has ended meanwhile cannot be stopped, and one that goes on is stopped by closing the connection.
        let _ = tokio::time::timeout(CANCEL_TIMEOUT, asked).await;
    }

    async fn setting(&self, name: &str) -> Result<String> {
        let messages = self.client.simple_query(&format!("SHOW {name}")).await.map_err(|error| self.failed(error))?;
        let value = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        value.ok_or_else(|| Error::internal(format!("{} does not tell its {name}", self.shown())))
    }

    fn failed(&self, error: tokio_postgres::Error) -> Error {
        of_server(error, &self.lost())
    }

    /// What is said when the connection has gone.
    fn lost(&self) -> String {
        format!("the connection to {} is lost", self.shown())
    }
}

fn cannot_connect(place: &Place, error: tokio_postgres::Error) -> Error {
    if error.as_db_error().is_some() {
        return of_server(error, "");
    }
    let why = innermost(&error);
    let error = Error::new(Kind::Io, format!("cannot connect to {}: {why}", place.shown())).with_source(error);
    match why.contains("certificate") || why.contains("UnknownIssuer") {
        true => error.with_hint(
            "sslrootcert=FILE names the authority of the server's certificate; sslmode=disable sends everything in the clear",
        ),
        false if why.contains("refused") => {
            error.with_hint("nothing listens there: start `spanhouse serve`, or check the host and the port")
        }
        false => error,
    }
}

/// The cause of the cause: what the libraries between say is no news.
fn innermost(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The server's own words, or that it has gone.
fn of_server(error: tokio_postgres::Error, lost: &str) -> Error {
    let Some(said) = error.as_db_error() else {
        return match error.is_closed() || lost.is_empty() {
            true => Error::new(Kind::Closed, lost.to_owned()).with_hint("\\c connects again").with_source(error),
            false => Error::new(Kind::Io, innermost(&error)).with_source(error),
        };
    };
    let code = said.code().code();
    let kind = match code.get(..2).unwrap_or_default() {
        "28" => Kind::Unauthenticated,
        "53" => Kind::OutOfResources,
        "54" => Kind::TooLarge,
        "58" => Kind::Io,
        "XX" => Kind::Internal,
        _ => match code {
            "42501" => Kind::Denied,
            "57014" => Kind::Cancelled,
            "57P01" => Kind::Closed,
            _ => Kind::BadInput,
        },
    };
    let detail = said.detail().map(|detail| format!("\n{detail}")).unwrap_or_default();
    let mut told = Error::new(kind, format!("{}{detail}", said.message()));
    if let Some(state) = STATES.into_iter().find(|state| *state == code) {
        told = told.with_sqlstate(state);
    }
    if let Some(ErrorPosition::Original(position)) = said.position() {
        told = told.with_position(*position as usize);
    }
    match said.hint().map(str::to_owned) {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

/// The statement's first word in capitals, which is its command tag.
fn first_word(text: &str) -> String {
    let tokens = super::lexer::tokens(text);
    let word = tokens.iter().find(|token| token.kind == super::lexer::TokenKind::Word);
    word.map(|word| word.text(text).to_ascii_uppercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_its_tag() {
        assert_eq!(first_word("/* x */ -- y\n set a = b"), "SET");
        assert_eq!(first_word("  (select 1)"), "SELECT");
        assert_eq!(first_word(""), "");
    }
}
