//! Traces by id, against a plain count of what was sent, over several sealings with late spans, and what a damaged index does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::generate::{Generator, Limit, Parameters};
use spanhouse::otlp::decode_export;
use spanhouse::store::Store;

use crate::store_support::{append, open_uncompacted};

const SPANS: u64 = 30_000;
/// Requests of 500 spans between two sealings; the last ones stay fresh.
const REQUESTS_OF_SEALING: usize = 13;

/// Spans and the sum of their durations, by trace id.
type Model = BTreeMap<String, (i64, i64)>;

async fn filled(dir: &Path) -> (Arc<Store>, Model) {
    let store = open_uncompacted(dir).await;
    let parameters = Parameters { limit: Limit::Spans(SPANS), batch_spans: 500, ..Parameters::default() };
    let mut model = Model::new();
    for (number, request) in Generator::new(parameters).enumerate() {
        let payload = Bytes::from(request.payload);
        let batch = decode_export(&payload).expect("spans").batch.to_record_batch().expect("expanded");
        let ids = batch.column_by_name("trace_id").expect("ids").as_fixed_size_binary();
        let durations = batch.column_by_name("duration_ns").expect("durations").as_primitive::<Int64Type>();
        for (id, duration_ns) in ids.iter().flatten().zip(durations.values()) {
            let entry = model.entry(id.iter().map(|byte| format!("{byte:02x}")).collect()).or_default();
            *entry = (entry.0 + 1, entry.1 + duration_ns);
        }
        append(&store, payload).await.expect("kept");
        if number % REQUESTS_OF_SEALING == REQUESTS_OF_SEALING - 1 {
            store.seal().await.expect("sealed");
        }
    }
    assert!(store.status().table_files >= 4 && store.status().fresh_rows > 0);
    (store, model)
}

fn engine(store: &Arc<Store>) -> Arc<Engine> {
    Engine::new(store.clone(), EngineSettings::default()).expect("an engine")
}

/// The rows of a statement, each as the texts of its columns.
async fn ask(engine: &Arc<Engine>, sql: &str, parameters: &[ScalarValue]) -> Vec<Vec<String>> {
    let session = engine.session();
    let statement = session.prepare(sql).await.expect("a statement").remove(0);
    let Outcome::Rows(rows) = session.execute(&statement, parameters).await.expect("started") else {
        return Vec::new();
    };
    let batches: Vec<_> = rows.stream.try_collect().await.expect("rows");
    let text = |batch: &datafusion::arrow::array::RecordBatch, row| {
        batch.columns().iter().map(|column| array_value_to_string(column, row).expect("text")).collect()
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| text(batch, row)).collect::<Vec<_>>()).collect()
}

