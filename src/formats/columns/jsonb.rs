//! JSON in the binary form that GreptimeDB and Databend keep it in, and export it in.
//!
//! A container is a header of four bytes, an entry of four bytes a part, and the parts; all numbers are big-endian:
//!
//! ```text
//! header  kind: 3 bits (100 array, 010 object, 001 scalar)   count: 29 bits
//! entry   flag: 1 bit   kind: 3 bits (0 null, 1 string, 2 number, 3 false, 4 true, 5 container)   length in bytes: 28 bits
//! number  kind: 1 byte (00 zero, 10 NaN, 20 ∞, 30 −∞, 40 int, 50 uint, 60 double)   0, 1, 2, 4 or 8 bytes
//! ```
//!
//! An object has the entries of all keys before those of all values.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

const ARRAY: u32 = 0b100;
const OBJECT: u32 = 0b010;
const SCALAR: u32 = 0b001;
const COUNT_MASK: u32 = 0x1fff_ffff;
const LENGTH_MASK: u32 = 0x0fff_ffff;

/// Containers in one another; OTLP's values have fewer.
const MAX_LEVELS: usize = 32;

/// Reads a value; `None` when the bytes are none, the outer one for null.
pub(super) fn decode(bytes: &[u8]) -> Option<Option<Value>> {
    container(bytes, MAX_LEVELS)
}

fn container(bytes: &[u8], levels: usize) -> Option<Option<Value>> {
    let levels = levels.checked_sub(1)?;
    let header = word(bytes, 0)?;
    let count = (header & COUNT_MASK) as usize;
    match header >> 29 {
        ARRAY => {
            let values = parts(bytes, count)?.into_iter();
            let values = values.map(|(kind, part)| Some(AnyValue { value: value(kind, part, levels)? }));
            Some(Some(Value::ArrayValue(ArrayValue { values: values.collect::<Option<_>>()? })))
        }
        OBJECT => {
            let mut keys = parts(bytes, count.checked_mul(2)?)?;
            let values = keys.split_off(count);
            let entry = |((_, key), (kind, part)): (Part, Part)| {
                let key = std::str::from_utf8(key).ok()?.to_owned();
                let value = Some(AnyValue { value: value(kind, part, levels)? });
                Some(KeyValue { key, value, ..KeyValue::default() })
            };
            let values = keys.into_iter().zip(values).map(entry).collect::<Option<_>>()?;
            Some(Some(Value::KvlistValue(KeyValueList { values })))
        }
        SCALAR => {
            let (kind, part) = parts(bytes, 1)?.pop()?;
            value(kind, part, levels)
        }
        _ => None,
    }
}

/// The kind and the bytes of a part of a container.
type Part<'a> = (u32, &'a [u8]);

/// The parts of a container.
fn parts(bytes: &[u8], count: usize) -> Option<Vec<Part<'_>>> {
    let mut at = count.checked_add(1)?.checked_mul(4).filter(|at| *at <= bytes.len())?;
    let entry = |place| {
        let entry = word(bytes, 4 * (place + 1))?;
        let end = at.checked_add((entry & LENGTH_MASK) as usize)?;
        let part = bytes.get(at..end)?;
        at = end;
        Some((entry >> 28 & 0b111, part))
    };
    (0..count).map(entry).collect()
}

/// The four bytes at a place as a number.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_be_bytes(*word))
}

fn value(kind: u32, part: &[u8], levels: usize) -> Option<Option<Value>> {
    match kind {
        0 => Some(None),
        1 => Some(Some(Value::StringValue(std::str::from_utf8(part).ok()?.to_owned()))),
        2 => number(part).map(Some),
        3 => Some(Some(Value::BoolValue(false))),
        4 => Some(Some(Value::BoolValue(true))),
        5 => container(part, levels),
        _ => None,
    }
}

fn number(part: &[u8]) -> Option<Value> {
    let (kind, digits) = part.split_first()?;
    let unsigned = || {
        let mut wide = [0; 8];
        wide.get_mut(8_usize.checked_sub(digits.len())?..)?.copy_from_slice(digits);
        Some(u64::from_be_bytes(wide))
    };
    Some(match *kind {
        0x00 => Value::IntValue(0),
        0x10 => Value::DoubleValue(f64::NAN),
        0x20 => Value::DoubleValue(f64::INFINITY),
        0x30 => Value::DoubleValue(f64::NEG_INFINITY),
        0x40 => {
            let unused_bits = 8 * u32::try_from(8_usize.checked_sub(digits.len())?).ok()?;
            // The sign moves to the top and comes down again with its copies.
            Value::IntValue((unsigned()?.checked_shl(unused_bits)? as i64) >> unused_bits)
        }
        0x50 => Value::IntValue(i64::try_from(unsigned()?).ok()?),
        0x60 => Value::DoubleValue(f64::from_bits(unsigned().filter(|_| digits.len() == 8)?)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::otlp_json::plain_json;

    fn told(bytes: &[u8]) -> Option<String> {
        decode(bytes).map(|value| value.as_ref().map_or("null".to_owned(), |value| plain_json(value).to_string()))
    }

    #[test]
    fn values_are_read_by_their_layout() {
        // [{"name": "e", "n": -2}, true, null], each part written out by hand.
        let object = [
            &[0x40, 0, 0, 2][..],
            &[0x10, 0, 0, 1, 0x10, 0, 0, 4, 0x20, 0, 0, 2, 0x10, 0, 0, 1],
            b"nname",
            &[0x40, 0xfe],
            b"e",
        ]
        .concat();
        let length = u8::try_from(object.len()).expect("short");
        let head = [0x80, 0, 0, 3, 0x50, 0, 0, length, 0x40, 0, 0, 0, 0, 0, 0, 0];
        let list = [&head[..], &object].concat();
        assert_eq!(told(&list).as_deref(), Some(r#"[{"n":-2,"name":"e"},true,null]"#));
        let scalar = |number: &[u8]| {
            let length = u8::try_from(number.len()).expect("short");
            told(&[&[0x20, 0, 0, 0, 0x20, 0, 0, length][..], number].concat())
        };
        assert_eq!(scalar(&[0x00]).as_deref(), Some("0"));
        assert_eq!(scalar(&[0x40, 0xff, 0x00]).as_deref(), Some("-256"));
        assert_eq!(scalar(&[0x50, 0xff, 0x00, 0x00, 0x00]).as_deref(), Some("4278190080"));
        assert_eq!(scalar(&[&[0x60][..], &1.5_f64.to_be_bytes()].concat()).as_deref(), Some("1.5"));
        assert_eq!(told(&[0x80, 0, 0, 0]).as_deref(), Some("[]"));
        for wrong in [&b"[]"[..], &[0x80, 0, 0, 1], &[0xff; 12], &list[..list.len() - 1], &[]] {
            assert_eq!(told(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn containers_in_one_another_have_a_limit() {
        let mut bytes = vec![0x80, 0, 0, 0];
        for _ in 0..100 {
            let length = u32::try_from(bytes.len()).expect("short");
            bytes = [&[0x80, 0, 0, 1][..], &(0x5000_0000 | length).to_be_bytes(), &bytes].concat();
        }
        assert_eq!(told(&bytes), None);
    }
}
