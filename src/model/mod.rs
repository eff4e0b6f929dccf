//! What a span is: the Arrow schema that fresh and stored spans share, ids, the text form of attribute values, JSON strings, and spans
//! in memory.
//!
//! Knows Arrow and nothing of protocols, files or SQL.

mod attributes;
mod ids;
mod json;
pub mod promoted;
pub mod schema;
mod span_batch;

pub use attributes::{AttributeType, attribute_types_are_all_strings, bool_text, write_double, write_int};
pub use ids::{SpanId, TraceId};
pub use json::{push_json_string, push_json_string_with};
pub use span_batch::{SpanBatch, default_column, is_of_owner};
