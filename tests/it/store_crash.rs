//! A process killed at any point keeps what it acknowledged, once. The killed process is this test binary, run again as a child.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::store_support::{append, open, request, span_ids};

/// Tells the child where its data lies.
const CHILD_DIR: &str = "SPANHOUSE_TEST_CRASH_DIR";
const FAILPOINT: &str = "SPANHOUSE_FAILPOINT";
const REQUESTS: u64 = 12;
const SPANS_OF_REQUEST: u64 = 20;
/// The child seals after this many requests, and then compacts.
const SEAL_EVERY: u64 = 4;

const FAILPOINTS: &[&str] = &[
    "before_log_write",
    "before_log_sync",
    "after_log_sync",
    "before_ack",
    "before_file_sync",
    "before_commit",
    "before_table_sync",
    "after_commit",
    "before_log_cut",
    "after_log_cut",
    "before_replace_commit",
    "after_replace_commit",
    "after_replace",
];

/// The life of the child: it prints each request's number once that is acknowledged. Without [`CHILD_DIR`] there is nothing to do.
#[test]
fn crash_child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    runtime().block_on(async {
        let store = open(Path::new(&dir)).await;
        let begin = std::env::var("SPANHOUSE_TEST_CRASH_BEGIN").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
        for number in begin..begin + REQUESTS {
            append(&store, request_of(number)).await.expect("kept");
            writeln!(std::io::stderr(), "acknowledged {number}").expect("a reader");
            if number % SEAL_EVERY == SEAL_EVERY - 1 {
                store.seal().await.expect("sealed");
                store.compact().await.expect("compacted");
            }
        }
    });
}

#[test]
fn row_17_and_25_killed_at_every_failpoint_acknowledged_spans_are_there_once() {
    if cfg!(not(debug_assertions)) {
        return crate::support::skip("row_17_and_25", "failpoints are compiled only with debug assertions");
    }
    for name in FAILPOINTS {
        let mut killed = 0;
        for pass in 1..=3 {
            let dir = tempfile::tempdir().expect("directory");
            // The second child opens what the first one left, and is killed as well.
            let mut acknowledged = BTreeSet::new();
            for begin in [0, REQUESTS] {
                let (died, acked) = run_child(dir.path(), &format!("{name}:{pass}"), begin);
                killed += usize::from(died);
                acknowledged.extend(acked);
            }
            check(dir.path(), &acknowledged, &format!("{name}:{pass}"));
        }
        assert!(killed >= 3, "{name} killed {killed} of six children only: it has gone missing");
    }
}

/// Every acknowledged request's spans are there, all requests are whole or absent, and no span is there twice.
fn check(dir: &Path, acknowledged: &BTreeSet<u64>, what: &str) {
    let ids = runtime().block_on(async {
        let store = open(dir).await;
        let ids = span_ids(store.as_ref()).await;
        store.close().await.expect("closed");
        let store = open(dir).await;
        assert_eq!(span_ids(store.as_ref()).await, ids, "{what}: sealing and closing changes nothing");
        ids
    });
    let present: BTreeSet<u64> = ids.iter().map(|id| (id - 1) / SPANS_OF_REQUEST).collect();
    let whole: Vec<u64> = present.iter().flat_map(|number| ids_of(*number)).collect();
    assert_eq!(ids, whole, "{what}: a request is torn or there twice");
    assert!(acknowledged.is_subset(&present), "{what}: lost {:?}", acknowledged.difference(&present));
}

fn run_child(dir: &Path, failpoint: &str, begin: u64) -> (bool, BTreeSet<u64>) {
    let child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["store_crash::crash_child", "--exact", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env("SPANHOUSE_TEST_CRASH_BEGIN", begin.to_string())
        .env(FAILPOINT, failpoint)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    let acknowledged = said.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).collect();
    assert!(!said.contains("panicked"), "{failpoint}: {said}");
    (!output.status.success(), acknowledged)
}

fn ids_of(number: u64) -> std::ops::Range<u64> {
    1 + number * SPANS_OF_REQUEST..1 + (number + 1) * SPANS_OF_REQUEST
}

fn request_of(number: u64) -> bytes::Bytes {
    request(ids_of(number))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime")
}
