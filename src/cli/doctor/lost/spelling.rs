//! What somebody may have meant who typed the id of a trace.
//!
//! Programs write the same id in many ways: hex of either case, with or without dashes, in base64 (protobuf's JSON), as a decimal number of 64 bits
//! (Datadog), without the zeros before it (Jaeger), and within the header `traceparent` of W3C.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::cli::exit;
use crate::error::{Error, Result};
use crate::model::{SpanId, TraceId};

/// Fewer hex digits are no id that somebody has copied from somewhere.
const LEAST_DIGITS: usize = 8;

/// What the text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::doctor) enum Id {
    Trace(TraceId),
    Span(SpanId),
}

/// One way to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::doctor) struct Reading {
    pub id: Id,
    /// How it is written, when that is not how SQL has it.
    pub how: Option<&'static str>,
    /// Whether the sender says that it is sampled, where it says anything.
    pub sampled: Option<bool>,
}

/// All ways to read a text, the likeliest first.
///
/// # Errors
/// A wrong command line, when there is none.
pub(in crate::cli::doctor) fn readings(text: &str) -> Result<Vec<Reading>> {
    let around = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '{' | '}' | '<' | '>' | '`' | ',');
    let text = text.trim_matches(around);
    let mut found = traceparent(text).map_or_else(|| bare(text), |reading| vec![reading]);
    found.dedup_by(|next, kept| next.id == kept.id);
    match found.is_empty() {
        false => Ok(found),
        true => {
            let shown: String = text.chars().take(60).collect();
            let error = Error::bad_input(format!("--trace: \"{shown}\" is no id of a trace"));
            Err(exit::usage(
                error
                    .with_hint("it has 32 hex digits, such as 4bf92f3577b34da6a3ce929d0e0e4736; that of a span has 16"),
            ))
        }
    }
}

/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`; the last bit of the flags says that it is sampled.
fn traceparent(text: &str) -> Option<Reading> {
    let parts: Vec<&str> = text.split('-').collect();
    let &[version, trace, span, flags] = parts.as_slice() else { return None };
    let flags = u8::from_str_radix(flags, 16).ok().filter(|_| version.len() == 2 && span.len() == 16)?;
    let id = Id::Trace(TraceId::from_hex(trace)?);
    Some(Reading { id, how: Some("as a traceparent header"), sampled: Some(flags & 1 == 1) })
}

fn bare(text: &str) -> Vec<Reading> {
    let reading = |id: Option<Id>, how: Option<&'static str>| id.map(|id| Reading { id, how, sampled: None });
    let plain: String = text.chars().filter(|c| !matches!(c, '-' | ':' | ' ' | '_')).collect();
    let (digits, has_prefix) = match plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        Some(digits) => (digits.to_owned(), true),
        None => (plain.clone(), false),
    };
    let how = match () {
        () if has_prefix => Some("with 0x before it"),
        () if plain.len() != text.len() => Some("with dashes or spaces"),
        () if digits.chars().any(|c| c.is_ascii_uppercase()) => Some("in upper case"),
        () => None,
    };
    let mut found = Vec::new();
    if let Some(id) = decimal(&digits) {
        found.extend(reading(trace(&id), Some("as a decimal number")));
        found.extend(reading(span(&id), Some("as a decimal number")));
    }
    if digits.chars().all(|c| c.is_ascii_hexdigit()) {
        match digits.len() {
            32 => found.extend(reading(trace(&digits), how)),
            16 => {
                found.extend(reading(span(&digits), Some("as the id of a span")));
                found.extend(reading(trace(&digits), Some("as an id of 64 bits, without the zeros before it")));
            }
            LEAST_DIGITS..32 => {
                found.extend(reading(trace(&digits), Some("without the zeros before it")));
                found.extend(reading(span(&digits), Some("without the zeros before it")));
            }
            _ => {}
        }
    }
    let bytes = base64(text);
    found.extend(reading(TraceId::from_bytes(&bytes).map(Id::Trace), Some("in base64")));
    found.extend(reading(SpanId::from_bytes(&bytes).map(Id::Span), Some("in base64")));
    found
}

/// The hex digits of a decimal number that no id in hex looks like: of 64 bits it has up to 20 digits, and an id in hex 16 or 32.
fn decimal(digits: &str) -> Option<String> {
    let may_be = (17..=20).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| may_be).map(|number| format!("{number:016x}"))
}

fn trace(digits: &str) -> Option<Id> {
    TraceId::from_hex(&format!("{digits:0>32}")).map(Id::Trace)
}

fn span(digits: &str) -> Option<Id> {
    SpanId::from_hex(&format!("{digits:0>16}")).map(Id::Span)
}

fn base64(text: &str) -> Vec<u8> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let standard = text.replace('-', "+").replace('_', "/");
    GeneralPurpose::new(&alphabet::STANDARD, config).decode(standard).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    /// The first reading: what it is, and how it is written.
    fn first(text: &str) -> (String, Option<&'static str>) {
        let reading = readings(text).expect(text).remove(0);
        let id = match reading.id {
            Id::Trace(id) => format!("trace {id}"),
            Id::Span(id) => format!("span {id}"),
        };
        (id, reading.how)
    }

    #[test]
    fn an_id_is_read_however_it_is_written() {
        let trace = format!("trace {ID}");
        for (text, how) in [
            (ID.to_owned(), None),
            (format!("  '{ID}', "), None),
            (ID.to_uppercase(), Some("in upper case")),
            ("4bf92f35-77b3-4da6-a3ce-929d0e0e4736".into(), Some("with dashes or spaces")),
            ("{4BF92F35-77B3-4DA6-A3CE-929D0E0E4736}".into(), Some("with dashes or spaces")),
            (format!("0x{ID}"), Some("with 0x before it")),
            // The bytes of the id in base64, as `xxd -r -p | base64` has them.
            ("S/kvNXezTaajzpKdDg5HNg==".into(), Some("in base64")),
            ("S_kvNXezTaajzpKdDg5HNg".into(), Some("in base64")),
        ] {
            assert_eq!(first(&text), (trace.clone(), how), "{text}");
        }
        let sampled = |flags: &str| readings(&format!("00-{ID}-00f067aa0ba902b7-{flags}")).expect("a header").remove(0);
        assert_eq!((sampled("01").sampled, sampled("00").sampled), (Some(true), Some(false)));
        assert_eq!(sampled("01").how, Some("as a traceparent header"));
    }

    #[test]
    fn short_ids_are_those_of_spans_or_of_traces_of_64_bits() {
        assert_eq!(first("00f067aa0ba902b7"), ("span 00f067aa0ba902b7".into(), Some("as the id of a span")));
        let second = readings("00f067aa0ba902b7").expect("two").remove(1);
        assert_eq!(Some(second.id), trace("00f067aa0ba902b7"));
        // 67667974448284343 is 0xf067aa0ba902b7.
        assert_eq!(
            first("67667974448284343"),
            ("trace 000000000000000000f067aa0ba902b7".into(), Some("as a decimal number"))
        );
        assert_eq!(
            first("f067aa0ba902b7"),
            ("trace 000000000000000000f067aa0ba902b7".into(), Some("without the zeros before it"))
        );
        assert_eq!(first("APBnqgupArc="), ("span 00f067aa0ba902b7".into(), Some("in base64")));
    }

    #[test]
    fn what_is_no_id_is_told_so() {
        for text in ["", "hello", "abc", &"0".repeat(32), &"a".repeat(33), "checkout-service"] {
            let error = readings(text).expect_err(text);
            assert!(error.message.ends_with("is no id of a trace") && error.hint.is_some(), "{error}");
        }
    }
}
