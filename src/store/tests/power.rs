//! What a power cut takes, and what is not believed until no power cut can take it.

use super::*;

/// A store whose log has spans in a segment that nothing more is written to, so that it goes once the table has them.
async fn with_a_closed_segment(dir: &Path, disk: &PowerDisk) -> Arc<Store> {
    let store = open_on(dir, Arc::new(disk.clone())).await;
    append(&store, 1..11).await.expect("kept");
    store.seal().await.expect("sealed");
    append(&store, 11..21).await.expect("kept");
    drop(store);
    open_on(dir, Arc::new(disk.clone())).await
}

/// What is left when the power is lost after the store has ended.
async fn ids_after_a_power_cut(dir: &Path, disk: &PowerDisk, store: Arc<Store>) -> Vec<u64> {
    drop(store);
    while crate::store::holder(dir).is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    disk.lose_power();
    disk.fail_dir_syncs("", 0);
    ids(&*open_on(dir, Arc::new(disk.clone())).await).await
}

#[tokio::test]
async fn row_26_a_commit_whose_name_a_power_cut_could_take_is_made_durable_before_the_log_is_cut() {
    let (dir, disk) = (tempfile::tempdir().expect("directory"), PowerDisk::default());
    let store = with_a_closed_segment(dir.path(), &disk).await;
    disk.fail_dir_syncs("_delta_log", 1);
    assert_eq!(store.seal().await.expect("found in the table").rows, 10);
    assert_eq!(store.status().log_segments, 0);
    assert_eq!(ids_after_a_power_cut(dir.path(), &disk, store).await, (1..21).collect::<Vec<_>>());
}

#[tokio::test]
async fn row_26_where_the_tables_log_cannot_be_synced_nothing_is_cut_or_acknowledged_any_more() {
    let (dir, disk) = (tempfile::tempdir().expect("directory"), PowerDisk::default());
    let store = with_a_closed_segment(dir.path(), &disk).await;
    disk.fail_dir_syncs("_delta_log", usize::MAX);
    let error = store.seal().await.expect_err("not durable");
    assert!(error.message.contains("it is not known what of the table"), "{error}");
    assert_eq!(append(&store, 21..31).await.expect_err("poisoned").kind, Kind::Closed);
    let told = tokio::time::timeout(Duration::from_secs(5), store.poisoned()).await.expect("told");
    assert!(told.message.contains("it is not known"), "{told}");
    assert_eq!(ids_after_a_power_cut(dir.path(), &disk, store).await, (1..21).collect::<Vec<_>>());
}

#[tokio::test]
async fn row_26_a_commit_that_was_never_synced_is_made_durable_by_the_next_start() {
    let (dir, disk) = (tempfile::tempdir().expect("directory"), PowerDisk::default());
    let store = with_a_closed_segment(dir.path(), &disk).await;
    disk.fail_dir_syncs("_delta_log", usize::MAX);
    store.seal().await.expect_err("not durable");
    drop(store);
    disk.fail_dir_syncs("", 0);
    // The process ended, and the power is lost later: the commit is in the table, and its spans not in the log any more.
    let store = open_on(dir.path(), Arc::new(disk.clone())).await;
    assert_eq!(store.status().log_segments, 0);
    assert_eq!(ids_after_a_power_cut(dir.path(), &disk, store).await, (1..21).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_18_after_a_power_cut_acknowledged_spans_are_there_once() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = PowerDisk::default();
    let (mut sent, mut acknowledged) = (0, std::collections::BTreeSet::new());
    for round in 0..24 {
        let store = open_on(dir.path(), Arc::new(disk.clone())).await;
        let seen = ids(&store).await;
        let requests: std::collections::BTreeSet<u64> = seen.iter().map(|id| id / 10).collect();
        assert_eq!(
            seen,
            requests.iter().flat_map(|request| request * 10..request * 10 + 10).collect::<Vec<_>>(),
            "round {round}"
        );
        assert!(requests.is_superset(&acknowledged), "round {round} lost {:?}", acknowledged.difference(&requests));
        // The cut comes in the middle of appending and, every other round, of sealing.
        let deadline = tokio::time::Instant::now() + Duration::from_millis(3 * round);
        let appending = async {
            loop {
                sent += 1;
                append(&store, sent * 10..sent * 10 + 10).await.expect("kept");
                acknowledged.insert(sent);
            }
        };
        let sealing = async {
            let times = if round % 2 == 1 { usize::MAX } else { 0 };
            for _ in 0..times {
                store.seal().await.expect("sealed");
            }
            std::future::pending::<()>().await;
        };
        let _ = tokio::time::timeout_at(deadline, async { tokio::join!(appending, sealing) }).await;
        drop(store);
        while crate::store::holder(dir.path()).is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        disk.lose_power();
    }
    assert!(acknowledged.len() > 100, "only {} requests were acknowledged", acknowledged.len());
}
