//! Requests that are sent again at another time: times are moved, and ids made new if they shall not meet those of the first time.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// How requests are changed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Replayed {
    /// By how much times move, in nanoseconds.
    pub shift_ns: i64,
    /// What new ids are made with: the same ids become the same with one seed.
    pub new_ids: Option<u64>,
}

/// The latest end of a request's spans, in nanoseconds since 1970: it cannot have been sent before.
pub fn latest_end_ns(request: &ExportTraceServiceRequest) -> Option<u64> {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).map(|span| span.end_time_unix_nano).max()
}

impl Replayed {
    /// Changes a request; false when a time has no place any more, and the request is half changed.
    #[must_use]
    pub fn change(&self, request: &mut ExportTraceServiceRequest) -> bool {
        let scopes = request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
        scopes.flat_map(|scope| &mut scope.spans).all(|span| {
            if let Some(seed) = self.new_ids {
                renew(span, seed);
            }
            let times = [&mut span.start_time_unix_nano, &mut span.end_time_unix_nano];
            let of_events = span.events.iter_mut().map(|event| &mut event.time_unix_nano);
            times.into_iter().chain(of_events).all(|time| self.shift(time))
        })
    }

    /// Moves a time that is set.
    fn shift(&self, time: &mut u64) -> bool {
        match time.checked_add_signed(self.shift_ns) {
            _ if *time == 0 => true,
            Some(moved) if moved > 0 => {
                *time = moved;
                true
            }
            _ => false,
        }
    }
}

/// Gives a span, its parent and its links the ids that belong to theirs.
fn renew(span: &mut Span, seed: u64) {
    let parent = new_span_id(&span.trace_id, &span.parent_span_id, seed);
    span.span_id = new_span_id(&span.trace_id, &span.span_id, seed);
    span.parent_span_id = parent;
    span.trace_id = new_trace_id(&span.trace_id, seed);
    for link in &mut span.links {
        link.span_id = new_span_id(&link.trace_id, &link.span_id, seed);
        link.trace_id = new_trace_id(&link.trace_id, seed);
    }
}

fn new_trace_id(id: &[u8], seed: u64) -> Vec<u8> {
    match id.iter().all(|byte| *byte == 0) {
        true => id.to_vec(),
        false => xxh3_128_with_seed(id, seed).max(1).to_be_bytes().to_vec(),
    }
}

/// An absent parent stays absent.
fn new_span_id(trace_id: &[u8], id: &[u8], seed: u64) -> Vec<u8> {
    match id.iter().all(|byte| *byte == 0) {
        true => id.to_vec(),
        false => xxh3_64_with_seed(&[trace_id, id].concat(), seed).max(1).to_be_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

    use super::*;

    fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
    }

    fn span(id: u8, parent: u8) -> Span {
        Span {
            trace_id: vec![9; 16],
            span_id: vec![id; 8],
            parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
            start_time_unix_nano: 1_000,
            end_time_unix_nano: 2_000 + u64::from(id),
            events: vec![Event { time_unix_nano: 1_500, ..Event::default() }, Event::default()],
            links: vec![Link { trace_id: vec![9; 16], span_id: vec![1; 8], ..Link::default() }],
            ..Span::default()
        }
    }

    fn spans(request: &ExportTraceServiceRequest) -> &[Span] {
        &request.resource_spans[0].scope_spans[0].spans
    }

    #[test]
    fn all_times_move_and_those_that_are_not_set_do_not() {
        let mut moved = request(vec![span(1, 0)]);
        assert_eq!(latest_end_ns(&moved), Some(2_001));
        assert!(Replayed { shift_ns: -500, new_ids: None }.change(&mut moved));
        let span = &spans(&moved)[0];
        let times = [span.start_time_unix_nano, span.end_time_unix_nano, span.events[0].time_unix_nano];
        assert_eq!((times, span.events[1].time_unix_nano), ([500, 1_501, 1_000], 0));
        assert!(!Replayed { shift_ns: -5_000, new_ids: None }.change(&mut moved), "before 1970");
        assert!(
            !Replayed { shift_ns: i64::MAX, new_ids: None }
                .change(&mut request(vec![Span { end_time_unix_nano: u64::MAX, ..Span::default() }]))
        );
    }

    #[test]
    fn new_ids_keep_the_trace_together() {
        let renewed = |seed| {
            let mut renewed = request(vec![span(1, 0), span(2, 1)]);
            assert!(Replayed { shift_ns: 0, new_ids: Some(seed) }.change(&mut renewed));
            renewed
        };
        let first = renewed(5);
        let [root, child] = spans(&first) else { panic!("two spans") };
        assert_eq!((root.trace_id.len(), root.span_id.len(), root.parent_span_id.len()), (16, 8, 0));
        assert!(root.trace_id != [9; 16] && root.span_id != [1; 8]);
        assert_eq!((&child.parent_span_id, &child.trace_id), (&root.span_id, &root.trace_id));
        assert_eq!((&child.links[0].span_id, &child.links[0].trace_id), (&root.span_id, &root.trace_id));
        assert_eq!(first, renewed(5));
        assert_ne!(spans(&first)[0].trace_id, spans(&renewed(6))[0].trace_id);
    }
}
