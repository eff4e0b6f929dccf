//! What hostile files of other formats must not do: bodies for fuzzers and tests.

use prost::Message;

use super::{Converted, jaeger, zipkin};
use crate::error::{Kind, Result};
use crate::otlp::fuzzing::protobuf;

/// Jaeger JSON: see [`converted`].
///
/// # Errors
/// When that does not hold.
pub fn jaeger(bytes: &[u8]) -> Result<String, String> {
    converted(bytes, jaeger::from_json)
}

/// Zipkin JSON: see [`converted`].
///
/// # Errors
/// When that does not hold.
pub fn zipkin(bytes: &[u8]) -> Result<String, String> {
    converted(bytes, zipkin::from_json)
}

/// A file is refused by its own fault, or becomes the same request each time, which is read as any other.
fn converted(bytes: &[u8], convert: impl Fn(&[u8]) -> Result<Converted>) -> Result<String, String> {
    let made = match convert(bytes) {
        Ok(made) => made,
        Err(error) if error.kind == Kind::BadInput => return Ok(error.message.into_owned()),
        Err(error) => return Err(format!("a file is to blame for {:?}: {error}", error.kind)),
    };
    let request = made.request.encode_to_vec();
    match convert(bytes) {
        Ok(again) if again.request.encode_to_vec() == request && again.refused == made.refused => {}
        _ => return Err("the same file becomes another request".to_owned()),
    }
    let refused: Vec<&str> = made.refused.iter().map(|span| span.why.as_str()).collect();
    Ok(format!("{}; {}", protobuf(&request)?, refused.join("; ")))
}
