//! `trace_id IN (SELECT …)`: the spans of the traces that another plan finds.
//!
//! A hash join brings all spans to the partitions of a table and hashes each. The spans of a trace lie together, so here the ids that were found are
//! a set that all partitions share, and each trace is looked for once: spans stay where they are read. The scan learns the set too, and leaves out
//! what is of other traces before it takes any other column.

mod exec;
mod ids;
mod rule;

pub(super) use exec::AmongTracesExec;
pub(super) use rule::AmongTraces;
