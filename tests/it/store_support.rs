//! What the store's tests share: requests made from numbers, the span ids of a snapshot, other programs that check what a store holds, and plans.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use futures::TryStreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use prost::Message;
use spanhouse::engine::{Engine, Outcome};
use spanhouse::error::{Kind, Result};
use spanhouse::otlp::{decode_export, json_to_protobuf};
use spanhouse::store::{Snapshot, SnapshotSource, Store, StoreSettings};

use crate::support::{Server, python, shared_data};

/// Noon of a day, in nanoseconds.
const NOON_NS: u64 = 1_767_268_800_000_000_000;
const DAY_NS: u64 = 86_400_000_000_000;

/// An export of the spans with these ids, a few traces, over two days.
pub fn request(ids: std::ops::Range<u64>) -> Bytes {
    let span = |id: u64| {
        let start = NOON_NS + id % 2 * DAY_NS + id % 900 * 1_000_000_000;
        Span {
            trace_id: u128::from(1 + id % 11).to_be_bytes().to_vec(),
            span_id: id.to_be_bytes().to_vec(),
            name: format!("operation {}", id % 5),
            start_time_unix_nano: start,
            end_time_unix_nano: start + id * 1000,
            ..Default::default()
        }
    };
    let scope_spans = vec![ScopeSpans { spans: ids.map(span).collect(), ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

/// Appends an export as a listener does.
pub async fn append(store: &Store, payload: Bytes) -> Result<()> {
    let batch = decode_export(&payload)?.batch;
    store.append(payload, batch).await
}

/// Opens a store that seals only when asked.
pub async fn open(dir: &Path) -> Arc<Store> {
    open_with(dir, StoreSettings { seal_after: Duration::from_secs(3600), ..StoreSettings::default() }).await
}

/// Opens a store that leaves its files as they were sealed.
pub async fn open_uncompacted(dir: &Path) -> Arc<Store> {
    let settings = StoreSettings { seal_after: Duration::from_secs(3600), compact: false, ..StoreSettings::default() };
    open_with(dir, settings).await
}

async fn open_with(dir: &Path, settings: StoreSettings) -> Arc<Store> {
    // The threads of a store that was dropped without closing let go of the directory a moment later.
    for _ in 0..250 {
        match Store::open(dir, settings.clone()).await {
            Err(error) if error.kind == Kind::Denied => tokio::time::sleep(Duration::from_millis(20)).await,
            other => return other.expect("a store"),
        }
    }
    panic!("the directory is still locked");
}

/// Waits until the threads of a store that was dropped without closing have let go of its directory.
pub async fn until_free(dir: &Path) {
    for _ in 0..250 {
        if spanhouse::store::holder(dir).is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the directory is still locked");
}

/// The ids of all spans that a source shows, sorted, repeated ones repeated.
pub async fn span_ids(source: &dyn SnapshotSource) -> Vec<u64> {
    let snapshot: Snapshot = source.snapshot().await.expect("a snapshot");
    let mut ids = Vec::new();
    for batch in snapshot.fresh.iter() {
        collect_ids(&batch.to_record_batch().expect("expanded"), &mut ids);
    }
    for file in snapshot.files.iter() {
        let got = snapshot.object_store.get_opts(&file.location, Default::default()).await.expect("the file");
        let reader = ParquetRecordBatchReader::try_new(got.bytes().await.expect("its bytes"), 8192).expect("parquet");
        reader.for_each(|batch| collect_ids(&batch.expect("rows"), &mut ids));
    }
    ids.sort_unstable();
    ids
}

fn collect_ids(batch: &RecordBatch, ids: &mut Vec<u64>) {
    let column = batch.column_by_name("span_id").expect("span ids").as_fixed_size_binary();
    ids.extend((0..column.len()).map(|row| u64::from_be_bytes(column.value(row).try_into().expect("eight bytes"))));
}

/// Keeps the requests of a file, a request a line; seals before the last few, and once between.
pub async fn keep(store: &Arc<Store>, file: &Path) {
    let text = fs::read_to_string(file).expect("data");
    let requests: Vec<&str> = text.lines().collect();
    for (number, request) in requests.iter().enumerate() {
        append(store, json_to_protobuf(request.as_bytes()).expect("OTLP JSON").into()).await.expect("kept");
        if number == requests.len() / 3 || number == requests.len() * 2 / 3 {
            store.seal().await.expect("sealed");
        }
    }
}

/// A file of traces beside the tests.
pub fn drawn_by_hand(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Runs a program of `tests/clients` against a server that has the traces of a fixture and, where there are such, real ones; gives what it says, and
/// whether there are. `None` without anything to run on.
pub async fn checked_by(test: &str, program: &str, fixture: Option<&str>) -> Option<(String, bool)> {
    let python = python(test)?;
    let shared = shared_data(test);
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_uncompacted(folder.path()).await;
    let drawn = fixture.map(drawn_by_hand);
    let real = shared.as_ref().map(|shared| shared.join("trainticket.sample.jsonl"));
    if drawn.is_none() && real.is_none() {
        return None;
    }
    for file in drawn.iter().chain(&real) {
        keep(&store, file).await;
    }
    store.close().await.expect("closed");
    drop(store);
    let server = Server::start_in(folder.path(), &[]);
    Some((python.run(program, &[server.postgres_port()]), shared.is_some()))
}

/// What `EXPLAIN` says of a statement, or with `ANALYZE` before it what each operator says of itself after it ran.
pub async fn explained(engine: &Arc<Engine>, sql: &str) -> String {
    let session = engine.session();
    let statement = session.prepare(&format!("EXPLAIN {sql}")).await.expect("a statement").remove(0);
    let Outcome::Rows(rows) = session.execute(&statement, &[]).await.expect("started") else { return String::new() };
    let batches: Vec<_> = rows.stream.try_collect().await.expect("rows");
    datafusion::arrow::util::pretty::pretty_format_batches(&batches).expect("shown").to_string()
}
