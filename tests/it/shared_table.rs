//! Two servers on one table: each answers rightly while the other seals, compacts, deletes and redacts.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::store_support::request;
use crate::support::Server;

/// Within what a server sees what another has done: two seconds, on a machine that does other things too.
const BOUND: Duration = Duration::from_secs(30);
const ALL: &str = "SELECT count(*), count(DISTINCT span_id), sum(duration_ns)::bigint FROM spans";

fn start(dir: &Path, table: &Path) -> Server {
    let url = format!("file://{}", table.display());
    let settings =
        [("SPANHOUSE_TABLE_URL", url.as_str()), ("SPANHOUSE_SEAL_AFTER", "100ms"), ("SPANHOUSE_KEEP_REMOVED", "3s")];
    Server::start_in(dir, &settings)
}

/// The number of spans and the sum of their durations; no span may be there twice.
async fn answer(client: &tokio_postgres::Client) -> (i64, i64) {
    let row = client.query_one(ALL, &[]).await.expect("no statement fails");
    let (spans, ids) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
    assert_eq!(spans, ids, "spans that are there twice");
    (spans, row.get::<_, Option<i64>>(2).unwrap_or_default())
}

async fn wait_for(server: &Server, expected: (i64, i64)) {
    let (client, begun) = (server.postgres().await, Instant::now());
    loop {
        let found = answer(&client).await;
        if found == expected {
            return;
        }
        assert!(begun.elapsed() < BOUND, "{found:?} after {BOUND:?} in the place of {expected:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is to be found of spans with these ids.
fn of(ids: impl Iterator<Item = u64>) -> (i64, i64) {
    ids.fold((0, 0), |(spans, duration_ns), id| (spans + 1, duration_ns + id as i64 * 1000))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_sees_what_another_seals_compacts_deletes_and_redacts_and_no_statement_fails() {
    let folder = || tempfile::tempdir().expect("a folder");
    let (table, dirs) = (folder(), [folder(), folder()]);
    let (one, other) = (start(dirs[0].path(), table.path()), start(dirs[1].path(), table.path()));
    let (client, done) = (other.postgres().await, Arc::<AtomicBool>::default());
    let is_done = done.clone();
    // Whatever happens, the other is asked all the time.
    let asking = tokio::spawn(async move {
        let mut answers = 0;
        while !is_done.load(Ordering::SeqCst) {
            answer(&client).await;
            answers += 1;
        }
        answers
    });
    for round in 0..10 {
        one.post_traces(request(1 + round * 100..101 + round * 100).to_vec()).await;
        wait_for(&other, of(1..101 + round * 100)).await;
    }
    other.post_traces(request(1001..1101).to_vec()).await;
    wait_for(&one, of(1..1101)).await;
    // The files that were merged are gone, and the other has gone on.
    let files = "SELECT count(*) FROM system.files";
    let begun = Instant::now();
    while other.postgres().await.query_one(files, &[]).await.expect(files).get::<_, i64>(0) >= 20 {
        assert!(begun.elapsed() < BOUND, "nobody compacts");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    one.stop();

    let trace = format!("{:032x}", 3);
    let dir = dirs[0].path().to_str().expect("a plain path");
    let redacted = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
        .args(["redact", "--trace-id", &trace, "--now", "--data-dir", dir])
        .output()
        .expect("it starts");
    assert!(redacted.status.success(), "{}", String::from_utf8_lossy(&redacted.stderr));
    wait_for(&other, of((1..1101).filter(|id| 1 + id % 11 != 3))).await;
    done.store(true, Ordering::SeqCst);
    assert!(asking.await.expect("no statement fails") > 10);
    other.stop();
}
