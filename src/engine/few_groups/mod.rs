//! Partial aggregation over few groups of text: services, operations, attribute values.
//!
//! DataFusion hashes and compares the text of every row. Here a text gets a small number when it is first met; a row's text is known again by its
//! 16-byte view, and rows are grouped by those numbers. Accumulators are DataFusion's, and so is the final aggregation above.

mod exec;
mod lanes;
mod places;
mod rule;
mod table;

pub(super) use rule::FewGroups;
