//! The SQL scripts of `tests/slt`, in four states of the store that must agree.
//!
//! A folder is a data set: `calls`, `map`, `search`, `shop` and `trees` are the fixtures beside the tests, `trainticket` the shared sample of real traces.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use spanhouse::engine::{Engine, EngineSettings, Outcome, Session};
use spanhouse::error::Error;
use spanhouse::otlp::{decode_export, json_to_protobuf};
use spanhouse::report::record::{TablesFolder, keep};
use spanhouse::report::{Frame, Record, RecordMode, ReportsHome};
use spanhouse::store::{Store, StoreSettings};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tempfile::TempDir;

use crate::support::{Server, shared_data};

/// Where the spans are when the scripts run.
#[derive(Debug, Clone, Copy)]
enum State {
    Fresh,
    Sealed,
    Half,
    /// Half sealed, half taken by a server that was killed with `kill -9`, and opened again.
    Reopened,
}

#[tokio::test(flavor = "multi_thread")]
async fn shop_scripts_agree_in_all_states() {
    let data = manifest().join("tests/fixtures/shop.jsonl");
    run_folder("shop", &data).await;
}

/// Traces drawn by hand, one for each special case of a tree.
#[tokio::test(flavor = "multi_thread")]
async fn trees_scripts_agree_in_all_states() {
    let data = manifest().join("tests/fixtures/trees.jsonl");
    run_folder("trees", &data).await;
}

/// Traces drawn by hand: errors on their ways, and calls that are made again and again.
#[tokio::test(flavor = "multi_thread")]
async fn search_scripts_agree_in_all_states() {
    let data = manifest().join("tests/fixtures/failures.jsonl");
    run_folder("search", &data).await;
}

/// Traces drawn by hand, one for each way in which services call each other.
#[tokio::test(flavor = "multi_thread")]
async fn map_scripts_agree_in_all_states() {
    let data = manifest().join("tests/fixtures/map.jsonl");
    run_folder("map", &data).await;
}

/// Traces drawn by hand: calls that stand in spans of their own, and that were delivered twice.
#[tokio::test(flavor = "multi_thread")]
async fn calls_scripts_agree_in_all_states() {
    let data = manifest().join("tests/fixtures/calls.jsonl");
    run_folder("calls", &data).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trainticket_scripts_agree_in_all_states() {
    let Some(shared) = shared_data("trainticket_scripts_agree_in_all_states") else { return };
    run_folder("trainticket", &shared.join("trainticket.sample.jsonl")).await;
}

#[test]
fn no_script_is_forgotten() {
    for entry in fs::read_dir(manifest().join("tests/slt")).expect("scripts") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(
            path.is_dir() && ["calls", "map", "search", "shop", "trainticket", "trees"].contains(&name.as_str()),
            "nothing runs tests/slt/{name}"
        );
        assert!(!scripts(&name).is_empty(), "tests/slt/{name} has no scripts");
    }
}

fn manifest() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn scripts(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(manifest().join("tests/slt").join(folder)).expect("folder");
    let mut scripts: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    scripts.sort();
    for script in &scripts {
        assert!(script.extension().is_some_and(|extension| extension == "slt"), "{} is no script", script.display());
    }
    scripts
}

async fn run_folder(folder: &str, data: &Path) {
    for state in [State::Fresh, State::Sealed, State::Half, State::Reopened] {
        let loaded = load(data, state).await;
        let engine = Engine::new(loaded.store.clone(), EngineSettings::default()).expect("engine");
        record(&engine, loaded.folder.path()).await;
        // What is asked again is answered by plans that were kept.
        let times = if matches!(state, State::Half) { 2 } else { 1 };
        for script in std::iter::repeat_n(scripts(folder), times).flatten() {
            let engine = engine.clone();
            let mut runner = Runner::new(move || {
                let session = engine.session();
                async move { Ok(Connection(session)) }
            });
            if let Err(e) = runner.run_file_async(&script).await {
                panic!("{state:?}: {}", e.display(false));
            }
        }
    }
}

struct Loaded {
    store: Arc<Store>,
    folder: TempDir,
}

