//! `internal.span_tree`: spans with their places in the trees of their traces.
//!
//! A filter never reaches a tree: it chooses traces, of which trees are made as a whole, and rows are filtered above. Knows the table of spans and
//! the operators on whole traces. Does not know SQL.

mod table;

pub(super) use table::SpanTreeTable;
