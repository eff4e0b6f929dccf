//! What compaction takes of memory, measured from outside, does not grow with what spans hold.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::store_support::{append, open_uncompacted};

/// Files of one date, all of which one merge reads at a time: 590 MB of text together.
const FILES: u64 = 12;
const FILE_SPANS: u64 = 4000;
const TEXT_BYTES: usize = 12 << 10;
/// What a merge's inputs may take as they are planned, 128 MiB, the rows that settle a file's columns, 64 MiB, and as much as both together for
/// what is on its way through decoders, the merge and encoders and for what the allocator keeps.
const MOST_BYTES: u64 = (2 * (128 + 64)) << 20;

const NOON_NS: u64 = 1_767_268_800_000_000_000;

/// A span with a long statement in an attribute.
fn span(id: u64) -> Span {
    let mut text = format!("/* {id} */ SELECT ");
    while text.len() < TEXT_BYTES {
        text.push_str("column_with_a_long_name, ");
    }
    let value = Some(AnyValue { value: Some(Value::StringValue(text)) });
    let start_ns = NOON_NS + id * 7_919 % 36_000 * 1_000_000_000;
    Span {
        trace_id: u128::from(1 + id / 5).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: "query".into(),
        start_time_unix_nano: start_ns,
        end_time_unix_nano: start_ns + id,
        attributes: vec![KeyValue { key: "db.query.text".into(), value, ..KeyValue::default() }],
        ..Span::default()
    }
}

#[cfg(target_os = "linux")]
#[test]
fn compaction_takes_no_more_memory_than_planned_however_long_texts_are() {
    let dir = tempfile::tempdir().expect("directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let store = open_uncompacted(dir.path()).await;
        for file in 0..FILES {
            for part in 0..8 {
                let first = 1 + file * FILE_SPANS + part * FILE_SPANS / 8;
                let spans = (first..first + FILE_SPANS / 8).map(span).collect();
                let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
                let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
                let export = ExportTraceServiceRequest { resource_spans };
                append(&store, export.encode_to_vec().into()).await.expect("kept");
            }
            store.seal().await.expect("sealed");
        }
        store.close().await.expect("closed");
    });
    let (said, peak_bytes) = compact(dir.path());
    assert!(said.contains("became 1 file") && said.replace([',', '_'], "").contains("48000 spans"), "{said}");
    let (said, idle_bytes) = compact(dir.path());
    assert!(said.contains("became 0 files"), "{said}");
    let used = peak_bytes.saturating_sub(idle_bytes);
    assert!(
        used < MOST_BYTES,
        "merging took {used} bytes of memory besides the {idle_bytes} of a process that has nothing to do"
    );
}

/// Runs `spanhouse compact`; gives what it said and the most memory that it had.
fn compact(dir: &Path) -> (String, u64) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
        .arg("compact")
        .arg("--data-dir")
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_bytes = 0;
    while child.try_wait().expect("a child of ours").is_none() {
        // The kernel keeps the peak: only what comes between the last look and the end is missed.
        let peak = std::fs::read_to_string(&status).ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        peak_bytes = peak.map_or(peak_bytes, |kib| kib << 10);
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().expect("it ended");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).expect("UTF-8"), peak_bytes)
}
