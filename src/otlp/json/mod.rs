//! OTLP JSON becomes OTLP protobuf, so that one decoder and one log format serve both encodings.

mod plain;
mod reader;
mod schema;
mod transcode;

pub(in crate::otlp) use plain::plain_to_any_value;
pub(in crate::otlp) use transcode::any_value_to_protobuf;
pub use transcode::json_to_protobuf;