async fn load(data: &Path, state: State) -> Loaded {
    let folder = TempDir::new().expect("folder");
    let store = Store::open(folder.path(), StoreSettings::default()).await.expect("store");
    let text = fs::read_to_string(data).expect("data");
    let requests: Vec<&str> = text.lines().collect();
    let half = match state {
        State::Fresh => 0,
        State::Sealed => requests.len(),
        State::Half | State::Reopened => requests.len() / 2,
    };
    append(&store, &requests[..half]).await;
    if half > 0 {
        store.seal().await.expect("sealed");
    }
    if !matches!(state, State::Reopened) {
        append(&store, &requests[half..]).await;
        return Loaded { store, folder };
    }
    store.close().await.expect("closed");
    drop(store);
    let server = Server::start_in(folder.path(), &[]);
    for request in &requests[half..] {
        server.post_traces(json_to_protobuf(request.as_bytes()).expect("OTLP JSON")).await;
    }
    server.kill_9();
    let store = Store::open(folder.path(), StoreSettings::default()).await.expect("reopened");
    Loaded { store, folder }
}

/// What two runs of a report kept as `reports.hourly`, of which the second gave a column more.
const RECORDED: [&str; 2] = [
    "SELECT to_timestamp(3600 * h) AS time, 'web' AS service_name, count(*) AS calls, quantile_sketch(h * 100 + n) AS sketch
     FROM generate_series(0, 2) AS hours(h), generate_series(1, 100) AS s(n) GROUP BY h",
    "SELECT to_timestamp(3600 * 3) AS time, 'cart' AS service_name, 1 AS calls, quantile_sketch(1000) AS sketch, 0.5 AS error_rate",
];

/// Shows recorded tables in the schema `reports`.
async fn record(engine: &Arc<Engine>, folder: &Path) {
    let tables = TablesFolder::of(&ReportsHome::new(folder));
    let record = Record { table: "hourly".to_owned(), mode: RecordMode::Append, keep: None };
    let session = engine.session();
    for sql in RECORDED {
        let statements = session.prepare(sql).await.expect("planned");
        let Ok(Outcome::Rows(rows)) = session.execute(&statements[0], &[]).await else { panic!("no rows: {sql}") };
        keep(&tables, &record, &Frame::collect(rows, 1 << 20).await.expect("rows"), None).expect("kept");
    }
    engine.show_recorded(Arc::new(tables));
}

async fn append(store: &Store, requests: &[&str]) {
    for request in requests {
        let payload = json_to_protobuf(request.as_bytes()).expect("OTLP JSON");
        let decoded = decode_export(&payload).expect("OTLP");
        assert_eq!(decoded.refusals.rejected_spans, 0);
        store.append(payload.into(), decoded.batch).await.expect("appended");
    }
}

struct Connection(Session);

/// An error as scripts match it: SQLSTATE, text, hint, place in the statement.
#[derive(Debug, thiserror::Error)]
#[error("{} {}{}{}", .0.sqlstate(), .0, .0.hint.as_ref().map(|hint| format!(" [{hint}]")).unwrap_or_default(),
    .0.position.map(|position| format!(" at {position}")).unwrap_or_default())]
struct Shown(Error);

#[async_trait::async_trait]
impl AsyncDB for Connection {
    type Error = Shown;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Shown> {
        let mut output = DBOutput::StatementComplete(0);
        for statement in self.0.prepare(sql).await.map_err(Shown)? {
            output = match self.0.execute(&statement, &[]).await.map_err(Shown)? {
                Outcome::Command(_) => DBOutput::StatementComplete(0),
                Outcome::Rows(mut rows) => {
                    let mut shown = Vec::new();
                    while let Some(batch) = rows.stream.next().await {
                        shown.extend(show(&batch.map_err(Shown)?));
                    }
                    DBOutput::Rows { types: vec![DefaultColumnType::Any; rows.schema.fields().len()], rows: shown }
                }
            };
        }
        Ok(output)
    }

    async fn shutdown(&mut self) {}
}

fn show(batch: &datafusion::arrow::array::RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("a format"))
        .collect();
    let cell = |column: &ArrayFormatter<'_>, row| match column.value(row).to_string() {
        text if text.is_empty() => "(empty)".to_string(),
        text => text,
    };
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| cell(column, row)).collect()).collect()
}
