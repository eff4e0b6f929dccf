//! Formats in and out: what others write is taken, what is written others read, and OTLP comes back as it went in.

mod exports;
mod imports;
mod jaeger_and_zipkin;
mod replays;
mod tables;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use serde_json::Value;

/// Exit codes that `--help` promises.
const SUCCESS: i32 = 0;
const FAILURE: i32 = 1;
const USAGE: i32 = 2;

/// A folder with a data directory `data`.
struct Folder(tempfile::TempDir);

/// What a command said and how it ended.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Ran {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.out).expect("JSON")
    }
}

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file")
    }

    /// Runs the program in the folder, without settings of this process.
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
        command.current_dir(self.0.path()).args(arguments).env("SPANHOUSE_DATA_DIR", "data").stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SPANHOUSE_")) {
            if name != "SPANHOUSE_DATA_DIR" {
                command.env_remove(name);
            }
        }
        let output = command.output().expect("spanhouse starts");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Ran { code: output.status.code().unwrap_or(-1), out: output.stdout, err }
    }

    /// Runs what must succeed.
    fn done(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, SUCCESS, "{arguments:?}: {}{}", ran.text(), ran.err);
        ran
    }

    /// The rows of a statement.
    fn rows(&self, sql: &str) -> Vec<Value> {
        let ran = self.done(&["sql", "--format", "ndjson", sql]);
        ran.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// All spans that the directory gives back as OTLP.
    fn exported(&self) -> Vec<Flat> {
        flat(&delimited(&self.done(&["export", "--format", "otlp"]).out))
    }
}

/// The requests of a file, each with its length before it.
fn delimited(mut bytes: &[u8]) -> Vec<ExportTraceServiceRequest> {
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        requests.push(ExportTraceServiceRequest::decode_length_delimited(&mut bytes).expect("a request"));
    }
    requests
}

/// A span with all around it, in an order of its own: what OTLP does not order is sorted, and what it does not tell apart made equal.
#[derive(Debug, Clone, PartialEq)]
struct Flat {
    resource: Resource,
    resource_schema_url: String,
    scope: InstrumentationScope,
    scope_schema_url: String,
    span: Span,
}

/// The spans of requests as a multiset.
fn flat(requests: &[ExportTraceServiceRequest]) -> Vec<Flat> {
    let mut all: Vec<Flat> =
        requests.iter().flat_map(|request| &request.resource_spans).flat_map(flat_resource).collect();
    all.sort_by_cached_key(|flat| {
        let parts = [flat.span.encode_to_vec(), flat.resource.encode_to_vec(), flat.scope.encode_to_vec()];
        (parts, flat.resource_schema_url.clone(), flat.scope_schema_url.clone())
    });
    all
}

fn flat_resource(from: &ResourceSpans) -> Vec<Flat> {
    let mut resource = from.resource.clone().unwrap_or_default();
    sort(&mut resource.attributes);
    resource.entity_refs.clear();
    let flat_scope = |scope_spans: &ScopeSpans| {
        let mut scope = scope_spans.scope.clone().unwrap_or_default();
        sort(&mut scope.attributes);
        let of_span = |span: &Span| Flat {
            resource: resource.clone(),
            resource_schema_url: from.schema_url.clone(),
            scope: scope.clone(),
            scope_schema_url: scope_spans.schema_url.clone(),
            span: sorted(span.clone()),
        };
        scope_spans.spans.iter().map(of_span).collect::<Vec<_>>()
    };
    from.scope_spans.iter().flat_map(flat_scope).collect()
}

fn sorted(mut span: Span) -> Span {
    sort(&mut span.attributes);
    span.events.iter_mut().for_each(|event| sort(&mut event.attributes));
    span.links.iter_mut().for_each(|link| sort(&mut link.attributes));
    span.status = span.status.filter(|status| *status != Status::default());
    if span.parent_span_id.iter().all(|byte| *byte == 0) {
        span.parent_span_id.clear();
    }
    span
}

fn sort(attributes: &mut [KeyValue]) {
    attributes.sort_by_cached_key(|attribute| attribute.encode_to_vec());
}

/// Whether the store keeps a span; the others are refused, which other tests are about.
fn is_kept(span: &Span) -> bool {
    let is_id = |id: &[u8], len: usize| id.len() == len && id.iter().any(|byte| *byte != 0);
    let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    is_id(&span.trace_id, 16) && is_id(&span.span_id, 8) && start > 0 && start <= end
}

/// The fixtures of other projects, with what their inventory says of them.
fn fixtures(shared: &Path) -> Vec<(PathBuf, Value)> {
    let text = std::fs::read_to_string(shared.join("fixtures/inventory.json")).expect("an inventory");
    let entries: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    entries.into_iter().map(|entry| (shared.join(entry["file"].as_str().expect("a file")), entry)).collect()
}
