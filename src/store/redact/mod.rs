//! Redaction: taking chosen spans out of the files of the table.
//!
//! A [`SpanFilter`] says which spans are meant; what it is made from, SQL for one, is for levels above to know. The files that hold such
//! spans are found by reading what the filter reads, and written anew without them.

mod filter;
mod report;
mod rewrite;
mod survey;

pub use filter::{SpanFilter, TraceFilter};
pub use report::{RedactReport, RedactedFile};
pub(crate) use rewrite::{Rewritten, rewrite_all};
pub(crate) use survey::{Files, survey};
pub use survey::{FoundSpans, find_spans};
