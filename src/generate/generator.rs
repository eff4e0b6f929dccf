//! Traces one after the other, lost and late spans among them, cut into requests as a collector would send them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::facts::Facts;
use super::fleet::Fleet;
use super::json;
use super::random::Random;
use super::shop::{CLICKS, COUNT_CLICKS, ROOTS};
use super::span::Span;
use super::walk::{Context, Walk};
use super::wire::{Scratch, push_request, push_varint};

/// The time of the first trace unless another is asked for: 2026-01-05 09:00:00 UTC, so that bytes repeat.
pub const DEFAULT_START_NS: u64 = 1_767_603_600_000_000_000;

/// How many of 1,000 visits lose a span that has children.
const LOSS_PERMILLE: u32 = 12;
/// How many of 1,000 visits have one process whose spans come late.
const LATE_PERMILLE: u32 = 8;
/// How late, in seconds.
const LATE_SECONDS: (u32, u32) = (60, 600);
/// Late spans that are held at once; more than these go out early, so that memory is bounded at any rate.
const HELD_SPANS: usize = 100_000;
/// Clicks that one consumer takes at a time.
const CLICK_BATCH: usize = 12;

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Exactly so many spans; the last trace may lack its end.
    Spans(u64),
    /// So many visits; each is one trace, with more for consumers that start their own.
    Visits(u64),
    /// Visits within so long after the start.
    DurationNs(u64),
}

/// What decides every byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    pub seed: u64,
    pub start_ns: u64,
    pub limit: Limit,
    /// How many visits start in a second of the traces' own time.
    pub visits_per_second: u32,
    /// Spans in a request, except in the last.
    pub batch_spans: usize,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            seed: 1,
            start_ns: DEFAULT_START_NS,
            limit: Limit::Spans(100_000),
            visits_per_second: 10,
            batch_spans: 1_000,
        }
    }
}

/// Spans that travel together.
pub struct Request {
    pub spans: usize,
    /// A protobuf `ExportTraceServiceRequest`.
    pub payload: Vec<u8>,
    /// The same as OTLP JSON, when the generator was asked for it.
    pub json: Option<serde_json::Value>,
}

impl Request {
    /// Appends the request as a record of a length-delimited file: its length as a varint, then its bytes.
    pub fn push_delimited(&self, out: &mut Vec<u8>) {
        push_varint(self.payload.len() as u64, out);
        out.extend_from_slice(&self.payload);
    }
}

/// An iterator of requests.
pub struct Generator {
    parameters: Parameters,
    random: Random,
    fleet: Fleet,
    with_json: bool,
    /// Shifts which incident comes first.
    turn: u64,
    visits: u64,
    spans: u64,
    now_ns: u64,
    clicks: Vec<Context>,
    ready: Vec<Span>,
    held: BinaryHeap<Reverse<Held>>,
    held_spans: usize,
    facts: Facts,
    order: Vec<([u8; 16], [u8; 8], usize)>,
    scratch: Scratch,
}

/// Spans that are given out when the traces' own time has come to `due_ns`.
struct Held {
    due_ns: u64,
    /// Breaks ties in the order of holding.
    number: u64,
    spans: Vec<Span>,
}

