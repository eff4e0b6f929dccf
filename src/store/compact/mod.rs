//! Compaction: which files to make into which, and the streaming merge that does it.
//!
//! The decision is a pure function over the files' descriptions; the merge reads and writes through the table's seams and holds a few
//! batches of each file. Knows nothing of commits.

mod cut;
mod input;
mod merge;
mod plan;
mod rewrite;
#[cfg(test)]
mod tests;

pub(crate) use input::memory_bytes;
pub(crate) use plan::{FileFacts, Job, PlanLimits, plan};
pub(crate) use rewrite::{Rewriter, Stop};
