//! Damage and its detection, on logs that the writer wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::*;
use crate::error::{Kind, Result};
use crate::store::disk::{Disk, OsDisk};

struct Told;

impl Sink<oneshot::Sender<Lsn>> for Told {
    fn durable(&mut self, group: Vec<(Lsn, Entry<oneshot::Sender<Lsn>>)>) {
        group.into_iter().for_each(|(lsn, entry)| entry.attachment.send(lsn).expect("a waiting sender"));
    }

    fn refused(&mut self, _: Vec<Entry<oneshot::Sender<Lsn>>>, refusal: Refusal) {
        panic!("{refusal:?}");
    }
}

/// Writes groups of records of these sizes, each group synced by itself.
fn write_log(dir: &Path, next_lsn: Lsn, sizes: &[usize]) {
    let settings = WriterSettings {
        disk: Arc::new(OsDisk),
        dir: dir.to_owned(),
        next_lsn,
        segments: Arc::default(),
        budget_bytes: u64::MAX,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let (appender, thread) = Appender::start(settings, Told).expect("started");
    for (index, size) in sizes.iter().enumerate() {
        let payload = Bytes::from(vec![index as u8; *size]);
        let (attachment, done) = oneshot::channel();
        let hash = RequestHash::of(&payload);
        let entry = Entry { payload, hash, received_unix_ms: 7, attachment };
        runtime.block_on(async { appender.reserve().await.expect("room").send(entry) });
        assert_eq!(runtime.block_on(done).expect("durable"), Lsn(next_lsn.0 + index as u64));
    }
    drop(appender);
    thread.join().expect("ended well");
}

fn read(dir: &Path, mark: u64) -> Result<(Vec<u64>, LogEnd)> {
    let mut lsns = Vec::new();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let end = replay(&disk, dir, ReplayStart { mark: Lsn(mark) }, |record| {
        lsns.push(record.lsn.0);
        Ok(())
    })?;
    Ok((lsns, end))
}

fn only_segment(dir: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(dir).expect("log").map(|entry| entry.expect("entry").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[test]
fn what_was_written_is_read_across_openings() {
    let dir = tempfile::tempdir().expect("directory");
    write_log(dir.path(), Lsn(1), &[10, 0, 30]);
    write_log(dir.path(), Lsn(4), &[5]);
    let (lsns, end) = read(dir.path(), 0).expect("whole");
    assert_eq!((lsns, end.next_lsn, end.torn, end.segments.len()), (vec![1, 2, 3, 4], Lsn(5), None, 2));
    let (lsns, end) = read(dir.path(), 3).expect("whole");
    assert_eq!((lsns, end.next_lsn, end.segments.len()), (vec![4], Lsn(5), 2));
    let (_, end) = read(dir.path(), 9).expect("the table is ahead");
    assert_eq!(end.next_lsn, Lsn(10));
}

#[test]
fn row_19_every_cut_of_the_tail_gives_the_whole_records_before_it() {
    let dir = tempfile::tempdir().expect("directory");
    write_log(dir.path(), Lsn(1), &[10, 20]);
    let path = only_segment(dir.path());
    let bytes = fs::read(&path).expect("bytes");
    for len in 0..bytes.len() {
        fs::write(&path, &bytes[..len]).expect("cut");
        let (lsns, end) = read(dir.path(), 0).expect("a torn tail is no error");
        let whole = [40, 40 + 58].iter().rposition(|end| len >= *end).map_or(0, |whole| whole as u64);
        assert_eq!(lsns, (1..=whole).collect::<Vec<_>>(), "{len}");
        assert_eq!(end.next_lsn, Lsn(whole + 1), "{len}");
        let left = if whole == 0 { 0 } else { 98 };
        assert_eq!(path.metadata().map_or(0, |meta| meta.len()), left, "{len}");
        let torn = end.torn.map_or(0, |torn| torn.bytes);
        assert_eq!(
            torn,
            if whole == 0 {
                if len > 40 {
                    len as u64 - 40
                } else if len < 40 {
                    len as u64
                } else {
                    0
                }
            } else {
                len as u64 - 98
            },
            "{len}"
        );
        let (again, end) = read(dir.path(), 0).expect("mended");
        assert_eq!((again, end.torn), (lsns, None), "{len}");
        fs::write(&path, &bytes).expect("restored");
    }
}

#[test]
fn row_20_a_flipped_bit_before_the_last_group_is_an_error_that_names_file_and_byte() {
    let dir = tempfile::tempdir().expect("directory");
    write_log(dir.path(), Lsn(1), &[10, 20, 30]);
    let path = only_segment(dir.path());
    let bytes = fs::read(&path).expect("bytes");
    for at in 0..40 + 58 + 68 {
        // The zeros of the segment's head are not covered by its checksum.
        if (36..40).contains(&at) {
            continue;
        }
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).expect("written");
        let error = read(dir.path(), 0).expect_err("damaged");
        let begins = if at < 40 {
            0
        } else if at < 98 {
            40
        } else {
            98
        };
        assert_eq!(error.kind, Kind::Corrupt, "{at}");
        assert!(
            error.message.ends_with(&format!("00000000000000000001.wal is damaged at byte {begins}")),
            "{at}: {error}"
        );
        assert_eq!(fs::read(&path).expect("bytes"), flipped, "nothing is changed");
    }
}

#[test]
fn a_missing_segment_is_an_error_unless_the_table_has_its_records() {
    let dir = tempfile::tempdir().expect("directory");
    for first in 1..4 {
        write_log(dir.path(), Lsn(first), &[10]);
    }
    fs::remove_file(dir.path().join("00000000000000000002.wal")).expect("removed");
    assert_eq!(read(dir.path(), 0).expect_err("a gap").kind, Kind::Corrupt);
    assert_eq!(read(dir.path(), 1).expect_err("a gap").kind, Kind::Corrupt);
    assert_eq!(read(dir.path(), 2).expect("sealed").0, vec![3]);
    fs::remove_file(dir.path().join("00000000000000000001.wal")).expect("removed");
    assert_eq!(read(dir.path(), 1).expect_err("a gap").kind, Kind::Corrupt);
}

#[test]
fn segments_that_tell_the_same_records_are_an_error_and_a_scan_gives_each_once() {
    let dir = tempfile::tempdir().expect("directory");
    write_log(dir.path(), Lsn(1), &[10, 20, 30]);
    write_log(dir.path(), Lsn(3), &[30, 40]);
    let error = read(dir.path(), 0).expect_err("the third record is there twice");
    assert!(error.kind == Kind::Corrupt && error.message.contains("records 3 to 3 in two segments"), "{error}");
    let (mut lsns, mut again) = (Vec::new(), Vec::new());
    let scanned = scan(&OsDisk, dir.path(), |_, piece| {
        match piece {
            Piece::Record(record) => lsns.push(record.lsn.0),
            Piece::Repeated(records) => again.push(records),
            other => panic!("{other:?}"),
        }
        Ok(())
    });
    scanned.expect("readable");
    assert_eq!((lsns, again), (vec![1, 2, 3, 4], vec![Lsn(3)..Lsn(4)]));
}

#[test]
fn a_group_torn_in_its_middle_is_a_torn_tail_though_its_end_reached_the_disk() {
    let dir = tempfile::tempdir().expect("directory");
    write_log(dir.path(), Lsn(1), &[10]);
    let path = only_segment(dir.path());
    let mut bytes = fs::read(&path).expect("bytes");
    let segment_id = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
    let sound = bytes.len();
    for lsn in 2..5 {
        let payload = Bytes::from(vec![lsn as u8; 100]);
        let hash = RequestHash::of(&payload);
        Record { lsn: Lsn(lsn), group: Lsn(2), received_unix_ms: 7, hash, payload }.encode(segment_id, &mut bytes);
    }
    bytes[sound + 60..sound + 200].fill(0);
    fs::write(&path, &bytes).expect("written");
    let (lsns, end) = read(dir.path(), 0).expect("a torn tail");
    assert_eq!((lsns, end.next_lsn), (vec![1], Lsn(2)));
    assert_eq!(end.torn.map(|torn| torn.offset), Some(sound as u64));
}
