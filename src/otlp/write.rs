//! Protobuf's wire format, written.

use prost::encoding::{encode_varint, encoded_len_varint};

use crate::error::Result;

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const FIXED_32: u32 = 5;

pub(super) fn push_varint(number: u32, value: u64, out: &mut Vec<u8>) {
    push_key(number, VARINT, out);
    encode_varint(value, out);
}

pub(super) fn push_fixed64(number: u32, value: u64, out: &mut Vec<u8>) {
    push_key(number, FIXED_64, out);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn push_fixed32(number: u32, value: u32, out: &mut Vec<u8>) {
    push_key(number, FIXED_32, out);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes bytes, a text, or a message that is encoded already.
pub(super) fn push_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    push_key(number, LENGTH_DELIMITED, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes the message that `write` appends, with its length before it; nothing when `write` says that there is none.
pub(super) fn push_message(
    number: u32,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<bool>,
) -> Result<()> {
    let field_start = out.len();
    push_key(number, LENGTH_DELIMITED, out);
    let start = out.len();
    if !write(out)? {
        out.truncate(field_start);
        return Ok(());
    }
    // The length comes first and is known last: the message moves up by the few bytes that the length takes.
    let len = (out.len() - start) as u64;
    let prefix_len = encoded_len_varint(len);
    out.resize(out.len() + prefix_len, 0);
    out[start..].rotate_right(prefix_len);
    encode_varint(len, &mut &mut out[start..start + prefix_len]);
    Ok(())
}

fn push_key(number: u32, wire_type: u32, out: &mut Vec<u8>) {
    encode_varint(u64::from(number << 3 | wire_type), out);
}
