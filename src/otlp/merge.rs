//! Protobuf lets a message that may stand once stand several times: the parts then merge, field by field, which is what the
//! concatenation of their bytes means. No encoder does so; the decoder meets it here, away from its fast path.

use std::collections::BTreeMap;

use super::limits::MAX_VALUE_LEVELS;
use super::value::{AnyValue, ValueFault, field, write_value};
use super::wire::{Fields, WireError, WireFault};
use super::write::push_bytes;

/// Rewrites a request so that every message that may stand once does.
pub(super) fn merge_repeated(payload: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(payload.len());
    merge(payload, &REQUEST, MAX_LEVELS, &mut out)?;
    Ok(out)
}

/// Levels of messages: request, resource, scope, span, event, attribute, and two a value (`AnyValue` and its list) with a `KeyValue` between.
const MAX_LEVELS: usize = 8 + 3 * MAX_VALUE_LEVELS;

/// The messages inside a message: number, whether it stands once, and what is inside it.
struct Shape {
    inner: &'static [(u32, Occurs, &'static Shape)],
}

#[derive(Clone, Copy, PartialEq)]
enum Occurs {
    Once,
    /// Once, and any other field of the message takes its place.
    OneOf,
    Often,
}

static REQUEST: Shape = Shape { inner: &[(1, Occurs::Often, &RESOURCE_SPANS)] };
static RESOURCE_SPANS: Shape = Shape { inner: &[(1, Occurs::Once, &RESOURCE), (2, Occurs::Often, &SCOPE_SPANS)] };
static RESOURCE: Shape = Shape { inner: &[(1, Occurs::Often, &KEY_VALUE)] };
static SCOPE_SPANS: Shape = Shape { inner: &[(1, Occurs::Once, &SCOPE), (2, Occurs::Often, &SPAN)] };
static SCOPE: Shape = Shape { inner: &[(3, Occurs::Often, &KEY_VALUE)] };
static SPAN: Shape = Shape {
    inner: &[
        (9, Occurs::Often, &KEY_VALUE),
        (11, Occurs::Often, &EVENT),
        (13, Occurs::Often, &LINK),
        (15, Occurs::Once, &STATUS),
    ],
};
static EVENT: Shape = Shape { inner: &[(3, Occurs::Often, &KEY_VALUE)] };
static LINK: Shape = Shape { inner: &[(4, Occurs::Often, &KEY_VALUE)] };
static STATUS: Shape = Shape { inner: &[] };
static KEY_VALUE: Shape = Shape { inner: &[(field::VALUE, Occurs::Once, &ANY_VALUE)] };
static ANY_VALUE: Shape =
    Shape { inner: &[(field::ARRAY, Occurs::OneOf, &ARRAY), (field::KEY_VALUE_LIST, Occurs::OneOf, &KEY_VALUE_LIST)] };
static ARRAY: Shape = Shape { inner: &[(field::VALUES, Occurs::Often, &ANY_VALUE)] };
static KEY_VALUE_LIST: Shape = Shape { inner: &[(field::VALUES, Occurs::Often, &KEY_VALUE)] };

fn merge(message: &[u8], shape: &Shape, levels_left: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
    if levels_left == 0 {
        return Err(WireError::at(WireFault::ValuesTooDeep, message));
    }
    let is_one_of = shape.inner.iter().any(|(_, occurs, _)| *occurs == Occurs::OneOf);
    let mut once: BTreeMap<u32, (&Shape, Vec<u8>)> = BTreeMap::new();
    let mut fields = Fields::of(message);
    let mut before = message;
    while let Some(read) = fields.next()? {
        let inner = shape.inner.iter().find(|(number, _, _)| *number == read.number);
        if is_one_of && is_value(read.number) {
            for (number, (inner, parts)) in std::mem::take(&mut once) {
                if number == read.number {
                    once.insert(number, (inner, parts));
                } else {
                    check_replaced(number, &parts, inner, levels_left - 1)?;
                }
            }
        }
        match inner {
            None => out.extend_from_slice(&before[..before.len() - fields.rest().len()]),
            Some((_, Occurs::Often, inner)) => {
                let mut merged = Vec::new();
                merge(read.bytes(&fields)?, inner, levels_left - 1, &mut merged)?;
                push_bytes(read.number, &merged, out);
            }
            Some((_, _, inner)) => {
                let (_, parts) = once.entry(read.number).or_insert_with(|| (inner, Vec::new()));
                parts.extend_from_slice(read.bytes(&fields)?);
            }
        }
        before = fields.rest();
    }
    for (number, (inner, parts)) in once {
        let mut merged = Vec::new();
        merge(&parts, inner, levels_left - 1, &mut merged)?;
        push_bytes(number, &merged, out);
    }
    Ok(())
}

/// Reads a list that another value takes the place of: it is no part of the request, and has to be a message all the same, down to the deepest
/// level that values may have.
fn check_replaced(number: u32, parts: &[u8], shape: &Shape, levels_left: usize) -> Result<(), WireError> {
    let mut merged = Vec::new();
    let read = merge(parts, shape, levels_left, &mut merged).map_err(ValueFault::Wire).and_then(|()| {
        let value = if number == field::ARRAY { AnyValue::Array(&merged) } else { AnyValue::KeyValueList(&merged) };
        write_value(value, &mut String::new())
    });
    match read {
        // Not where it lies: the bytes that were merged are gone.
        Err(ValueFault::Wire(error)) if error.what != WireFault::ValuesTooDeep => Err(WireError::at(error.what, &[])),
        _ => Ok(()),
    }
}

/// Whether a field of `AnyValue` is a value, of which only the last counts.
fn is_value(number: u32) -> bool {
    (field::STRING..=field::STRING_INDEX).contains(&number)
}