const BY_PARAMETER: &str = "SELECT count(*), sum(duration_ns) FROM spans WHERE trace_id = $1";

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_whole_however_they_are_asked_for() {
    let dir = tempfile::tempdir().expect("directory");
    let (store, model) = filled(dir.path()).await;
    let engine = engine(&store);
    for (id, (spans, duration_ns)) in model.iter().step_by(7) {
        let found = ask(&engine, BY_PARAMETER, &[ScalarValue::from(id.as_str())]).await;
        assert_eq!(found, [[spans.to_string(), duration_ns.to_string()]], "{id}");
    }
    for ids in model.keys().collect::<Vec<_>>().chunks(50).step_by(3) {
        let expected: Vec<Vec<String>> = ids.iter().map(|id| vec![id.to_string(), model[*id].0.to_string()]).collect();
        let quoted: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        let list = format!(
            "SELECT trace_id, count(*) FROM spans WHERE trace_id IN ({}) GROUP BY 1 ORDER BY 1",
            quoted.join(",")
        );
        assert_eq!(ask(&engine, &list, &[]).await, expected);
        let values: Vec<String> = quoted.iter().map(|id| format!("({id})")).collect();
        let join = format!(
            "SELECT trace_id, count(*) FROM (VALUES {}) AS wanted (id) JOIN spans ON trace_id = id GROUP BY 1 ORDER BY 1",
            values.join(",")
        );
        assert_eq!(ask(&engine, &join, &[]).await, expected);
    }
    let slowest = "SELECT trace_id FROM spans ORDER BY duration_ns DESC, span_id LIMIT 40";
    let ids = ask(&engine, slowest, &[]).await;
    let distinct: std::collections::BTreeSet<&String> = ids.iter().flatten().collect();
    let expected: i64 = distinct.iter().map(|id| model[*id].0).sum();
    let found = ask(&engine, &format!("SELECT count(*) FROM spans WHERE trace_id IN ({slowest})"), &[]).await;
    assert_eq!(found, [[expected.to_string()]]);
    assert_eq!(store.status().trace_index_failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_reads_few_bytes_of_few_files() {
    let dir = tempfile::tempdir().expect("directory");
    let (store, model) = filled(dir.path()).await;
    store.seal().await.expect("sealed");
    let engine = engine(&store);
    let id = model.keys().nth(model.len() / 2).expect("a trace");
    let explained =
        ask(&engine, &format!("EXPLAIN ANALYZE SELECT span_id FROM spans WHERE trace_id = '{id}'"), &[]).await;
    let plan = explained[0].last().expect("a plan");
    let read: Vec<&str> = plan.lines().filter(|line| line.contains("DataSourceExec")).collect();
    assert!(read.len() == 1 && read[0].contains("rows=by trace index"), "{plan}");
    let files = read[0].matches(".parquet").count();
    assert!(files < store.status().table_files, "{plan}");
    let rows = model[id].0;
    assert!(read[0].contains(&format!("output_rows={rows},")), "{plan}");
    assert!(read[0].contains("pages_from_memory=0"), "{plan}");

    let again = ask(&engine, &format!("EXPLAIN ANALYZE SELECT span_id FROM spans WHERE trace_id = '{id}'"), &[]).await;
    let plan = again[0].last().expect("a plan");
    let reads_nothing = plan.contains("pages_read=0") && !plan.contains("pages_from_memory=0");
    assert!(reads_nothing && plan.contains(&format!("output_rows={rows},")), "{plan}");

    let join = "EXPLAIN ANALYZE SELECT count(*) FROM spans WHERE trace_id IN (SELECT trace_id FROM spans ORDER BY duration_ns DESC LIMIT 2)";
    let explained = ask(&engine, join, &[]).await;
    let plan = explained[0].last().expect("a plan");
    let counts = plan.split("files_pruned_trace_index=").skip(1).filter_map(|rest| rest.split([',', ']']).next());
    let left_out: usize = counts.filter_map(|count| count.parse::<usize>().ok()).sum();
    // How many there are depends on the cores: a file that they share is asked, and counted, by each.
    assert!(left_out > 0, "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_costs_time_and_not_truth() {
    let dir = tempfile::tempdir().expect("directory");
    let (store, model) = filled(dir.path()).await;
    store.close().await.expect("closed");
    drop(store);
    let mut damaged = 0_u64;
    for entry in std::fs::read_dir(dir.path().join("table")).expect("the table").flatten() {
        for file in std::fs::read_dir(entry.path()).expect("a folder").flatten() {
            let mut bytes = std::fs::read(file.path()).expect("a file");
            // The head's mark, which is at no other place of a file.
            let Some(at) = bytes.windows(8).position(|eight| eight == b"spantrc2") else { continue };
            bytes[at + 9] ^= 0x55;
            std::fs::write(file.path(), bytes).expect("damaged");
            damaged += 1;
        }
    }
    let store = open_uncompacted(dir.path()).await;
    assert_eq!(damaged, store.status().table_files as u64);
    let engine = engine(&store);
    for (id, (spans, duration_ns)) in model.iter().step_by(301) {
        let found = ask(&engine, BY_PARAMETER, &[ScalarValue::from(id.as_str())]).await;
        assert_eq!(found, [[spans.to_string(), duration_ns.to_string()]], "{id}");
    }
    // Once for each file.
    assert_eq!(store.status().trace_index_failures, damaged);
}
