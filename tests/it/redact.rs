//! Redaction: the spans that are meant go for good, and every other span stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;
use spanhouse::engine::{Engine, EngineSettings};
use spanhouse::model::TraceId;
use spanhouse::store::{Redaction, SnapshotSource, SpanFilter, Store, StoreReader, TraceFilter, find_spans};

use crate::attributes::{answer, export};
use crate::store_support::{append, open_uncompacted, span_ids};
use crate::support::Server;

const SPANS: u64 = 900;

/// All that spans say, the entries of a map in an order of their own: a file may have them in another than what was sent.
const COLUMNS: &str = "trace_id, span_id, parent_span_id, timestamp, end_timestamp, duration_ns, span_name, service_name, status_code, \
    span_kind, scope_name, error_message, events, links, attributes['unique'], attributes['code'], attributes['mixed'], attributes['twice'], \
    array_sort(map_keys(attributes)), array_sort(map_values(attributes)), array_sort(map_values(resource_attributes)), \
    array_sort(map_values(scope_attributes)), length(attribute_types), length(resource_attribute_types)";

/// Predicates over all kinds of columns: ids, times, texts, attributes in columns of files and in maps, events, what the view computes.
const PREDICATES: [&str; 16] = [
    "trace_id = '00000000000000000000000000000007'",
    "trace_id LIKE '%5' AND span_id > '0000000000000100'",
    "duration_ms > 0.2",
    "timestamp >= '2026-01-01 12:00:00.000000400' AND timestamp < '2026-01-01 12:00:00.0000006'",
    "attributes['code'] >= 500",
    "attributes['code'] IS NULL",
    "attributes['unique'] = 'request 000123' -- one",
    "attributes['mixed'] = 'true' OR attributes['ratio'] < 0.2",
    "attributes['rare'] IS NOT NULL",
    "resource_attributes['host'] = 'h1' AND scope_attributes['mode'] = 'slow'",
    "attributes->>'route' ~ '^/a/'",
    "service_name <> 'shop'",
    "coalesce(parent_span_id, 'none') = 'none' AND span_kind = 'UNSPECIFIED' AND cardinality(events) > 0",
    "error_message IS NULL AND (status_code = 'UNSET')",
    "true",
    "timestamp > now()",
];

/// A store whose spans lie in two files and in memory.
async fn filled(dir: &Path) -> Arc<Store> {
    let store = open_uncompacted(dir).await;
    for (number, seals) in [(0, true), (1, true), (2, false)] {
        append(&store, export(number * SPANS / 3..(number + 1) * SPANS / 3)).await.expect("kept");
        if seals {
            store.seal().await.expect("sealed");
        }
    }
    store
}

fn engine(source: Arc<dyn SnapshotSource>) -> Arc<Engine> {
    Engine::new(source, EngineSettings::default()).expect("an engine")
}

