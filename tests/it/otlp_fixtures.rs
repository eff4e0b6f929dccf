//! Real OTLP files of other projects: each is decoded whole, or refused with the reason.

use std::path::{Path, PathBuf};

use datafusion::arrow::array::RecordBatch;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;
use serde_json::Value;
use spanhouse::error::Kind;
use spanhouse::otlp::{Decoded, RefusalReason, decode_export, encode_export, json_to_protobuf};

use crate::support::shared_data;

/// The requests of a file: one a line in `.jsonl`, one a file otherwise.
fn requests(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).expect("readable");
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            lines.map(<[u8]>::to_vec).collect()
        }
        _ => vec![bytes],
    }
}

fn inventory(folder: &Path) -> Vec<(PathBuf, Value)> {
    let text = std::fs::read_to_string(folder.join("fixtures/inventory.json")).expect("an inventory");
    let entries: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    entries.into_iter().map(|entry| (folder.join(entry["file"].as_str().expect("a file")), entry)).collect()
}

/// Each span with its resource and scope, as prost reads them. What the store does not tell apart is made equal; what it refuses is left out.
fn flat(request: ExportTraceServiceRequest) -> Vec<(Option<Resource>, Option<InstrumentationScope>, Span)> {
    let is_kept = |span: &Span| {
        let is_id = |id: &[u8], len: usize| id.len() == len && id.iter().any(|byte| *byte != 0);
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        is_id(&span.trace_id, 16) && is_id(&span.span_id, 8) && start > 0 && start <= end
    };
    let scopes = request
        .resource_spans
        .into_iter()
        .flat_map(|resource| resource.scope_spans.into_iter().map(move |scope| (resource.resource.clone(), scope)));
    let spans = scopes.flat_map(|(resource, scope)| {
        let around = (
            resource.filter(|resource| *resource != Resource::default()),
            scope.scope.filter(|scope| *scope != InstrumentationScope::default()),
        );
        scope.spans.into_iter().filter(is_kept).map(move |span| (around.0.clone(), around.1.clone(), span))
    });
    spans
        .map(|(resource, scope, mut span)| {
            span.status = span.status.filter(|status| *status != Status::default());
            (resource, scope, span)
        })
        .collect()
}

fn rows(decoded: &Decoded) -> RecordBatch {
    decoded.batch.to_record_batch().expect("expanded")
}

#[test]
fn otlp_json_files_hold_the_spans_that_their_inventory_says() {
    let Some(folder) = shared_data("otlp_json_files_hold_the_spans_that_their_inventory_says") else { return };
    let mut files = 0;
    for (path, entry) in inventory(&folder).iter().filter(|(_, entry)| entry["format"] == "OTLP/JSON") {
        if path.ends_with("invalid/trace_invalid_kind.json") {
            continue;
        }
        files += 1;
        let mut spans = 0;
        for json in requests(path) {
            let protobuf = json_to_protobuf(&json).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let read = ExportTraceServiceRequest::decode(&*protobuf).expect("protobuf");
            let decoded = decode_export(&protobuf).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let scopes = read.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            let listed = scopes.map(|scope| scope.spans.len()).sum::<usize>() as u64;
            assert_eq!(decoded.batch.num_rows() as u64 + decoded.refusals.rejected_spans, listed, "{}", path.display());
            spans += listed;
            let encoded = encode_export(&rows(&decoded)).expect("encodable");
            let again = ExportTraceServiceRequest::decode(&*encoded).expect("protobuf");
            assert_eq!(flat(again), flat(read), "{}", path.display());
            assert_eq!(rows(&decode_export(&encoded).expect("decodable")), rows(&decoded), "{}", path.display());
        }
        assert_eq!(Some(spans), entry["spans"].as_u64(), "{}", path.display());
    }
    assert!(files > 40, "{files}");
}

#[test]
fn otlp_protobuf_files_hold_the_spans_that_prost_finds() {
    let Some(folder) = shared_data("otlp_protobuf_files_hold_the_spans_that_prost_finds") else { return };
    for (path, _) in inventory(&folder).iter().filter(|(_, entry)| entry["format"] == "OTLP protobuf") {
        let bytes = std::fs::read(path).expect("readable");
        let decoded = decode_export(&bytes);
        match ExportTraceServiceRequest::decode(&*bytes) {
            Ok(read) => {
                let decoded = decoded.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let scopes = read.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                let listed = scopes.map(|scope| scope.spans.len()).sum::<usize>() as u64;
                assert_eq!(decoded.batch.num_rows() as u64 + decoded.refusals.rejected_spans, listed);
            }
            Err(error) => assert!(decoded.is_err(), "{}: prost says {error}", path.display()),
        }
    }
}

#[test]
fn malformed_files_are_refused_with_the_reason() {
    let Some(folder) = shared_data("malformed_files_are_refused_with_the_reason") else { return };
    let invalid = folder.join("fixtures/smithclay__otlp2parquet/testdata/invalid");
    let refused = |path: PathBuf| {
        let error = requests(&path).iter().find_map(|json| json_to_protobuf(json).err()).expect("an error");
        assert_eq!(error.kind, Kind::BadInput);
        error.to_string()
    };
    let message = refused(invalid.join("trace_invalid_kind.json"));
    assert!(message.contains("resourceSpans[0].scopeSpans[0].spans[0].kind"), "{message}");
    let message = refused(invalid.join("malformed.json"));
    assert!(message.contains("line "), "{message}");
    refused(folder.join("fixtures/smithclay__duckdb-otlp/test/data/multifile_malformed_traces.jsonl"));
    for name in ["trace_invalid_base64.json", "trace_mixed_encoding.json"] {
        let json = std::fs::read(invalid.join(name)).expect("readable");
        let decoded = decode_export(&json_to_protobuf(&json).expect("OTLP JSON")).expect("decodable");
        assert_eq!(decoded.refusals.rejected_spans, 1, "{name}");
        let by_id =
            [RefusalReason::TraceId, RefusalReason::SpanId].map(|reason| decoded.refusals.counts[reason as usize]);
        assert_eq!(by_id.iter().sum::<u64>(), 1, "{name}: {}", decoded.refusals.message);
    }
}

#[test]
fn the_json_sample_of_real_traces_is_taken_whole() {
    let Some(folder) = shared_data("the_json_sample_of_real_traces_is_taken_whole") else { return };
    let mut spans = 0;
    for json in requests(&folder.join("trainticket.sample.jsonl")) {
        let decoded = decode_export(&json_to_protobuf(&json).expect("OTLP JSON")).expect("decodable");
        assert_eq!(decoded.refusals.rejected_spans, 0, "{}", decoded.refusals.message);
        spans += decoded.batch.num_rows();
    }
    assert_eq!(spans, 1_998);
}
