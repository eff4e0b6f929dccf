//! Compaction: which files to make into which, and the streaming merge that does it.
//!
//! The decision is a pure function over the files' descriptions; the merge reads and writes through the table's seams and holds a few
//! batches of each file. Knows nothing of commits.

mod backlog;
mod cut;
mod input;
mod merge;
mod plan;
mod rewrite;
mod sum;
#[cfg(test)]
mod tests;

pub use backlog::Backlog;
pub(crate) use backlog::{backlog, facts_of, is_ours};
pub(crate) use input::{FileInput, InFile};
pub(crate) use merge::Input;
pub(crate) use plan::{Job, PlanLimits, plan};
pub(crate) use rewrite::{Rewriter, Stop};
pub(crate) use sum::is_whole_with;
