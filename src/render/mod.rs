//! Query results as text for people and as bytes for programs: table, CSV, JSON, NDJSON, Markdown, HTML, Parquet.
//!
//! Knows Arrow and nothing of where rows come from or go to. A [`Writer`] takes batches as they are made and holds at most one
//! chunk of them, so that a result of any length is written in bounded memory.

mod cell;
mod counted;
mod delimited;
mod format;
mod html;
mod json;
mod markdown;
mod parquet;
mod plan;
mod sanitize;
mod table;
mod visible;
mod writer;

pub use cell::cell_text;
pub(crate) use cell::{CellStyle, is_number};
pub use counted::count;
pub use format::Format;
pub use plan::with_plan_lines;
pub use sanitize::{push_sanitized, sanitize};
pub use visible::Visible;
pub use writer::{Expanded, RenderOptions, Writer, write_all};