impl Generator {
    /// Sets out; nothing is made before it is asked for.
    pub fn new(parameters: Parameters) -> Self {
        let mut random = Random::new(parameters.seed);
        let fleet = Fleet::new(&mut random);
        Self {
            turn: random.bits(),
            now_ns: parameters.start_ns,
            parameters,
            random,
            fleet,
            with_json: false,
            visits: 0,
            spans: 0,
            clicks: Vec::new(),
            ready: Vec::new(),
            held: BinaryHeap::new(),
            held_spans: 0,
            facts: Facts::default(),
            order: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Makes each request as OTLP JSON too.
    pub fn with_json(mut self) -> Self {
        self.with_json = true;
        self
    }

    /// What is true of the spans so far, those included that are still held back.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    fn finished(&self) -> bool {
        match self.parameters.limit {
            Limit::Spans(spans) => self.spans >= spans,
            Limit::Visits(visits) => self.visits >= visits,
            Limit::DurationNs(duration_ns) => self.now_ns - self.parameters.start_ns >= duration_ns,
        }
    }

    /// Adds the spans of one visit to those that are ready or held.
    fn visit(&mut self) {
        self.release_due(self.now_ns);
        let mut walk = Walk::new(&mut self.random, &self.fleet, self.parameters.start_ns, self.turn);
        if self.clicks.len() >= CLICK_BATCH {
            let clicks: Vec<Context> = self.clicks.drain(..CLICK_BATCH).collect();
            walk.batch(&COUNT_CLICKS, &CLICKS, &clicks, self.now_ns);
        } else {
            let root = walk.pick_root(&ROOTS);
            match root.from_browser {
                true => walk.visit_by_browser(root.operation, self.now_ns),
                false => walk.visit_without_caller(root.operation, self.now_ns),
            }
            self.visits += 1;
        }
        let (mut spans, clicks) = walk.finish();
        self.clicks.extend(clicks);
        self.lose(&mut spans);
        if let Limit::Spans(limit) = self.parameters.limit {
            // Parents stand before their children, so cutting the end orphans nobody.
            spans.truncate((limit - self.spans) as usize);
        }
        self.spans += spans.len() as u64;
        self.facts.observe(&spans, &self.fleet, &mut self.order);
        self.hold_or_ready(spans);
        let mean_ns = 1_000_000_000 / u64::from(self.parameters.visits_per_second.max(1));
        self.now_ns += mean_ns * u64::from(self.random.below(2_000)) / 1_000;
    }

    /// Loses a span that has children, now and then.
    fn lose(&mut self, spans: &mut Vec<Span>) {
        if !self.random.chance(LOSS_PERMILLE) || spans.len() < 3 {
            return;
        }
        let child = &spans[1 + self.random.below(spans.len() as u32 - 1) as usize];
        let lost = spans.iter().position(|span| Some(span.span_id) == child.parent && span.parent.is_some());
        if let Some(lost) = lost {
            spans.remove(lost);
            self.facts.lost += 1;
        }
    }

    /// Makes the spans ready; now and then, those of one process come minutes later.
    fn hold_or_ready(&mut self, spans: Vec<Span>) {
        if spans.is_empty() || !self.random.chance(LATE_PERMILLE) {
            self.ready.extend(spans);
            return;
        }
        let slow = spans[self.random.below(spans.len() as u32) as usize].instance;
        let (late, punctual): (Vec<Span>, Vec<Span>) = spans.into_iter().partition(|span| span.instance == slow);
        self.ready.extend(punctual);
        let delay_ns = u64::from(self.random.between(LATE_SECONDS.0, LATE_SECONDS.1)) * 1_000_000_000;
        self.facts.late += late.len() as u64;
        self.held_spans += late.len();
        self.held.push(Reverse(Held { due_ns: self.now_ns + delay_ns, number: self.visits, spans: late }));
        if self.held_spans > HELD_SPANS {
            self.release_due(u64::MAX);
        }
    }

    /// Makes what was held until `now_ns` ready.
    fn release_due(&mut self, now_ns: u64) {
        while self.held.peek().is_some_and(|Reverse(held)| held.due_ns <= now_ns) {
            if let Some(Reverse(held)) = self.held.pop() {
                self.held_spans -= held.spans.len();
                self.ready.extend(held.spans);
            }
        }
    }

    fn request(&mut self, spans: &[Span]) -> Request {
        let mut groups: Vec<&Span> = spans.iter().collect();
        groups.sort_by_key(|span| (span.instance, span.scope));
        let mut payload = Vec::new();
        push_request(&groups, &self.fleet, &mut self.scratch, &mut payload);
        let json = self.with_json.then(|| json::request(&groups, &self.fleet));
        Request { spans: spans.len(), payload, json }
    }
}

impl Iterator for Generator {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let batch = self.parameters.batch_spans.max(1);
        while self.ready.len() < batch && !self.finished() {
            self.visit();
        }
        if self.ready.len() < batch {
            self.release_due(u64::MAX);
        }
        if self.ready.is_empty() {
            return None;
        }
        let rest = self.ready.split_off(batch.min(self.ready.len()));
        let spans = std::mem::replace(&mut self.ready, rest);
        Some(self.request(&spans))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due_ns, self.number).cmp(&(other.due_ns, other.number))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value;
    use opentelemetry_proto::tonic::trace::v1::Span as ProtoSpan;
    use prost::Message;

    use super::*;

    fn parameters(limit: Limit) -> Parameters {
        Parameters { seed: 7, limit, batch_spans: 500, ..Parameters::default() }
    }

