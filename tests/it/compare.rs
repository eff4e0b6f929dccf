//! `compare` and `trace_diff` against `tests/clients/compare.py`, which counts raw spans and asks scipy what that means; and what they read.

use spanhouse::engine::{Engine, EngineSettings};

use crate::store_support::{append, checked_by, explained, open_uncompacted, request};

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_those_that_another_program_finds() {
    const TEST: &str = "differences_are_those_that_another_program_finds";
    let Some((said, _)) = checked_by(TEST, "compare.py", None).await else { return };
    assert!(said.contains("1998 spans"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_read_once_and_trees_made_only_for_paths() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_uncompacted(folder.path()).await;
    append(&store, request(1..50)).await.expect("kept");
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
    let plain = explained(&engine, "SELECT * FROM compare(duration_ms > 1, since => '2026-01-01 10:00')").await;
    assert_eq!(plain.matches("TableScan").count(), 1, "{plain}");
    assert!(plain.contains("start_ns >= Int64(1767261600000000000)") && !plain.contains("TraceTreeExec"), "{plain}");
    let paths = explained(&engine, "SELECT * FROM compare(duration_ms > 1, with_paths => true)").await;
    assert_eq!(paths.matches("TraceTreeExec").count(), 1, "{paths}");
}
