//! A span of version 1 becomes one of version 2, or two: the sides of a call.

use serde_json::Value as Json;

use super::{Annotation, BinaryAnnotation, Endpoint, ZipkinSpan};

/// The sides that a call has, and what annotations say of each.
const SIDES: [Side; 4] = [
    Side { kind: "CLIENT", marks: &["cs", "cr"], begins: "cs", ends: "cr", remote: "sa" },
    Side { kind: "SERVER", marks: &["sr", "ss"], begins: "sr", ends: "ss", remote: "ca" },
    Side { kind: "PRODUCER", marks: &["ms"], begins: "ms", ends: "ws", remote: "ma" },
    Side { kind: "CONSUMER", marks: &["mr"], begins: "wr", ends: "mr", remote: "ma" },
];

struct Side {
    kind: &'static str,
    /// The annotations that say that the side is there; the wire's alone do not.
    marks: &'static [&'static str],
    begins: &'static str,
    ends: &'static str,
    /// The binary annotation whose endpoint is the other side's.
    remote: &'static str,
}

/// The spans of version 2 that a span is; a span of version 2 is itself.
pub(super) fn halves(span: ZipkinSpan) -> Vec<ZipkinSpan> {
    let is_mark = |annotation: &Annotation| SIDES.iter().any(|side| side.marks.contains(&&*annotation.value));
    let is_v1 = !span.binary_annotations.is_empty()
        || span.annotations.iter().any(|annotation| annotation.endpoint.is_some())
        || span.kind.is_empty() && span.local_endpoint.is_none() && span.annotations.iter().any(is_mark);
    if !is_v1 {
        return vec![span];
    }
    let at = |value: &str| span.annotations.iter().find(|annotation| annotation.value == value);
    let sides: Vec<&Side> = SIDES.iter().filter(|side| side.marks.iter().any(|mark| at(mark).is_some())).collect();
    let base = ZipkinSpan {
        trace_id: span.trace_id.clone(),
        id: span.id.clone(),
        parent_id: span.parent_id.clone(),
        name: span.name.clone(),
        ..ZipkinSpan::default()
    };
    let mut halves: Vec<ZipkinSpan> = sides.iter().map(|side| half(side, &span, &base, sides.len() == 1)).collect();
    if halves.is_empty() {
        halves.push(local(&span, base));
    }
    let core: Vec<&str> = sides.iter().flat_map(|side| [side.begins, side.ends]).collect();
    for annotation in &span.annotations {
        if !core.contains(&&*annotation.value) {
            let event = Annotation { endpoint: None, ..annotation.clone() };
            of_endpoint(&mut halves, annotation.endpoint.as_ref()).annotations.push(event);
        }
    }
    for annotation in &span.binary_annotations {
        if !is_address(annotation) {
            let value = annotation.value.clone();
            of_endpoint(&mut halves, annotation.endpoint.as_ref()).tags.insert(annotation.key.clone(), value);
        }
    }
    halves
}

/// The side of a call as a span of its own. The span's own times are those of the only side, or of the client.
fn half(side: &Side, span: &ZipkinSpan, base: &ZipkinSpan, is_only: bool) -> ZipkinSpan {
    let at = |value: &str| span.annotations.iter().find(|annotation| annotation.value == value);
    let (begins, ends) = (at(side.begins), at(side.ends));
    let own = is_only || matches!(side.kind, "CLIENT" | "PRODUCER");
    let timestamp = begins.map(|begins| begins.timestamp);
    let timestamp = if own { span.timestamp.or(timestamp) } else { timestamp.or(span.timestamp) };
    let measured = ends.zip(timestamp).map(|(ends, began)| ends.timestamp.saturating_sub(began));
    let duration = if own { span.duration.or(measured) } else { measured };
    let address =
        |key: &str| span.binary_annotations.iter().find(|annotation| annotation.key == key && is_address(annotation));
    ZipkinSpan {
        kind: side.kind.to_owned(),
        // A side that has only ended began at an unknown time.
        timestamp: timestamp.or(ends.map(|ends| ends.timestamp)),
        duration,
        local_endpoint: begins.or(ends).and_then(|annotation| annotation.endpoint.clone()),
        remote_endpoint: address(side.remote).and_then(|annotation| annotation.endpoint.clone()),
        ..base.clone()
    }
}

/// A span that is no call.
fn local(span: &ZipkinSpan, base: ZipkinSpan) -> ZipkinSpan {
    let endpoints = span
        .binary_annotations
        .iter()
        .filter(|annotation| !is_address(annotation))
        .map(|annotation| &annotation.endpoint)
        .chain(span.annotations.iter().map(|annotation| &annotation.endpoint));
    let local_endpoint = endpoints.flatten().next().cloned();
    ZipkinSpan { timestamp: span.timestamp, duration: span.duration, local_endpoint, ..base }
}

fn is_address(annotation: &BinaryAnnotation) -> bool {
    let is_true = annotation.value == Json::Bool(true) || annotation.value == "true";
    matches!(annotation.key.as_str(), "sa" | "ca" | "ma") && is_true
}

/// The half that an endpoint's service is on, or the first.
fn of_endpoint<'h>(halves: &'h mut [ZipkinSpan], endpoint: Option<&Endpoint>) -> &'h mut ZipkinSpan {
    let service = |endpoint: Option<&Endpoint>| endpoint.map(|endpoint| endpoint.service_name.clone());
    let wanted = service(endpoint);
    let place = halves.iter().position(|half| wanted.is_some() && service(half.local_endpoint.as_ref()) == wanted);
    &mut halves[place.unwrap_or(0)]
}
