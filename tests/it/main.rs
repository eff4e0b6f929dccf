//! The one integration binary: each module is a topic.
//!
//! - `crash`: `kill -9` under load loses and repeats nothing.
//! - `facts`: real traces answer what a separate program computed.
//! - `layering`: folders depend downwards only.
//! - `sdk`: the OpenTelemetry SDKs of Python and Node export for real.
//! - `support`: real servers and clients for the other topics.
//! - `pg`: a PostgreSQL server in this process, for the topics below.
//! - `pg_simple`: the simple protocol, through a client library.

mod crash;
mod facts;
mod layering;
mod pg;
mod pg_simple;
mod sdk;
mod support;
