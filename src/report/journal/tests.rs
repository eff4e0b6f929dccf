use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use super::*;
use crate::store::model_tests::FailingDisk;

/// The real disk, of which one operation fails.
fn fails_at(operation: usize) -> FailingDisk {
    let disk = FailingDisk::default();
    disk.fail(operation, 1);
    disk
}

fn lines(journal: &Journal) -> Vec<String> {
    journal.read().expect("a whole journal").into_iter().map(|(_, line)| line).collect()
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn lines_are_there_for_everybody_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reports").join("runs.ndjson");
    let journal = Journal::new(&path);
    assert!(lines(&journal).is_empty(), "nothing is made by reading");
    assert!(!path.exists());
    journal.append(&texts(&["a", "b"])).expect("added");
    journal.append(&[]).expect("nothing to add");
    let other = Journal::new(&path);
    other.append(&texts(&["c"])).expect("added by another");
    journal.append(&texts(&["d"])).expect("added after another");
    assert_eq!(lines(&other), ["a", "b", "c", "d"]);
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "a\nb\nc\nd\n");
}

#[test]
fn a_torn_last_line_is_not_read_and_the_next_writer_cuts_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.ndjson");
    for (file, expected) in
        [("one\ntw", &["one", "new"][..]), ("tw", &["new"]), ("", &["new"]), ("one\n\u{0}\u{0}", &["one", "new"])]
    {
        std::fs::write(&path, file).expect("written");
        let journal = Journal::new(&path);
        assert_eq!(lines(&journal), expected[..expected.len() - 1], "{file:?}");
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), file, "a reader changes nothing");
        journal.append(&texts(&["new"])).expect("added");
        assert_eq!(lines(&journal), expected, "{file:?}");
    }
    // Also behind what this writer wrote itself.
    let journal = Journal::new(&path);
    journal.append(&texts(&["more"])).expect("added");
    let mut file = OpenOptions::new().append(true).open(&path).expect("the file");
    file.write_all(b"half a li").expect("torn");
    journal.append(&texts(&["last"])).expect("added");
    assert_eq!(lines(&journal), ["one", "new", "more", "last"]);
}

#[test]
fn a_damaged_line_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.ndjson");
    std::fs::write(&path, b"one\n\xff\xfe\nthree\n").expect("written");
    let error = Journal::new(&path).read().expect_err("no text");
    assert_eq!(error.kind, Kind::Corrupt);
    assert!(error.message.starts_with("line 2 of ") && error.message.contains("runs.ndjson"), "{}", error.message);
}

#[test]
fn what_is_kept_no_longer_goes_and_writers_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.ndjson");
    let (journal, other) = (Journal::new(&path), Journal::new(&path));
    journal.append(&texts(&["a-long-line", "b", "c-long-line"])).expect("added");
    other.append(&texts(&["d"])).expect("added");
    assert_eq!(journal.rewrite(|line| Some(line.into())).expect("nothing to do"), 0);
    assert_eq!(journal.rewrite(|line| (line.len() == 1).then(|| line.into())).expect("rewritten"), 2);
    assert_eq!(lines(&other), ["b", "d"]);
    other.append(&texts(&["e"])).expect("added by one that knows another length");
    journal.append(&texts(&["f"])).expect("added");
    assert_eq!(lines(&journal), ["b", "d", "e", "f"]);
    assert_eq!(journal.rewrite(|line| Some(line.replace('e', "E").into())).expect("rewritten"), 1);
    assert_eq!(lines(&journal), ["b", "d", "E", "f"]);
    journal.append_made(|| Ok(texts(&["g"]))).expect("added");
    assert_eq!(lines(&journal).last().map(String::as_str), Some("g"));
}

/// What a caller was told is what a reader finds, at whatever operation the disk fails.
#[test]
fn at_each_failure_of_the_disk_lines_are_there_or_not_and_whole() {
    let mut failures = 0;
    for operation in 1.. {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("reports").join("runs.ndjson");
        let disk = fails_at(operation);
        let journal = Journal::on(Arc::new(disk.clone()), &path);
        let mut told = Vec::new();
        let mut unsure = Vec::new();
        for step in 0..4 {
            let added = [format!("{step}-first"), format!("{step}-second")];
            match journal.append(&added) {
                Ok(()) => told.extend(added),
                Err(error) => {
                    failures += 1;
                    assert!(matches!(error.kind, Kind::Io | Kind::Closed), "{error}");
                    unsure.extend(added);
                }
            }
            if step == 2 {
                match journal.rewrite(|line| (!line.starts_with('0')).then(|| line.into())) {
                    Ok(_) => told.retain(|line| !line.starts_with('0')),
                    // The new file may be in its place already.
                    Err(_) => unsure.extend(told.extract_if(.., |line| line.starts_with('0'))),
                }
            }
        }
        let found = lines(&Journal::new(&path));
        let surely: Vec<&String> = found.iter().filter(|line| told.contains(line)).collect();
        assert_eq!(surely, told.iter().collect::<Vec<_>>(), "operation {operation}");
        assert!(
            found.iter().all(|line| told.contains(line) || unsure.contains(line)),
            "operation {operation}: {found:?}"
        );
        let reopened = Journal::new(&path);
        reopened.append(&texts(&["after"])).expect("a healed disk");
        assert_eq!(lines(&reopened).last().map(String::as_str), Some("after"));
        if disk.calls() < operation {
            break;
        }
    }
    assert!(failures > 10, "{failures} failures were seen");
}

#[test]
fn after_a_failed_sync_nothing_is_written_until_it_is_opened_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.ndjson");
    std::fs::write(&path, "one\n").expect("written");
    // The folder, the file, its length, the line, and then the sync.
    let journal = Journal::on(Arc::new(fails_at(5)), &path);
    assert_eq!(journal.append(&texts(&["two"])).expect_err("a failed sync").kind, Kind::Io);
    assert_eq!(journal.append(&texts(&["three"])).expect_err("refused").kind, Kind::Closed);
    let reopened = Journal::new(&path);
    reopened.append(&texts(&["four"])).expect("added");
    assert_eq!(lines(&reopened).last().map(String::as_str), Some("four"));
}
