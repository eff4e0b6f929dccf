//! What a span is: the Arrow schema that fresh and stored spans share, ids, and the text form of attribute values.
//!
//! Knows Arrow and nothing of protocols, files or SQL.

mod attributes;
mod ids;
pub mod schema;

pub use attributes::{AttributeType, attribute_types_are_all_strings};
pub use ids::{SpanId, TraceId};
