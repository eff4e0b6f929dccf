//! spanhouse: a warehouse for OpenTelemetry traces that answers SQL.
//!
//! # The life of a span
//!
//! 1. A listener in [`ingest`] takes an OTLP request off the wire, which [`access`] lets in, and undoes its compression within the size limit.
//! 2. [`otlp`] reads the protobuf bytes (JSON is first transcoded to them) into one Arrow batch of [`model::schema`] and lists
//!    the spans that it refuses.
//! 3. [`store`] appends the bytes to the write-ahead log, waits for the group's fsync, and publishes the batch among the fresh
//!    spans: from here on every new statement sees it. Only now is the request acknowledged.
//! 4. The sealer sorts fresh spans trace by trace, writes Parquet, commits the files and the log's low-water mark to the Delta
//!    table in one commit, and swaps table version and fresh spans in one step. Then the log is cut.
//!
//! # The life of a statement
//!
//! 1. [`server`] (or [`repl`], or a command in [`cli`]), whose client [`access`] lets in, hands the text to a session of [`engine`].
//! 2. The session parses it within limits, refuses what is not a read, and pins one snapshot: a table version and the fresh
//!    spans that it does not hold yet.
//! 3. Rules of ours make attributes compare as what they are compared with and ids compare as bytes; DataFusion plans the rest.
//! 4. The plan runs on the query runtime under a memory limit; rows stream back as the client takes them.
//!
//! Dependencies point downwards only, from `cli` to `error`; `tests/it/layering.rs` lists which folder may use which, and fails on any other use.

pub mod access;
pub mod admin;
pub mod analysis;
pub mod audit;
pub mod cli;
pub mod engine;
pub mod error;
pub mod formats;
#[doc(hidden)]
pub mod fuzzing;
pub mod generate;
pub mod ingest;
pub mod model;
pub mod otlp;
pub mod pg;
pub mod render;
pub mod repl;
pub mod report;
pub mod server;
pub mod store;
pub mod trust;
pub mod typed;
