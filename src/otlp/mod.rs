//! OTLP bytes to Arrow: a protobuf reader over the buffer, the decoder, and the transcoder from OTLP JSON.
//!
//! Knows the wire format and [`crate::model`]; does no input or output.

mod decode;

pub use decode::{Decoded, Refusals, decode_export};
