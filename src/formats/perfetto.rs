//! Spans as trace events in JSON, which ui.perfetto.dev and chrome://tracing open.
//!
//! The format is the *Trace Event Format* of Chrome: a service is a process, a span is a complete event (`"ph":"X"`) on a thread, a call from one
//! service into another is a flow (`"s"`, `"f"`), an event is an instant (`"i"`). Events on one thread must lie inside one another or apart: a span
//! goes on the thread of its parent when it lies inside it and nothing else is open there, and otherwise on the first thread of its service where
//! nothing is open. Spans come in order of their start; what is remembered are the spans that are open, and the services.

use std::collections::HashMap;
use std::fmt::Write;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Map, Value as Json, json};

use super::hex;
use super::names::{span_kind_tag, status_tag};
use super::otlp_json::plain_json;

/// The text around and between the events of a document.
pub const BEFORE: &str = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n";
pub const BETWEEN: &str = ",\n";
pub const AFTER: &str = "\n]}\n";

/// Lays spans out that come in order of their start.
#[derive(Debug, Default)]
pub struct Layout {
    processes: HashMap<String, usize>,
    /// The threads of each process, by the ends of the spans that are open on them, outermost first.
    threads: Vec<Vec<Vec<Open>>>,
    /// Where each open span is.
    open: HashMap<(Vec<u8>, Vec<u8>), Place>,
    /// Looked through for spans that have ended when it has doubled.
    open_checked: usize,
}

#[derive(Debug)]
struct Open {
    span_id: Vec<u8>,
    trace_id: Vec<u8>,
    end_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    process: usize,
    thread: usize,
    end_ns: u64,
}

/// Fewer open spans are not looked through.
const FEW_OPEN: usize = 1024;

impl Layout {
    /// The events that a span adds, as JSON.
    pub fn push(&mut self, service: &str, span: &Span) -> Vec<String> {
        let mut events = Vec::new();
        let process = self.process(service, &mut events);
        let parent = self.open.get(&(span.trace_id.clone(), span.parent_span_id.clone())).copied();
        let parent = parent.filter(|parent| parent.end_ns >= span.start_time_unix_nano);
        let thread = self.thread(process, parent, span, &mut events);
        let at = Track { process, thread };
        let duration_ns = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
        let fields = [
            ("name", json!(span.name)),
            ("cat", json!(span_kind_tag(span.kind).unwrap_or_else(|| "span".to_owned()))),
            ("args", arguments(span)),
        ];
        events.push(at.event("X", span.start_time_unix_nano, Some(duration_ns), &fields));
        for inner in &span.events {
            let fields = [("name", json!(inner.name)), ("s", json!("t")), ("args", attributes(&inner.attributes))];
            events.push(at.event("i", inner.time_unix_nano, None, &fields));
        }
        if let Some(parent) = parent.filter(|parent| parent.process != process) {
            let flow = [
                ("name", json!("call")),
                ("cat", json!("call")),
                ("id", json!(hex(&span.span_id))),
                ("bp", json!("e")),
            ];
            let caller = Track { process: parent.process, thread: parent.thread };
            events.push(caller.event("s", span.start_time_unix_nano, None, &flow[..3]));
            events.push(at.event("f", span.start_time_unix_nano, None, &flow));
        }
        events
    }

    fn process(&mut self, service: &str, events: &mut Vec<String>) -> usize {
        if let Some(process) = self.processes.get(service) {
            return *process;
        }
        let process = self.threads.len();
        self.processes.insert(service.to_owned(), process);
        self.threads.push(Vec::new());
        let name = json!({"ph": "M", "name": "process_name", "pid": process + 1, "args": {"name": service}});
        events.push(name.to_string());
        process
    }

    /// The thread that a span is on, which it takes.
    fn thread(&mut self, process: usize, parent: Option<Place>, span: &Span, events: &mut Vec<String>) -> usize {
        let threads = &mut self.threads[process];
        for open in threads.iter_mut() {
            while open.last().is_some_and(|last| last.end_ns <= span.start_time_unix_nano) {
                open.pop();
            }
        }
        let fits = |open: &Vec<Open>| {
            open.last().is_some_and(|last| {
                last.span_id == span.parent_span_id
                    && last.trace_id == span.trace_id
                    && span.end_time_unix_nano <= last.end_ns
            })
        };
        let of_parent =
            parent.filter(|parent| parent.process == process && threads.get(parent.thread).is_some_and(fits));
        let thread = of_parent.map(|parent| parent.thread).or_else(|| threads.iter().position(Vec::is_empty));
        let thread = thread.unwrap_or_else(|| {
            threads.push(Vec::new());
            let name = json!({"name": format!("lane {}", threads.len())});
            let name =
                json!({"ph": "M", "name": "thread_name", "pid": process + 1, "tid": threads.len(), "args": name});
            events.push(name.to_string());
            threads.len() - 1
        });
        let (trace_id, span_id, end_ns) = (span.trace_id.clone(), span.span_id.clone(), span.end_time_unix_nano);
        threads[thread].push(Open { span_id: span_id.clone(), trace_id: trace_id.clone(), end_ns });
        self.open.insert((trace_id, span_id), Place { process, thread, end_ns });
        self.forget_ended(span.start_time_unix_nano);
        thread
    }

    /// Forgets spans that have ended, when there are twice as many as after the last time.
    fn forget_ended(&mut self, now_ns: u64) {
        if self.open.len() > 2 * self.open_checked.max(FEW_OPEN) {
            self.open.retain(|_, place| place.end_ns >= now_ns);
            self.open_checked = self.open.len();
        }
    }
}

/// Where events are shown.
#[derive(Debug, Clone, Copy)]
struct Track {
    process: usize,
    thread: usize,
}

