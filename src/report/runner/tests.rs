//! The end of runs that panic, are given up, or have no time left for it.

use super::*;
use crate::report::record::TablesFolder;
use crate::report::results;
use crate::report::scheduler_tests::{Bench, report};

#[tokio::test(flavor = "multi_thread")]
async fn files_and_rows_are_put_where_they_belong_in_time_or_not_at_all() {
    let header = "record = { table = \"kept\" }\ntimeout = \"1s\"";
    let recorded = report("recorded", header, "SELECT 1 AS x");
    let bench = Bench::at("2026-03-01T07:00:00Z", Vec::new()).await;
    let runner = &bench.runner;
    let order = |after_ms: i64| RunOrder::by_hand(bench.clock.now_ms() + after_ms);
    let begun = runner.begun(&recorded, &order(0)).expect("a run");
    runner.note_begun(&begun).await.expect("noted");
    let mut worked = runner.worked(runner.work(&recorded, &begun, &order(0)), &CancellationToken::new()).await;
    assert_eq!((worked.status, worked.prepared.is_some()), (Status::Succeeded, true));
    // All was made in time, and the disk takes too long.
    worked.deadline = Deadline::after(std::time::Duration::ZERO);
    worked.parcel.artifacts.push(Artifact {
        file_name: "recorded.csv".to_owned(),
        media_type: "text/csv",
        bytes: bytes::Bytes::from_static(b"x\n1\n"),
    });
    let (run, _) = runner.ended(&recorded, begun, worked).await.expect("noted");
    assert_eq!((run.status, run.result.as_deref()), (Status::TimedOut, None), "{run:?}");
    assert!(run.error.is_some_and(|error| error.contains("longer than its timeout")));
    let home = bench.home();
    assert!(!home.dir().join(results::folder_of("recorded", &run.id)).exists());
    let tables = TablesFolder::of(&home);
    assert!(tables.recorded(&run.id, Some("kept")).expect("read").is_none());

    // Somebody else writes the table, and goes on for longer than the run may take.
    let table = home.tables().join("kept/lock");
    let others = std::fs::OpenOptions::new().write(true).open(table).expect("a lock");
    others.lock().expect("free");
    let late = runner.run(&recorded, order(1)).await.expect("a run");
    assert_eq!(late.status, Status::TimedOut, "{late:?}");
    drop(others);
    let next = runner.run(&recorded, order(2)).await.expect("a run");
    assert_eq!(next.status, Status::Succeeded, "{next:?}");
    assert_eq!(tables.recorded(&next.id, Some("kept")).expect("read").map(|recorded| recorded.rows), Some(1));
    assert!(tables.recorded(&late.id, Some("kept")).expect("read").is_none(), "it gave up, and wrote nothing later");
    bench.close().await;
}

#[tokio::test]
async fn a_run_that_panics_has_died_and_one_that_is_given_up_ends() {
    let worked = guarded(async { panic!("a test that panics") }).await;
    assert_eq!((worked.status, worked.error.as_deref()), (Status::Died, Some("it made its thread panic")));
    let work = Arc::new(());
    let held = work.clone();
    let endless = async move {
        let _held = held;
        std::future::pending::<Worked>().await
    };
    let waiting = tokio::spawn(guarded(endless));
    tokio::task::yield_now().await;
    waiting.abort();
    let _ = waiting.await;
    // It ends with whoever waited for it; otherwise this never does.
    while Arc::strong_count(&work) > 1 {
        tokio::task::yield_now().await;
    }
}