fn redaction(filter: Arc<dyn SpanFilter>) -> Redaction {
    Redaction { filter, receipt: "a test".into(), delete_now: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predicate_takes_out_what_where_would_find_and_leaves_every_other_span_as_it_is() {
    for predicate in PREDICATES {
        let dir = tempfile::tempdir().expect("directory");
        let store = filled(dir.path()).await;
        let engine = engine(store.clone());
        let count = format!("SELECT count(*), count(DISTINCT trace_id) FROM spans WHERE ({predicate}\n)");
        let found = answer(&engine, &count).await.expect("a count");
        let all = format!("SELECT {COLUMNS} FROM spans ORDER BY span_id");
        let rest = format!("SELECT {COLUMNS} FROM spans WHERE NOT coalesce(({predicate}\n), false) ORDER BY span_id");
        let expected = answer(&engine, &rest).await.expect("the rest");

        let filter = engine.span_filter(predicate).await.expect("a filter");
        let dry = find_spans(&store.snapshot().await.expect("a snapshot"), filter.clone()).await.expect("found");
        assert!(found.contains(&format!("| {} ", dry.spans)) && found.contains(&format!("| {} ", dry.traces())));
        let report = store.redact(redaction(filter.clone())).await.expect("redacted");
        assert_eq!((report.spans, report.traces), (dry.spans, dry.traces()), "{predicate}: {found}");
        assert_eq!(report.waiting_files, 0, "{predicate}");
        assert_eq!(report.version_after == report.version_before, report.spans == 0, "{predicate}");
        assert!(answer(&engine, &all).await.expect("all") == expected, "{predicate}");

        let again = store.redact(redaction(filter)).await.expect("redacted again");
        assert_eq!((again.spans, again.version_after), (0, report.version_after), "{predicate}");
        store.close().await.expect("closed");
        drop((store, engine));
        let reader = StoreReader::open(dir.path()).await.expect("a reader");
        let engine = Engine::new(reader, EngineSettings::default()).expect("an engine");
        assert!(answer(&engine, &all).await.expect("all") == expected, "{predicate}, opened again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predicate_that_is_none_or_needs_more_than_a_span_is_told_with_its_place() {
    let dir = tempfile::tempdir().expect("directory");
    let engine = engine(open_uncompacted(dir.path()).await);
    for (predicate, message, position) in [
        ("service_nam = 'x'", "service_nam", Some(1)),
        ("duration_ms > 1 AND\n  nope = 2", "nope", Some(23)),
        ("duration_ms >", "syntax error", Some(13)),
        ("", "syntax error", Some(1)),
        ("true) OR (true", "syntax error at or near \")\"", Some(5)),
        ("true; SELECT 1", "syntax error at or near \";\"", Some(5)),
        ("duration_ms", "", None),
        ("random() < 0.5", "answers otherwise each time", None),
        ("trace_id IN (SELECT trace_id FROM spans)", "needs a subquery", None),
        ("duration_ns = (SELECT max(duration_ns) FROM spans)", "needs a subquery", None),
        ("count(*) > 1", "", None),
        ("trace_id = $1", "no parameters", None),
    ] {
        let error = engine.span_filter(predicate).await.expect_err(predicate);
        assert!(error.message.contains(message), "{predicate}: {error}");
        assert_ne!(error.sqlstate(), "XX000", "{predicate}: {error}");
        if position.is_some() {
            assert_eq!(error.position, position, "{predicate}: {error}");
        }
    }
}

/// Runs `spanhouse redact` on `dir/data`.
fn redact(dir: &Path, arguments: &[&str], failpoint: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
    command.current_dir(dir).args(["redact", "--data-dir", "data"]).args(arguments);
    if let Some(failpoint) = failpoint {
        command.env("SPANHOUSE_FAILPOINT", failpoint);
    }
    command.output().expect("spanhouse starts")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn receipt(dir: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.join(name)).expect("a receipt")).expect("JSON")
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_leaves_a_server_alone_and_takes_spans_out_of_log_and_files_with_a_receipt() {
    let folder = tempfile::tempdir().expect("folder");
    let (dir, data) = (folder.path(), folder.path().join("data"));
    let server = Server::start_in(&data, &[("SPANHOUSE_SEAL_AFTER", "1h"), ("SPANHOUSE_RETENTION", "36500d")]);
    server.post_traces(export(0..SPANS).to_vec()).await;
    let predicate = ["--where", "attributes['unique'] = 'request 000123'"];

    let dry = redact(dir, &[&predicate[..], &["--dry-run", "--receipt", "dry.json"]].concat(), None);
    assert_eq!(dry.status.code(), Some(0), "{}", said(&dry));
    assert!(said(&dry).contains("1 span of 1 trace would go"), "{}", said(&dry));
    assert_eq!((&receipt(dir, "dry.json")["dry_run"], &receipt(dir, "dry.json")["spans"]), (&true.into(), &1.into()));
    let refused = redact(dir, &predicate, None);
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    assert!(said(&refused).contains("stop the server"), "{}", said(&refused));
    server.kill_9();

    let ids = "trace_id\n00000000000000000000000000000003\n";
    fs::write(dir.join("ids.csv"), ids).expect("written");
    let done = redact(dir, &["--trace-ids-from", "ids.csv", "--receipt", "first.json"], None);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains("keep_removed"), "{}", said(&done));
    let first = receipt(dir, "first.json");
    assert_eq!(first["by"]["trace_ids"], serde_json::json!(["00000000000000000000000000000003"]));
    assert_eq!(first["table_version_after"].as_u64(), first["table_version_before"].as_u64().map(|before| before + 1));
    // Twenty spans a trace, and the third trace has them all.
    assert_eq!((&first["waiting_files"], &first["spans"]), (&1.into(), &20.into()));
    let again = redact(dir, &["--trace-id", "00000000000000000000000000000003", "--receipt", "first.json"], None);
    assert_eq!(again.status.code(), Some(2), "a receipt is not written over: {}", said(&again));

    let done = redact(dir, &[&predicate[..], &["--now", "--receipt", "second.json"]].concat(), None);
    let second = receipt(dir, "second.json");
    assert_eq!((second["spans"].as_u64(), second["deleted_files"].as_u64()), (Some(1), Some(2)), "{}", said(&done));
    let by_commit = files_below(&data.join("table/_delta_log")).into_iter().filter(|file| {
        let id = second["id"].as_str().expect("an id");
        fs::read(file).is_ok_and(|bytes| bytes.windows(id.len()).any(|window| window == id.as_bytes()))
    });
    assert_eq!(by_commit.count(), 1, "the table's log names the receipt");
    for file in files_below(&data) {
        let bytes = fs::read(&file).expect("readable");
        let text = b"request 000123";
        assert!(!bytes.windows(text.len()).any(|window| window == text), "{} still says it", file.display());
    }
    assert!(data.join("retention").exists(), "what the server announced goes on to hold");
    let reader = StoreReader::open(&data).await.expect("a reader");
    let gone: u64 = [&first, &second].iter().filter_map(|receipt| receipt["spans"].as_u64()).sum();
    assert_eq!(span_ids(reader.as_ref()).await.len() as u64, SPANS - gone, "all others stay");
    let bad = redact(dir, &["--where", "nope = 1"], None);
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
    assert!(said(&bad).contains("line 1: nope = 1\n        ^"), "{}", said(&bad));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_a_redaction_happened_wholly_or_not_at_all_and_ends_when_it_is_done_again() {
    if cfg!(not(debug_assertions)) {
        return crate::support::skip("killed_anywhere", "failpoints are compiled only with debug assertions");
    }
    let id = "00000000000000000000000000000003";
    let filter = TraceFilter::new(TraceId::from_hex(id));
    let failpoints = [
        "before_file_sync:1",
        "before_file_sync:2",
        "before_commit:1",
        "before_table_sync:1",
        "before_table_sync:2",
        "after_commit:1",
        "before_log_cut:1",
        "after_log_cut:1",
        "before_replace_commit:1",
        "after_replace_commit:1",
        "after_replace:1",
    ];
    for failpoint in failpoints {
        let folder = tempfile::tempdir().expect("folder");
        let data = folder.path().join("data");
        let store = filled(&data).await;
        let before = span_ids(store.as_ref()).await;
        let found = find_spans(&store.snapshot().await.expect("a snapshot"), Arc::new(filter.clone())).await;
        let found = found.expect("found").spans as usize;
        assert!(found > 3);
        // As a crash leaves it: the last spans are in the log only.
        drop(store);
        crate::store_support::until_free(&data).await;
        let killed = redact(folder.path(), &["--trace-id", id, "--now"], Some(failpoint));
        assert!(!killed.status.success(), "{failpoint} was not passed: {}", said(&killed));
        let reader = StoreReader::open(&data).await.expect("a reader");
        let left = span_ids(reader.as_ref()).await;
        assert!(left.len() == before.len() || left.len() == before.len() - found, "{failpoint}: {}", left.len());
        let done = redact(folder.path(), &["--trace-id", id, "--now"], None);
        assert!(done.status.success(), "{failpoint}: {}", said(&done));
        let reader = StoreReader::open(&data).await.expect("a reader");
        assert_eq!(span_ids(reader.as_ref()).await.len(), before.len() - found, "{failpoint}");
        let left = find_spans(&reader.snapshot().await.expect("a snapshot"), Arc::new(filter.clone())).await;
        assert_eq!(left.expect("found").spans, 0, "{failpoint}");
    }
}
