//! Realistic traces from a seed: a web shop of 21 services, with everything that makes real traces awkward.
//!
//! Lognormal latencies, parallel and sequential fan-out, retries, N+1 queries, error bursts that start in one service and climb,
//! consumers in traces of their own with links, spans that arrive minutes late, parents that never arrive, clocks that disagree.
//! Pure: seed and parameters give the same bytes on every machine. Knows OTLP's wire format and does no input or output.

mod attributes;
mod facts;
mod fleet;
mod generator;
mod incident;
mod json;
mod random;
mod shop;
mod span;
mod topology;
mod visitor;
mod walk;
mod wire;

pub use facts::{EdgeFacts, Facts, ServiceFacts};
pub use generator::{DEFAULT_START_NS, Generator, Limit, Parameters, Request};
