//! Retention: which spans no statement sees any more, and what that frees on disk.
//!
//! A span has expired when its start is older than what it is kept for at the moment the statement's snapshot is taken. What a span is kept for
//! is the table's age, or what the rules say that a span of its trace matches. To know that, the traces that match are read out of the files of old
//! days, once a file. Nothing here commits.

mod announce;
mod expiry;
mod filter;
mod matches;
mod memory;
mod rules;

pub(crate) use announce::announce;
pub use announce::announced;
pub use expiry::Expiry;
pub(crate) use expiry::{expiry_of, newly_past, wholly_expired};
pub(crate) use filter::Expired;
pub(crate) use memory::MatchMemory;
pub use rules::{MOST_RULES, Retention, RetentionRule};
