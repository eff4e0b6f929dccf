//! What hostile bytes and statements on the PostgreSQL wire must not do: bodies for fuzzers and tests.

use std::io;
use std::sync::OnceLock;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::authentication::{MAX_SASL_BYTES, initial_response};
use super::frontend::Frontend;
use super::sql::{Command, split};
use super::startup::{Opening, open};
use super::wire::{Halt, Wire};
use crate::access::{Exchange, Verifier};
use crate::engine::fuzzing::statements;
use crate::error::{Error, Kind};

/// A script: whatever the wire takes for one statement is one for the engine, from the same word to the same word. Gives what became of it.
///
/// # Errors
/// When the two read it otherwise, or something panics.
pub fn sql(bytes: &[u8]) -> Result<String, String> {
    let script = String::from_utf8_lossy(bytes);
    let pieces = match split(&script) {
        Ok(pieces) => pieces,
        Err(error) => return judged(error),
    };
    let mut told = String::new();
    for piece in &pieces {
        told = match Command::parse(piece.text) {
            Ok(Command::Engine) => of_engine(piece.text)?,
            Ok(command) => format!("{command:?}").chars().take_while(|c| c.is_alphanumeric()).collect(),
            Err(error) => judged(error)?,
        };
    }
    Ok(told)
}

fn of_engine(text: &str) -> Result<String, String> {
    match statements(text) {
        Ok(found) if found == [text] => Ok("taken".to_owned()),
        Ok(found) => Err(format!("one statement of the wire is {found:?} for the engine")),
        Err(error) => judged(error),
    }
}

/// The messages before a session, up to the proof of a password: nobody gets in, and the server asks for nothing that it does not need.
///
/// # Errors
/// When somebody does.
pub fn startup(bytes: &[u8]) -> Result<String, String> {
    with_wire(bytes, async |wire| match open(wire, None).await {
        Ok(Opening::Cancel { .. }) => Ok("cancel".to_owned()),
        Ok(Opening::Session(parameters)) => login(wire, parameters.len()).await,
        Err(halt) => halted(halt),
    })
}

/// What follows a session's start, as SASL messages of a user that is there, whose password nobody knows.
async fn login(wire: &mut Wire, parameters: usize) -> Result<String, String> {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    let verifier = VERIFIER.get_or_init(|| Verifier::of_password(&format!("{:x}", rand::random::<u128>())));
    let first = match wire.read_message_within(MAX_SASL_BYTES).await {
        Ok((_, body)) => body,
        Err(halt) => return Ok(format!("{} parameters, then {}", parameters.min(3), halted(halt)?)),
    };
    let (mechanism, first) = match initial_response(first) {
        Ok(first) => first,
        Err(error) => return judged(error),
    };
    let exchange = match Exchange::begin(("ada", verifier.clone(), true), &mechanism, None, &first) {
        Ok((exchange, _)) => exchange,
        Err(error) => return judged(error),
    };
    match wire.read_message_within(MAX_SASL_BYTES).await {
        Ok((_, proof)) => match exchange.finish(&proof) {
            Ok(_) => Err("somebody got in without the password".to_owned()),
            Err(error) => judged(error),
        },
        Err(halt) => halted(halt),
    }
}

/// The messages of a session, and the statements in them.
///
/// # Errors
/// When one of them is not to blame for what becomes of it.
pub fn messages(bytes: &[u8]) -> Result<String, String> {
    with_wire(bytes, async |wire| {
        let mut told = String::new();
        loop {
            let (kind, body) = match wire.read_message().await {
                Ok(message) => message,
                Err(Halt::Gone) => return Ok(told),
                Err(halt) => return halted(halt),
            };
            told = match Frontend::decode(kind, body) {
                Ok(Frontend::Query(text) | Frontend::Parse { query: text, .. }) => sql(text.as_bytes())?,
                Ok(Frontend::Terminate) => return Ok(told),
                Ok(message) => format!("{message:?}").chars().take_while(|c| c.is_alphanumeric()).collect(),
                Err(error) => judged(error)?,
            };
        }
    })
}

/// A word for what a client is told.
fn judged(error: Error) -> Result<String, String> {
    let is_its_own =
        matches!(error.kind, Kind::BadInput | Kind::TooLarge | Kind::Denied | Kind::NotFound | Kind::Unauthenticated);
    match is_its_own {
        true => Ok(format!("{} {}", error.sqlstate(), error.message)),
        false => Err(format!("a client is to blame for {:?}: {error}", error.kind)),
    }
}

fn halted(halt: Halt) -> Result<String, String> {
    match halt {
        Halt::Gone => Ok("gone".to_owned()),
        Halt::Statement(error) | Halt::Fatal(error) => judged(error),
    }
}

/// Has `read` read what a client sends that then closes its side, over a socket: buffers, lengths and ends are those of real life.
fn with_wire(bytes: &[u8], read: impl AsyncFnOnce(&mut Wire) -> Result<String, String>) -> Result<String, String> {
    thread_local! {
        static RUNTIME: io::Result<Runtime> = tokio::runtime::Builder::new_current_thread().enable_io().build();
    }
    RUNTIME.with(|runtime| {
        let runtime = runtime.as_ref().map_err(|error| format!("no runtime: {error}"))?;
        runtime.block_on(async {
            let (mut client, server) = pair().await.map_err(|error| format!("no socket: {error}"))?;
            let mut wire = Wire::new(server);
            let sending = async {
                // The server may have left before it read everything.
                let _ = client.write_all(bytes).await;
                let _ = client.shutdown().await;
                // What it answers has to go somewhere.
                let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
            };
            tokio::select! {
                biased;
                told = read(&mut wire) => told,
                () = sending => Err("the server closed a connection and reads on".to_owned()),
            }
        })
    })
}

async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (client, accepted) = tokio::try_join!(TcpStream::connect(listener.local_addr()?), listener.accept())?;
    // Ports of what was closed in order are held for a minute, and there are not as many of them as inputs.
    client.set_zero_linger()?;
    Ok((client, accepted.0))
}
