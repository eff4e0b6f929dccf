//! Operators on whole traces: spans of a trace brought together without hashing or repartitioning all spans, and what is done trace by
//! trace on top.
//!
//! Knows the scan of spans in pieces, and DataFusion's expressions. Does not know SQL.

mod aggregate;
mod aggregate_stream;
mod chunks;
mod gather;
mod join;
mod join_stream;
mod large;
mod local;
mod matching;
mod parts;
mod per_trace;
mod recursion;
mod recursion_stream;
mod runs;
mod splits;
#[cfg(test)]
mod tests;
mod tree;
mod tree_attributes;
mod tree_bytes;
mod tree_columns;
mod tree_made;
mod tree_stream;
mod whole;
mod window;
mod window_stream;
mod within;

pub(super) use aggregate::TraceAggregate;
pub(super) use join::TraceJoin;
pub(super) use local::{Local, any_scan_below, scan_below, whole_below};
pub(super) use per_trace::{PerTraceExec, gives_spans_of_traces};
pub(super) use recursion::TraceRecursion;
pub(super) use splits::KnownRuns;
pub(super) use tree::{Given, TraceTree};
pub(super) use tree_columns::TreeColumn;
pub(super) use whole::WholeTracesExec;
pub(super) use window::TraceWindow;
