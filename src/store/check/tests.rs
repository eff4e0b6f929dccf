//! Damage done on purpose, at many places of each kind of file, against what was written there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::repair::repair_with;
use super::{CheckReport, Part, Place, Repair, blocking};
use crate::error::{Kind, Result};
use crate::store::disk::OsDisk;
use crate::store::open::open;
use crate::store::testing::{FaultyDisk, ManualClock, START, TestSpan, components, decode, payload, quiet, span_ids};
use crate::store::{SnapshotSource, Store, StoreReader};

const DAY_NS: i64 = 86_400_000_000_000;

/// A data directory: 40 spans on each of two days in the table, and 60 in six requests in the log.
struct Written {
    dir: TempDir,
}

/// The spans with these ids, on a day.
fn request(ids: std::ops::Range<u64>, day: i64) -> Bytes {
    let start_ns = |span: u64| START + day * DAY_NS + span as i64 * 1_000_000;
    payload(&ids.map(|span| TestSpan { trace: 1 + span % 5, span, start_ns: start_ns(span) }).collect::<Vec<_>>())
}

const TABLE_IDS: [std::ops::Range<u64>; 2] = [1..41, 41..81];
const LOG_IDS: std::ops::Range<u64> = 81..141;
const REQUEST_SPANS: u64 = 10;

async fn opened(dir: &Path) -> Arc<Store> {
    for _ in 0..250 {
        let parts = components(Arc::new(FaultyDisk::default()), Arc::new(ManualClock::default()));
        match open(dir, quiet(), parts).await {
            Err(error) if error.kind == Kind::Denied => tokio::time::sleep(Duration::from_millis(20)).await,
            other => return other.expect("a store"),
        }
    }
    panic!("the directory is still locked");
}

async fn until_free(dir: &Path) {
    while crate::store::holder(dir).is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn append(store: &Store, payload: Bytes) {
    let batch = decode(&payload).expect("a batch");
    store.append(payload, batch).await.expect("kept");
}

impl Written {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let store = opened(dir.path()).await;
        for (day, ids) in TABLE_IDS.into_iter().enumerate() {
            append(&store, request(ids, day as i64)).await;
            store.seal().await.expect("sealed");
        }
        store.close().await.expect("closed");
        drop(store);
        let store = opened(dir.path()).await;
        for first in LOG_IDS.step_by(REQUEST_SPANS as usize) {
            append(&store, request(first..first + REQUEST_SPANS, 0)).await;
        }
        drop(store);
        until_free(dir.path()).await;
        Self { dir }
    }

    /// A copy in which one bit of a file is another.
    fn flipped(&self, file: &Path, at: usize) -> TempDir {
        let copy = tempfile::tempdir().expect("directory");
        copy_all(self.dir.path(), copy.path());
        let path = copy.path().join(file);
        let mut bytes = fs::read(&path).expect("a file");
        bytes[at] ^= 1 << (at % 8);
        fs::write(path, bytes).expect("damaged");
        copy
    }

    /// The files below a folder whose names end so.
    fn files(&self, folder: &str, end: &str) -> Vec<PathBuf> {
        let all = contents(self.dir.path());
        all.into_keys().filter(|path| path.starts_with(folder) && path.to_string_lossy().ends_with(end)).collect()
    }

    fn bytes(&self, file: &Path) -> Vec<u8> {
        fs::read(self.dir.path().join(file)).expect("a file")
    }
}

fn all_ids() -> BTreeSet<u64> {
    (1..LOG_IDS.end).collect()
}

fn copy_all(from: &Path, to: &Path) {
    for (path, bytes) in contents(from) {
        fs::create_dir_all(to.join(&path).parent().expect("a folder")).expect("created");
        fs::write(to.join(path), bytes).expect("copied");
    }
}

/// Every file of a directory.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(dir).expect("below").to_owned(), fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

async fn look(dir: &Path) -> Result<CheckReport> {
    let place = Place::open(dir, Arc::new(OsDisk), decode)?;
    blocking(move || place.check()).await
}

async fn mend(dir: &Path) -> Repair {
    repair_with(dir, decode).await.expect("repaired")
}

