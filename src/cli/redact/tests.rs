//! What a redaction finds when.

use clap::Parser;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;
use crate::store::testing::append_export;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn id_of(trace: u128) -> String {
    format!("{trace:032x}")
}

/// A span of a trace, as a server takes it.
async fn taken(settings: &Settings, trace: u128, name: &str) {
    let span = Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: 7_u64.to_be_bytes().to_vec(),
        name: name.to_owned(),
        start_time_unix_nano: 1_767_268_800_000_000_000,
        end_time_unix_nano: 1_767_268_800_000_000_005,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let request =
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] };
    let store = Store::open(&settings.data_dir, settings.store()).await.expect("a store");
    append_export(&store, request.encode_to_vec().into()).await.expect("kept");
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_the_predicate_was_read_goes_out_of_reports_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display().to_string();
    let line = ["redact", "--where", "span_name = 'secret'", "--data-dir", &path];
    let arguments = Line::parse_from(line).arguments;
    let settings = arguments.data_dir.flags().settings().expect("settings");
    taken(&settings, 1, "secret").await;
    taken(&settings, 2, "plain").await;
    let home = ReportsHome::new(&settings.data_dir);
    std::fs::create_dir_all(home.dir()).expect("made");
    let told = (1..=3).map(|trace| format!("{{\"x\":\"{}\"}}\n", id_of(trace))).collect::<String>();
    std::fs::write(home.runs_journal(), told).expect("written");

    let reader = data::open_reader(&settings).await.expect("a reader");
    let Meant { filter, traces, .. } = selection(&arguments, &settings, reader).await.expect("read");
    // The server went on until it was stopped, and a report ran.
    taken(&settings, 3, "secret").await;
    let (_, spans, reports) = redact(&settings, filter, traces, true).await.expect("redacted");
    assert_eq!((spans.spans, reports.lines), (2, 2));
    let kept = std::fs::read_to_string(home.runs_journal()).expect("a journal");
    assert_eq!([1, 2, 3].map(|trace| kept.contains(&id_of(trace))), [false, true, false], "{kept}");
}