impl Track {
    fn event(self, phase: &str, time_ns: u64, duration_ns: Option<u64>, fields: &[(&str, Json)]) -> String {
        let (pid, tid) = (self.process + 1, self.thread + 1);
        let mut out = format!(r#"{{"ph":"{phase}","pid":{pid},"tid":{tid},"ts":{}"#, micros(time_ns));
        // Writing into a text does not fail.
        let _ = duration_ns.map_or(Ok(()), |duration_ns| write!(out, r#","dur":{}"#, micros(duration_ns)));
        let _ = fields.iter().try_for_each(|(key, value)| write!(out, r#","{key}":{value}"#));
        out.push('}');
        out
    }
}

/// Nanoseconds in microseconds, exactly: a double has no room for the nanoseconds of today.
fn micros(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000, ns % 1_000)
}

fn arguments(span: &Span) -> Json {
    let mut out = Map::new();
    out.insert("trace_id".to_owned(), json!(hex(&span.trace_id)));
    out.insert("span_id".to_owned(), json!(hex(&span.span_id)));
    if !span.parent_span_id.is_empty() {
        out.insert("parent_span_id".to_owned(), json!(hex(&span.parent_span_id)));
    }
    if let Some(status) = &span.status {
        if let Some(code) = status_tag(status.code) {
            out.insert("status".to_owned(), json!(code));
        }
        if !status.message.is_empty() {
            out.insert("status_message".to_owned(), json!(status.message));
        }
    }
    if let Json::Object(attributes) = attributes(&span.attributes) {
        attributes.into_iter().for_each(|(key, value)| {
            out.entry(key).or_insert(value);
        });
    }
    Json::Object(out)
}

fn attributes(attributes: &[KeyValue]) -> Json {
    let value = |attribute: &KeyValue| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        (attribute.key.clone(), value.map_or(Json::Null, plain_json))
    };
    Json::Object(attributes.iter().map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: u8, parent: u8, start_ns: u64, end_ns: u64) -> Span {
        Span {
            trace_id: vec![1; 16],
            span_id: vec![id; 8],
            parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
            name: format!("s{id}"),
            start_time_unix_nano: start_ns,
            end_time_unix_nano: end_ns,
            ..Span::default()
        }
    }

    /// The events of spans, each of a service.
    fn laid_out(spans: &[(&str, Span)]) -> Vec<Json> {
        let mut layout = Layout::default();
        let events = spans.iter().flat_map(|(service, span)| layout.push(service, span));
        events.map(|event| serde_json::from_str(&event).expect("JSON")).collect()
    }

    fn lanes(events: &[Json]) -> Vec<(String, u64, u64)> {
        let spans = events.iter().filter(|event| event["ph"] == "X");
        let number = |event: &Json, key: &str| event[key].as_u64().expect("a number");
        spans
            .map(|span| (span["name"].as_str().expect("a name").to_owned(), number(span, "pid"), number(span, "tid")))
            .collect()
    }

    #[test]
    fn children_lie_in_their_parents_lane_and_siblings_that_overlap_do_not() {
        let events = laid_out(&[
            ("a", span(1, 0, 0, 100)),
            ("a", span(2, 1, 10, 50)),
            ("a", span(3, 1, 20, 60)),
            ("a", span(4, 2, 20, 30)),
            ("b", span(5, 3, 25, 55)),
            ("a", span(6, 1, 60, 90)),
            ("a", span(7, 1, 95, 120)),
        ]);
        let wanted = [("s1", 1, 1), ("s2", 1, 1), ("s3", 1, 2), ("s4", 1, 1), ("s5", 2, 1), ("s6", 1, 1), ("s7", 1, 2)];
        assert_eq!(lanes(&events), wanted.map(|(name, pid, tid)| (name.to_owned(), pid, tid)));
        let flows: Vec<(&str, u64)> = events
            .iter()
            .filter(|event| event["cat"] == "call")
            .map(|event| (event["ph"].as_str().expect("a phase"), event["pid"].as_u64().expect("a process")))
            .collect();
        assert_eq!(flows, [("s", 1), ("f", 2)], "the one call between services has an arrow");
    }

    #[test]
    fn on_one_lane_spans_lie_inside_one_another_or_apart() {
        // Starts and lengths from a small congruence, each span below the one before it.
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let mut spans: Vec<Span> = (1..250)
            .map(|id| {
                let start = next() % 1_000;
                span(id, (next() % u64::from(id)) as u8, start, start + next() % 200)
            })
            .collect();
        spans.sort_by_key(|span| (span.start_time_unix_nano, u64::MAX - span.end_time_unix_nano));
        let spans: Vec<(&str, Span)> =
            spans.into_iter().map(|span| (["a", "b"][usize::from(span.span_id[0] % 2)], span)).collect();
        let lanes = lanes(&laid_out(&spans));
        for (first, (_, of_first)) in spans.iter().enumerate() {
            for (second, (_, of_second)) in spans.iter().enumerate().skip(first + 1) {
                let apart = of_second.start_time_unix_nano >= of_first.end_time_unix_nano;
                let inside = of_second.end_time_unix_nano <= of_first.end_time_unix_nano;
                let same = (lanes[first].1, lanes[first].2) == (lanes[second].1, lanes[second].2);
                assert!(!same || apart || inside, "{of_first:?} {of_second:?}");
            }
        }
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        let events = Layout::default().push("a", &span(1, 0, 1_706_678_909_209_712_345, 1_706_678_909_209_835_001));
        let event = events.last().expect("an event");
        assert!(event.contains(r#""ts":1706678909209712.345,"dur":122.656"#), "{event}");
    }
}
