//! The bodies of all fuzz targets, by name: `fuzz/` runs them under a fuzzer, `tests/it/fuzz_corpora.rs` over the corpora and mutations of these.
//!
//! A body reads bytes of a stranger and says what became of them, in words that tell apart what the code under it did; a text in the error is a
//! finding. A panic is one, too.

use crate::formats;
use crate::otlp;
use crate::server;
use crate::store;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its file in `fuzz/fuzz_targets` and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    pub body: fn(&[u8]) -> Result<String, String>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "otlp_protobuf", body: otlp::fuzzing::protobuf },
    Target { name: "otlp_json", body: otlp::fuzzing::json },
    Target { name: "jaeger_json", body: formats::fuzzing::jaeger },
    Target { name: "zipkin_json", body: formats::fuzzing::zipkin },
    Target { name: "wal", body: store::fuzzing::log },
    Target { name: "sql", body: server::fuzzing::sql },
    Target { name: "pg_startup", body: server::fuzzing::startup },
    Target { name: "pg_messages", body: server::fuzzing::messages },
];
