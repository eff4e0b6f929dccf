//! The PostgreSQL wire protocol, version 3: sessions over [`crate::engine`], one task a client.
//!
//! # The life of a statement here
//!
//! 1. [`listener`] accepts a client within its bounds; [`startup`] answers what comes before a session, and [`authentication`] has the
//!    client prove who it is.
//! 2. [`connection`] takes whole messages off the [`wire`], [`frontend`] reads them with every length checked.
//! 3. [`simple`] and [`extended`] know the two protocols; [`sql`] knows whose a statement is: transactions, cursors, prepared
//!    statements and copies are the connection's, all else goes to the engine ([`execute`]).
//! 4. A [`cursor`] pulls batches from the engine and [`row`] writes their rows into the output buffer, which is flushed
//!    as it fills: a client that reads slowly stops the pulling, and one that leaves or cancels drops the result.
//!
//! pgwire gives the messages that the server sends; reading is done here, because its decoders trust what clients say.

mod audited;
mod authentication;
mod backend;
mod connection;
mod copy_out;
mod cursor;
mod databases;
mod execute;
mod extended;
mod frontend;
#[doc(hidden)]
pub mod fuzzing;
mod listener;
mod parameters;
mod rights;
mod row;
mod settings;
mod simple;
mod sql;
mod startup;
mod statement;
mod transaction;
mod wire;

pub use databases::Databases;
pub use listener::serve;
pub use settings::ServerSettings;
