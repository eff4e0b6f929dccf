//! OTLP bytes to Arrow: a protobuf reader over the buffer, the decoder, the encoder back, and the transcoder from OTLP JSON.
//!
//! Knows the wire format and [`crate::model`]; does no input or output.

mod attributes;
mod columns;
mod decode;
mod encode;
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod limits;
mod lists;
mod maps;
mod merge;
mod owner;
mod rare;
mod refusals;
mod rewrite;
#[cfg(test)]
mod roundtrip;
mod span;
mod value;
mod wire;
mod write;

pub use decode::{Decoded, decode_export};
pub use encode::encode_export;
pub use json::json_to_protobuf;
pub use refusals::{RefusalReason, Refusals};
pub use rewrite::{Censor, Entry, Owner, TextPlace, Value, Verdict, rewrite_export};
