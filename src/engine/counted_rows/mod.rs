//! Rows of a range of time that are only counted: what files say of their pages is enough for all but the pages at the range's ends.
//!
//! `SELECT count(*) FROM spans WHERE timestamp >= … AND timestamp < …` is a filter whose rows have no columns left. A file that lies wholly
//! in the range has as many rows as the table's log says, and so have row groups and pages by the file's footer; only pages that the range
//! cuts are read.

mod exec;
mod range;
mod rule;

pub(super) use range::range_of;
pub(super) use rule::CountedRows;
