//! What the sample of real traces holds, read from its JSON and not by us.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::ops::Range;
use std::path::Path;

use serde_json::Value;

/// The bound on the sketch's relative error, as `docs/sql.md` states it.
const SKETCH_RELATIVE_ERROR: f64 = 1.0 / 128.0;

/// A span as its JSON has it.
pub struct Span {
    pub service: String,
    pub name: String,
    pub kind: &'static str,
    pub start_ns: i64,
    pub duration_ns: i64,
    pub failed: bool,
    /// Type and message of its exception, else the status message.
    pub error: Option<String>,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub has_database: bool,
}

impl Span {
    /// Whether a caller waits for it, a message started it, or nobody called.
    pub fn is_request(&self) -> bool {
        matches!(self.kind, "SERVER" | "CONSUMER") || self.parent.is_empty()
    }
}

/// All spans of a file of OTLP JSON.
pub fn spans(file: &Path) -> Vec<Span> {
    let mut spans = Vec::new();
    for line in fs::read_to_string(file).expect("data").lines() {
        let request: Value = serde_json::from_str(line).expect("JSON");
        for of_resource in list(&request["resourceSpans"]) {
            let service = attribute(&of_resource["resource"], "service.name").expect("a service");
            let of_scopes = list(&of_resource["scopeSpans"]).iter();
            spans.extend(of_scopes.flat_map(|scope| list(&scope["spans"])).map(|span| read(span, &service)));
        }
    }
    spans
}

fn read(span: &Value, service: &str) -> Span {
    let number = |key: &str| text(&span[key]).parse::<i64>().expect("a number");
    let kinds = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
    let kind = span["kind"].as_u64().and_then(|kind| usize::try_from(kind).ok()).expect("a kind");
    let exception = list(&span["events"]).iter().find(|event| event["name"] == "exception");
    let said = exception.map(|event| {
        let parts = ["exception.type", "exception.message"].map(|key| attribute(event, key));
        parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
    });
    Span {
        service: service.to_owned(),
        name: text(&span["name"]).to_owned(),
        kind: kinds[kind],
        start_ns: number("startTimeUnixNano"),
        duration_ns: number("endTimeUnixNano") - number("startTimeUnixNano"),
        failed: span["status"]["code"] == 2,
        error: said.or_else(|| span["status"]["message"].as_str().map(str::to_owned)),
        trace: text(&span["traceId"]).to_owned(),
        id: text(&span["spanId"]).to_owned(),
        parent: span["parentSpanId"].as_str().unwrap_or_default().to_owned(),
        has_database: list(&span["attributes"]).iter().any(|attribute| text(&attribute["key"]).starts_with("db.")),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn attribute(of: &Value, key: &str) -> Option<String> {
    let found = list(&of["attributes"]).iter().find(|attribute| attribute["key"] == key)?;
    Some(text(&found["value"]["stringValue"]).to_owned())
}

/// How many and how long, of spans that belong together.
#[derive(Debug, Default)]
pub struct Figures {
    pub calls: i64,
    pub errors: i64,
    durations_ms: Vec<f64>,
}

impl Figures {
    /// Of each group of spans in a range of time.
    pub fn of<'a, K: Ord>(
        spans: impl Iterator<Item = &'a Span>,
        range: &Range<i64>,
        key: impl Fn(&Span) -> K,
    ) -> BTreeMap<K, Self> {
        let mut groups: BTreeMap<K, Self> = BTreeMap::new();
        for span in spans.filter(|span| range.contains(&span.start_ns)) {
            let group = groups.entry(key(span)).or_default();
            group.calls += 1;
            group.errors += i64::from(span.failed);
            group.durations_ms.push(span.duration_ns as f64 / 1e6);
        }
        groups.values_mut().for_each(|group| group.durations_ms.sort_by(f64::total_cmp));
        groups
    }

    pub fn error_rate(&self) -> f64 {
        self.errors as f64 / self.calls as f64
    }

    pub fn total_ms(&self) -> f64 {
        self.durations_ms.iter().sum()
    }

    pub fn max_ms(&self) -> f64 {
        self.durations_ms.last().copied().unwrap_or(f64::NAN)
    }

    /// Whether a number is the quantile by nearest rank, as closely as sketches tell it.
    pub fn is_quantile(&self, share: f64, told: f64) -> bool {
        let rank = (share * self.durations_ms.len() as f64).ceil().max(1.0) as usize;
        let exact = self.durations_ms[rank - 1];
        (told - exact).abs() <= exact * SKETCH_RELATIVE_ERROR
    }
}

/// The spans with which errors began, each with whether it lies in the range: no failed span below handed its error up to them.
pub fn origins<'a>(spans: &'a [Span], range: &Range<i64>) -> Vec<&'a Span> {
    let by_id: HashMap<(&str, &str), &Span> =
        spans.iter().map(|span| ((span.trace.as_str(), span.id.as_str()), span)).collect();
    let mut reached: BTreeSet<(&str, &str)> = BTreeSet::new();
    for span in spans.iter().filter(|span| span.failed) {
        let mut at = span;
        while let Some(above) = by_id.get(&(at.trace.as_str(), at.parent.as_str())) {
            at = above;
            if at.failed {
                reached.insert((&at.trace, &at.id));
                break;
            }
            if at.kind != "INTERNAL" {
                break;
            }
        }
    }
    let is_origin = |span: &&Span| span.failed && !reached.contains(&(span.trace.as_str(), span.id.as_str()));
    spans.iter().filter(is_origin).filter(|span| range.contains(&span.start_ns)).collect()
}

/// Who called whom: each span whose parent is of another service, with that service.
pub fn calls(spans: &[Span]) -> Vec<(&str, &Span)> {
    let services: HashMap<(&str, &str), &str> =
        spans.iter().map(|span| ((span.trace.as_str(), span.id.as_str()), span.service.as_str())).collect();
    let caller = |span: &Span| services.get(&(span.trace.as_str(), span.parent.as_str())).copied();
    let calls = spans.iter().filter_map(|span| Some((caller(span)?, span)));
    calls.filter(|(caller, span)| *caller != span.service).collect()
}
