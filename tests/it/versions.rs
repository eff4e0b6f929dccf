//! Data directories of other versions: older ones are read, newer ones refused.

use std::fs;
use std::path::{Path, PathBuf};

use spanhouse::error::Kind;
use spanhouse::store::{Store, StoreReader, StoreSettings};
use tokio::sync::OnceCell;

use crate::store_support::{append, open, open_uncompacted, request, span_ids, until_free};

/// Whether the fixture was not there, and has been written.
static WRITTEN: OnceCell<bool> = OnceCell::const_new();

/// A directory that spanhouse 0.1 wrote: 300 spans of two days in the table, and 100 in the log.
async fn format_1() -> PathBuf {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format_1");
    let partial = fixture.with_extension("partial");
    let written = WRITTEN.get_or_init(|| async {
        if fixture.is_dir() {
            return false;
        }
        write(&partial).await;
        fs::rename(&partial, &fixture).expect("renamed");
        true
    });
    written.await;
    fixture
}

async fn write(dir: &Path) {
    // What an earlier run left when it was ended.
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).expect("created");
    let store = open_uncompacted(dir).await;
    append(&store, request(1..201)).await.expect("kept");
    store.seal().await.expect("sealed");
    append(&store, request(201..301)).await.expect("kept");
    store.close().await.expect("closed");
    drop(store);
    let store = open_uncompacted(dir).await;
    for first in [301, 351] {
        append(&store, request(first..first + 50)).await.expect("kept");
    }
    drop(store);
    until_free(dir).await;
    fs::remove_file(dir.join("lock")).expect("removed");
}

fn copy_of(from: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(copy.path().join(&folder)).expect("created");
        for entry in fs::read_dir(from.join(&folder)).expect("a folder") {
            let below = folder.join(entry.expect("an entry").file_name());
            if from.join(&below).is_dir() {
                folders.push(below);
            } else {
                fs::copy(from.join(&below), copy.path().join(&below)).expect("copied");
            }
        }
    }
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_is_kept_with_the_tests() {
    let fixture = format_1().await;
    let is_new = WRITTEN.get().is_some_and(|written| *written);
    assert!(!is_new, "{} was not there and has been written: commit it", fixture.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_format_1_is_read_and_written() {
    let dir = copy_of(&format_1().await);
    let report = spanhouse::store::check(dir.path()).await.expect("checked");
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.table.spans, report.log.fresh_spans), (300, 100));
    let reader = StoreReader::open(dir.path()).await.expect("a reader");
    assert_eq!(span_ids(reader.as_ref()).await, (1..401).collect::<Vec<_>>());
    let store = open(dir.path()).await;
    append(&store, request(401..501)).await.expect("kept");
    store.compact().await.expect("compacted");
    store.close().await.expect("closed");
    drop(store);
    assert_eq!(span_ids(open(dir.path()).await.as_ref()).await, (1..501).collect::<Vec<_>>());
}

/// The commit that made the table, with another text in the place of one.
fn edit_first_commit(dir: &Path, from: &str, to: &str) {
    let path = dir.join("table/_delta_log/00000000000000000000.json");
    let text = fs::read_to_string(&path).expect("a commit");
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_tell_its_format_is_of_the_first() {
    let dir = copy_of(&format_1().await);
    edit_first_commit(dir.path(), "spanhouse.format", "somebody.else");
    assert_eq!(span_ids(open(dir.path()).await.as_ref()).await, (1..401).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_table_is_refused() {
    let dir = copy_of(&format_1().await);
    edit_first_commit(dir.path(), r#""spanhouse.format":"1""#, r#""spanhouse.format":"2""#);
    let refused = [
        Store::open(dir.path(), StoreSettings::default()).await.expect_err("a server"),
        StoreReader::open(dir.path()).await.expect_err("a reader"),
        spanhouse::store::check(dir.path()).await.expect_err("a check"),
        spanhouse::store::repair(dir.path()).await.expect_err("a repair"),
    ];
    for error in refused {
        assert_eq!(error.kind, Kind::BadInput);
        assert!(error.message.ends_with("has format 2, and this program reads formats up to 1"), "{error}");
        assert!(error.hint.is_some_and(|hint| hint.contains("a newer one")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_log_is_refused_and_left_alone() {
    let dir = copy_of(&format_1().await);
    let segments = fs::read_dir(dir.path().join("wal")).expect("a log").map(|entry| entry.expect("an entry").path());
    let segment = segments.max().expect("a segment");
    let mut bytes = fs::read(&segment).expect("bytes");
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    fs::write(&segment, &bytes).expect("written");
    let refused = [
        Store::open(dir.path(), StoreSettings::default()).await.expect_err("a server"),
        spanhouse::store::check(dir.path()).await.expect_err("a check"),
        spanhouse::store::repair(dir.path()).await.expect_err("a repair"),
    ];
    for error in refused {
        assert_eq!(error.kind, Kind::BadInput);
        assert!(error.message.ends_with("has format 2, and this program reads format 1"), "{error}");
    }
    assert_eq!(fs::read(&segment).expect("bytes"), bytes);
}
