//! OTLP JSON becomes OTLP protobuf, so that one decoder and one log format serve both encodings.

mod reader;
mod schema;
mod transcode;

pub use transcode::json_to_protobuf;
