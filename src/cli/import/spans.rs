//! Counts a request's spans and tells its trace ids, by a walk over the protobuf that builds nothing.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::form::varint;

/// Trace ids that are held; past it the count becomes an estimate, with an error of about 0.1 %.
const HELD_IDS: usize = 1 << 20;

/// How many traces were seen: exact up to [`HELD_IDS`], an estimate past it.
///
/// Holds the hashes that end in `dropped_bits` zeros and doubles the demand when there are too many (Wegman's adaptive sampling).
#[derive(Debug, Default)]
pub(super) struct TraceCount {
    hashes: HashSet<u64>,
    dropped_bits: u32,
}

impl TraceCount {
    pub(super) fn add(&mut self, trace_id: &[u8]) {
        let hash = xxh3_64(trace_id);
        if !self.is_held(hash) {
            return;
        }
        self.hashes.insert(hash);
        while self.hashes.len() > HELD_IDS {
            self.dropped_bits += 1;
            let bits = self.dropped_bits;
            self.hashes.retain(|hash| hash.trailing_zeros() >= bits);
        }
    }

    pub(super) fn estimate(&self) -> u64 {
        (self.hashes.len() as u64) << self.dropped_bits
    }

    pub(super) fn is_exact(&self) -> bool {
        self.dropped_bits == 0
    }

    fn is_held(&self, hash: u64) -> bool {
        hash.trailing_zeros() >= self.dropped_bits
    }
}

/// Calls `found` with each span's trace id and gives the number of spans, as far as the bytes can be walked.
pub(super) fn walk(request: &[u8], found: &mut dyn FnMut(&[u8])) -> u64 {
    let mut spans = 0;
    // ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans, Span.trace_id
    messages(request, 1, &mut |resource_spans| {
        messages(resource_spans, 2, &mut |scope_spans| {
            messages(scope_spans, 2, &mut |span| {
                spans += 1;
                messages(span, 1, &mut *found);
            });
        });
    });
    spans
}

/// Calls `found` with the contents of each length-delimited field of this number.
fn messages(mut bytes: &[u8], wanted: u64, found: &mut dyn FnMut(&[u8])) {
    while let Some((key, used)) = varint(bytes) {
        bytes = &bytes[used..];
        let length = match key & 7 {
            0 => varint(bytes).map(|(_, used)| used),
            1 => Some(8),
            5 => Some(4),
            2 => varint(bytes).and_then(|(length, used)| {
                bytes = &bytes[used..];
                usize::try_from(length).ok()
            }),
            _ => None,
        };
        let Some(content) = length.and_then(|length| bytes.get(..length)) else { return };
        if key == wanted << 3 | 2 {
            found(content);
        }
        bytes = &bytes[content.len()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Generator, Limit, Parameters};

    #[test]
    fn the_walk_finds_every_span_and_trace() {
        let mut generator = Generator::new(Parameters { limit: Limit::Spans(5_000), ..Parameters::default() });
        let (mut spans, mut traces) = (0, TraceCount::default());
        for request in generator.by_ref() {
            spans += walk(&request.payload, &mut |id| traces.add(id));
        }
        assert_eq!((spans, traces.estimate()), (5_000, generator.facts().traces));
        assert_eq!(walk(&[0xff; 30], &mut |_| {}), 0);
    }

    #[test]
    fn past_the_bound_the_count_is_an_estimate_that_says_so() {
        let mut traces = TraceCount::default();
        let many = 3 * HELD_IDS as u64;
        for id in 0..many {
            traces.add(&id.to_le_bytes());
        }
        assert!(!traces.is_exact());
        let error = traces.estimate() as f64 / many as f64 - 1.0;
        assert!(error.abs() < 0.01, "{error}");
    }
}