/// What a store shows that opens the directory.
async fn shown(dir: &Path) -> BTreeSet<u64> {
    let store = opened(dir).await;
    let ids = span_ids(&store.snapshot().await.expect("a snapshot")).await;
    let shown: BTreeSet<u64> = ids.iter().copied().collect();
    assert_eq!(shown.len(), ids.len(), "a span is there twice");
    // It takes more.
    append(&store, request(1_000..1_010, 0)).await;
    store.close().await.expect("closed");
    drop(store);
    until_free(dir).await;
    assert!(look(dir).await.expect("checked").is_sound());
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_directory_is_told_as_it_is_and_nothing_is_changed() {
    let written = Written::new().await;
    let before = contents(written.dir.path());
    let report = look(written.dir.path()).await.expect("checked");
    assert_eq!(report.findings, []);
    assert_eq!((report.log.requests, report.log.fresh_requests, report.log.fresh_spans), (6, 6, 60));
    assert_eq!((report.log.segments, report.log.unfinished_bytes), (1, 0));
    let log = written.files("wal", ".wal");
    assert_eq!(report.log.bytes, written.bytes(&log[0]).len() as u64);
    let table = &report.table;
    assert_eq!((table.files, table.spans, table.summed_files, table.indexed_files), (2, 80, 2, 2));
    assert_eq!(mend(written.dir.path()).await, Repair::default());
    let mut after = contents(written.dir.path());
    after.insert("lock".into(), before[Path::new("lock")].clone());
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_every_flip_in_the_log_is_told_and_repair_keeps_the_rest() {
    let written = Written::new().await;
    let log = written.files("wal", ".wal").remove(0);
    let bytes = written.bytes(&log);
    // A head of 40 bytes, and six records of one size.
    let record_bytes = (bytes.len() - 40) / 6;
    for at in (0..bytes.len()).step_by(5) {
        let copy = written.flipped(&log, at);
        let report = look(copy.path()).await.expect("checked");
        let hit = at.checked_sub(40).map(|at| (at / record_bytes) as u64);
        match hit {
            // Zeros that no checksum covers, and nobody reads.
            None if (36..40).contains(&at) => assert!(report.is_sound(), "{at}"),
            // The last write looks as if it had not come to its end, whatever became of it.
            Some(5) => {
                assert!(report.is_sound() && report.log.unfinished_bytes == record_bytes as u64, "{at}: {report:?}");
            }
            _ => {
                let finding = report.findings.first().expect("told");
                // Without its id, nothing of the segment can be read either.
                let most = if (16..24).contains(&at) { 2 } else { 1 };
                assert!(report.findings.len() <= most, "{at}: {:?}", report.findings);
                let offset = hit.map_or(0, |hit| 40 + hit * record_bytes as u64);
                assert_eq!((finding.part, finding.offset), (Part::Log, Some(offset)), "{at}");
                if hit.is_some() {
                    assert_eq!(finding.lost.requests, 1, "{at}");
                }
            }
        }
        if at % 15 != 0 || report.is_sound() {
            continue;
        }
        let repair = mend(copy.path()).await;
        assert_eq!((repair.repaired, repair.left), (report.findings, vec![]), "{at}");
        let kept = copy.path().join("quarantine").join(log.file_name().expect("a name"));
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_eq!(fs::read(kept).expect("in quarantine"), flipped, "{at}");
        let lost: BTreeSet<u64> = match hit {
            Some(hit) => (LOG_IDS.start + hit * REQUEST_SPANS..LOG_IDS.start + (hit + 1) * REQUEST_SPANS).collect(),
            // Without the segment's id, no record can be told from bytes that were left over.
            None if (16..24).contains(&at) => LOG_IDS.collect(),
            None => BTreeSet::new(),
        };
        assert_eq!(shown(copy.path()).await, &all_ids() - &lost, "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_30_every_flip_in_a_data_file_is_told_and_repair_keeps_the_rest() {
    let written = Written::new().await;
    let file = written.files("table", ".parquet").remove(0);
    let location = file.strip_prefix("table").expect("below").to_string_lossy().into_owned();
    let len = written.bytes(&file).len();
    let step = len / 150;
    let mut indexes = 0;
    for (number, at) in (0..len).step_by(step).enumerate() {
        let copy = written.flipped(&file, at);
        let report = look(copy.path()).await.expect("checked");
        assert!(!report.is_sound(), "byte {at} of {len}");
        assert!(report.findings.iter().all(|finding| finding.path == location), "{at}: {:?}", report.findings);
        let is_index = report.findings.iter().all(|finding| finding.part == Part::TraceIndex);
        indexes += usize::from(is_index);
        if number % 10 != 0 && !is_index {
            continue;
        }
        if !is_index {
            assert!(report.findings.iter().any(|finding| finding.lost.spans == Some(40)), "{:?}", report.findings);
        }
        let damaged = fs::read(copy.path().join(&file)).expect("a file");
        let repair = mend(copy.path()).await;
        assert_eq!((repair.repaired.len(), repair.left), (report.findings.len(), vec![]), "{at}");
        let kept = copy.path().join("quarantine").join(file.file_name().expect("a name"));
        assert_eq!(fs::read(kept).expect("in quarantine"), damaged);
        let lost = if is_index { BTreeSet::new() } else { TABLE_IDS[0].clone().collect() };
        assert_eq!(shown(copy.path()).await, &all_ids() - &lost, "{at}");
    }
    assert!(indexes > 0, "no flip was in the index");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_data_file_and_a_missing_segment_are_told_with_what_is_lost() {
    let written = Written::new().await;
    let file = written.files("table", ".parquet").remove(1);
    fs::remove_file(written.dir.path().join(&file)).expect("removed");
    let report = look(written.dir.path()).await.expect("checked");
    let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
    assert_eq!(
        (finding.part, finding.what.as_str(), finding.lost.spans),
        (Part::DataFile, "it is not there", Some(40))
    );
    assert!(finding.lost.from.as_ref().is_some_and(|from| from.starts_with("2026-01-02T00:00:00.04")), "{finding:?}");
    assert_eq!(mend(written.dir.path()).await.left, []);
    assert_eq!(shown(written.dir.path()).await, &all_ids() - &TABLE_IDS[1].clone().collect());

    // Each life of a store has a segment of its own.
    let dir = tempfile::tempdir().expect("directory");
    for first in [1, 11, 21] {
        let store = opened(dir.path()).await;
        append(&store, request(first..first + 10, 0)).await;
        drop(store);
        until_free(dir.path()).await;
    }
    fs::remove_file(dir.path().join("wal/00000000000000000002.wal")).expect("removed");
    let report = look(dir.path()).await.expect("checked");
    let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
    assert_eq!((finding.part, finding.lost.requests), (Part::Log, 1));
    assert_eq!(mend(dir.path()).await.left, []);
    assert_eq!(shown(dir.path()).await, (1..11).chain(21..31).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_in_the_tables_log_is_told_or_changes_no_answer() {
    let written = Written::new().await;
    let commits = written.files("table/_delta_log", ".json");
    assert!(commits.len() >= 3, "{commits:?}");
    let (mut told, mut flips) = (0, 0);
    for commit in &commits {
        for at in (0..written.bytes(commit).len()).step_by(11) {
            let copy = written.flipped(commit, at);
            flips += 1;
            // An error tells, too: a damaged version is that of a newer program.
            if look(copy.path()).await.is_ok_and(|report| report.is_sound()) {
                let reader = StoreReader::open_with(copy.path(), decode).await.expect("a reader");
                let ids = span_ids(&reader.snapshot().await.expect("a snapshot")).await;
                assert_eq!(ids, all_ids().into_iter().collect::<Vec<_>>(), "{} at byte {at}", commit.display());
            } else {
                told += 1;
            }
        }
    }
    assert!(told * 5 > flips, "{told} of {flips}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_in_a_checkpoint_is_told_or_changes_no_answer() {
    let dir = tempfile::tempdir().expect("directory");
    let store = opened(dir.path()).await;
    for first in (1..221).step_by(10) {
        append(&store, request(first..first + 10, 0)).await;
        store.seal().await.expect("sealed");
    }
    store.close().await.expect("closed");
    drop(store);
    until_free(dir.path()).await;
    let written = Written { dir };
    let checkpoint = written.files("table/_delta_log", ".parquet").remove(0);
    let len = written.bytes(&checkpoint).len();
    for at in (0..len).step_by(len / 60) {
        let copy = written.flipped(&checkpoint, at);
        if look(copy.path()).await.is_ok_and(|report| report.is_sound()) {
            let reader = StoreReader::open_with(copy.path(), decode).await.expect("a reader");
            let ids = span_ids(&reader.snapshot().await.expect("a snapshot")).await;
            assert_eq!(ids, (1..221).collect::<Vec<_>>(), "byte {at} of {len}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_works_beside_a_store_and_a_repair_does_not() {
    let dir = tempfile::tempdir().expect("directory");
    let store = opened(dir.path()).await;
    let mut next = 1;
    for _ in 0..10 {
        append(&store, request(next..next + 10, 0)).await;
        next += 10;
        let (sealed, report) = tokio::join!(store.seal(), look(dir.path()));
        sealed.expect("sealed");
        assert_eq!(report.expect("checked").findings, []);
    }
    let refused = repair_with(dir.path(), decode).await.expect_err("the store has it");
    assert_eq!(refused.kind, Kind::Denied);
    assert!(refused.message.contains(&format!("process {}", std::process::id())), "{refused}");
}