    /// Every span with its service, read by the protocol's own types.
    fn decoded(generator: &mut Generator) -> Vec<(String, ProtoSpan)> {
        let mut spans = Vec::new();
        for request in generator {
            let message = ExportTraceServiceRequest::decode(&request.payload[..]).expect("OTLP");
            let before = spans.len();
            for resource_spans in message.resource_spans {
                let attributes = resource_spans.resource.expect("a resource").attributes;
                let service = attributes.into_iter().find(|pair| pair.key == "service.name").expect("service.name");
                let Some(any_value::Value::StringValue(service)) = service.value.expect("a value").value else {
                    panic!("service.name is not text");
                };
                let of_scopes = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(of_scopes.map(|span| (service.clone(), span)));
            }
            assert_eq!(spans.len() - before, request.spans);
        }
        spans
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_on_every_machine() {
        let hash = |seed| {
            let mut bytes = Vec::new();
            for request in Generator::new(Parameters { seed, ..parameters(Limit::Spans(20_000)) }) {
                request.push_delimited(&mut bytes);
            }
            xxhash_rust::xxh3::xxh3_64(&bytes)
        };
        assert_eq!(
            format!("{:016x}", hash(7)),
            GOLDEN,
            "a change of the generator changes this on purpose or not at all"
        );
        assert_ne!(hash(7), hash(8));
    }

    const GOLDEN: &str = "0fe0b89e11ea5a3c";

    #[test]
    fn facts_are_what_the_bytes_say() {
        let mut generator = Generator::new(parameters(Limit::Spans(40_000)));
        let spans = decoded(&mut generator);
        let facts = generator.facts();
        let ids: BTreeMap<(&[u8], &[u8]), &str> =
            spans.iter().map(|(service, span)| ((&span.trace_id[..], &span.span_id[..]), service.as_str())).collect();
        assert_eq!(ids.len(), spans.len(), "span ids are distinct");
        assert_eq!((facts.spans, spans.len()), (40_000, 40_000));
        let traces: BTreeSet<&[u8]> = spans.iter().map(|(_, span)| &span.trace_id[..]).collect();
        assert_eq!(facts.traces, traces.len() as u64);
        let count = |wanted: &dyn Fn(&ProtoSpan) -> bool| spans.iter().filter(|(_, span)| wanted(span)).count() as u64;
        assert_eq!(facts.roots, count(&|span| span.parent_span_id.is_empty()));
        assert_eq!(facts.errors, count(&|span| span.status.as_ref().is_some_and(|status| status.code == 2)));
        assert_eq!(facts.links, spans.iter().map(|(_, span)| span.links.len() as u64).sum::<u64>());
        assert_eq!(facts.events, spans.iter().map(|(_, span)| span.events.len() as u64).sum::<u64>());
        let mut orphans = 0;
        let mut edges: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (service, span) in spans.iter().filter(|(_, span)| !span.parent_span_id.is_empty()) {
            match ids.get(&(&span.trace_id[..], &span.parent_span_id[..])) {
                None => orphans += 1,
                Some(caller) if caller != service => *edges.entry((caller, service)).or_default() += 1,
                Some(_) => {}
            }
        }
        assert_eq!(facts.orphans, orphans);
        let counted: Vec<_> = facts.edges.iter().map(|edge| ((edge.caller, edge.callee), edge.calls)).collect();
        assert_eq!(counted, edges.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn the_shop_has_everything_that_is_promised() {
        let mut generator = Generator::new(parameters(Limit::Spans(40_000)));
        let spans = decoded(&mut generator);
        let facts = generator.facts();
        assert_eq!(facts.services.len(), 21, "{:?}", facts.services);
        assert_eq!(facts.kinds.len(), 5, "{:?}", facts.kinds);
        assert!(facts.orphans > 10 && facts.late > 50 && facts.links > 500 && facts.errors > 150, "{facts:?}");
        assert!(facts.errors * 5 < facts.spans, "most goes well: {facts:?}");
        for (service, span) in &spans {
            assert!(
                (10..=25).contains(&span.attributes.len()),
                "{service} {} has {}",
                span.name,
                span.attributes.len()
            );
            assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        }
        let late_links = spans.iter().filter(|(_, span)| span.links.len() == CLICK_BATCH).count();
        assert!(late_links > 10, "consumers take clicks in batches");
    }

    #[test]
    fn errors_come_in_bursts_and_climb_to_the_root() {
        let mut generator = Generator::new(parameters(Limit::DurationNs(180_000_000_000)));
        let spans = decoded(&mut generator);
        let roots = spans.iter().filter(|(service, span)| service == "gateway" && span.kind == 2);
        let (mut inside, mut outside) = (0, 0);
        for (_, span) in roots.filter(|(_, span)| span.status.as_ref().is_some_and(|status| status.code == 2)) {
            let since_s = (span.start_time_unix_nano - DEFAULT_START_NS) / 1_000_000_000;
            if (19..62).contains(&since_s) { inside += 1 } else { outside += 1 }
        }
        assert!(inside > 3 * outside && inside > 10, "{inside} in the burst, {outside} outside");
    }

    #[test]
    fn json_says_the_same_as_protobuf() {
        let request = Generator::new(parameters(Limit::Visits(3))).with_json().next().expect("a request");
        let json = request.json.expect("asked for");
        let message = ExportTraceServiceRequest::decode(&request.payload[..]).expect("OTLP");
        let first = &message.resource_spans[0].scope_spans[0].spans[0];
        let same = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(same["name"], first.name);
        assert_eq!(same["startTimeUnixNano"], first.start_time_unix_nano.to_string());
        assert_eq!(same["attributes"].as_array().map(Vec::len), Some(first.attributes.len()));
    }

    #[test]
    fn limits_hold() {
        let visits: usize = Generator::new(parameters(Limit::Visits(5))).map(|request| request.spans).sum();
        assert!(visits > 5);
        assert_eq!(Generator::new(parameters(Limit::Spans(0))).count(), 0);
        let one: Vec<usize> = Generator::new(parameters(Limit::Spans(1))).map(|request| request.spans).collect();
        assert_eq!(one, [1]);
        let sizes: Vec<usize> = Generator::new(parameters(Limit::Spans(1_250))).map(|request| request.spans).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 1_250);
        assert!(sizes.iter().all(|size| *size <= 500));
    }
}
