//! Sketches, histograms and metrics of spans against `tests/clients/span_metrics.py`, which makes them from their definitions with numpy; and
//! which files a question about an interval reads.

use std::sync::Arc;

use spanhouse::engine::{Engine, EngineSettings};

use crate::store_support::{append, checked_by, explained, open_uncompacted, request};

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_those_that_another_program_counts() {
    const TEST: &str = "metrics_are_those_that_another_program_counts";
    let Some((said, _)) = checked_by(TEST, "span_metrics.py", None).await else { return };
    assert!(said.contains("1998 spans"), "{said}");
}

/// The scan of what a statement does, as EXPLAIN tells it.
async fn scan_of(engine: &Arc<Engine>, sql: &str) -> String {
    let plan = explained(engine, sql).await;
    plan.lines().find(|line| line.contains("TableScan")).unwrap_or_else(|| panic!("a scan in {plan}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_buckets_reaches_the_scan() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_uncompacted(folder.path()).await;
    append(&store, request(1..50)).await.expect("kept");
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
    const HOUR: &str = "time >= '2026-01-01 10:00' AND time < '2026-01-01 11:00'";
    for from in ["red('10 minutes')", "heatmap('10 minutes')"] {
        let scan = scan_of(&engine, &format!("SELECT * FROM {from} WHERE {HOUR} AND service_name = 'a'")).await;
        for part in
            ["start_ns >= Int64(1767261600000000000)", "start_ns < Int64(1767265800000000000)", "service_name = "]
        {
            assert!(scan.contains(part), "{from}: {part} in {scan}");
        }
    }
    let scan = scan_of(&engine, "SELECT * FROM span_metrics(until => '2026-01-01 11:00')").await;
    assert!(scan.contains("start_ns < Int64(1767265200000000000)") && !scan.contains("start_ns >="), "{scan}");
    let written = "SELECT time_bucket('1 hour', timestamp) AS hour, count(*) FROM spans GROUP BY hour HAVING time_bucket('1 hour', timestamp) = '2026-01-01 10:00'";
    let scan = scan_of(&engine, written).await;
    assert!(
        scan.contains("start_ns >= Int64(1767261600000000000)")
            && scan.contains("start_ns < Int64(1767265200000000000)"),
        "{scan}"
    );
}
