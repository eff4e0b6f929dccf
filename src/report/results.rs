//! The files of a run: a folder that is there whole or not at all.
//!
//! ```text
//! reports/results/health/.2026-03-29T050000Z.partial/…    a run that is not done, or died
//! reports/results/health/2026-03-29T050000Z/health.html
//! reports/results/health/2026-03-29T050000Z/message.json  what its deliveries say, so that they can be tried again
//! ```

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::alert::Notice;
use super::deadline::Deadline;
use super::history::{History, Run};
use super::home::ReportsHome;
use super::output::Artifact;
use crate::error::{Error, Kind, Result};

/// What a run's deliveries say beside its files.
const MESSAGE_FILE: &str = "message.json";
/// How folders are named that are not whole.
const PARTIAL: &str = ".partial";
/// A slow disk has so much to sync at once.
const PIECE_BYTES: usize = 8 << 20;

/// What a message is made of that is sent with a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Parcel {
    pub artifacts: Vec<Artifact>,
    pub notices: Vec<Notice>,
    pub summary: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    summary: String,
    notices: Vec<Notice>,
    files: Vec<String>,
}

/// The folder of a run, relative to the home of reports: `results/health/2026-03-29T050000Z`.
pub(super) fn folder_of(report: &str, run_id: &str) -> String {
    format!("results/{report}/{}", folder_name(run_id))
}

/// What follows the name of the report, without the colons that some file systems and shells do not like.
fn folder_name(run_id: &str) -> String {
    let time = run_id.split_once('@').map_or(run_id, |(_, time)| time);
    time.replace(':', "")
}

/// Writes the files of a run, all before `deadline` or none, and gives their folder, relative to `home`. Waits for the disk.
pub(super) fn write(
    home: &ReportsHome,
    report: &str,
    run_id: &str,
    parcel: &Parcel,
    deadline: &Deadline,
) -> Result<String> {
    let folder = folder_of(report, run_id);
    let path = home.dir().join(&folder);
    let failed = |error| Error::io(format!("cannot write {}", path.display()), error);
    let partial = write_partial(&path, parcel, deadline, &failed)?;
    deadline.check()?;
    make_whole(&partial, &path).map_err(failed)?;
    Ok(folder)
}

/// The files in a folder that is not whole yet.
fn write_partial(
    path: &Path,
    parcel: &Parcel,
    deadline: &Deadline,
    failed: &dyn Fn(io::Error) -> Error,
) -> Result<PathBuf> {
    let partial = partial_of(path).ok_or_else(|| failed(io::Error::from(io::ErrorKind::InvalidInput)))?;
    remove_folder(&partial).and_then(|()| fs::create_dir_all(&partial)).map_err(failed)?;
    for artifact in &parcel.artifacts {
        write_file(&partial.join(&artifact.file_name), &artifact.bytes, deadline, failed)?;
    }
    let message = Message {
        summary: parcel.summary.clone(),
        notices: parcel.notices.clone(),
        files: parcel.artifacts.iter().map(|artifact| artifact.file_name.clone()).collect(),
    };
    let message = serde_json::to_vec(&message).map_err(|error| failed(error.into()))?;
    write_file(&partial.join(MESSAGE_FILE), &message, deadline, failed)?;
    Ok(partial)
}

fn make_whole(partial: &Path, path: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    // A run whose rows could not be kept says so in the place of what it said before.
    remove_folder(path)?;
    fs::rename(partial, path)?;
    // The folder of the report may be new, and so may the one around it.
    for dir in path.ancestors().skip(1).take(3) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Removes the files of a run, if it has any. Waits for the disk.
pub(super) fn remove(home: &ReportsHome, report: &str, run_id: &str) -> Result<()> {
    let path = home.dir().join(folder_of(report, run_id));
    remove_folder(&path).map_err(|error| Error::io(format!("cannot remove {}", path.display()), error))
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Writes a file piece by piece, durably; the sync of its last ones is all that its time does not end.
fn write_file(path: &Path, bytes: &[u8], deadline: &Deadline, failed: &dyn Fn(io::Error) -> Error) -> Result<()> {
    let mut file = File::create_new(path).map_err(failed)?;
    for piece in bytes.chunks(PIECE_BYTES) {
        deadline.check()?;
        file.write_all(piece).map_err(failed)?;
        if bytes.len() > PIECE_BYTES {
            file.sync_data().map_err(failed)?;
        }
    }
    deadline.check()?;
    file.sync_all().map_err(failed)
}

/// Reads what [`write`] wrote.
pub(super) fn read(home: &ReportsHome, folder: &str) -> Result<Parcel> {
    let path = home.dir().join(folder);
    let bytes = read_file(&path.join(MESSAGE_FILE))?;
    let message: Message = serde_json::from_slice(&bytes)
        .map_err(|error| Error::corrupt(format!("{} is damaged: {error}", path.join(MESSAGE_FILE).display())))?;
    let files = message.files.into_iter().map(|file_name| {
        let bytes = read_file(&path.join(&file_name))?;
        Ok(Artifact { media_type: media_type(&file_name), file_name, bytes })
    });
    Ok(Parcel { artifacts: files.collect::<Result<_>>()?, notices: message.notices, summary: message.summary })
}

fn read_file(path: &Path) -> Result<Bytes> {
    fs::read(path).map(Bytes::from).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::new(Kind::NotFound, format!("there is no {}", path.display())),
        _ => Error::io(format!("cannot read {}", path.display()), error),
    })
}

/// What a file holds, by the end of its name.
fn media_type(file_name: &str) -> &'static str {
    match file_name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8; header=present",
        "ndjson" => "application/x-ndjson",
        "parquet" => "application/vnd.apache.parquet",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// Removes the folders of runs that `history` does not know, and those that are not whole of runs that have ended.
///
/// The history is asked for once the folders are known: a run is in it before it has a folder.
pub(super) fn sweep(home: &ReportsHome, history: impl FnOnce() -> Result<History>) -> Result<usize> {
    let mut found = folders_of(home)?;
    if found.is_empty() {
        return Ok(0);
    }
    let history = history()?;
    let path_of = |run: &Run| home.dir().join(folder_of(&run.report, &run.id));
    let mut kept: HashSet<PathBuf> = history.runs().iter().map(path_of).collect();
    kept.extend(history.unfinished().filter_map(|run| partial_of(&path_of(run))));
    found.retain(|path| !kept.contains(path));
    for path in &found {
        fs::remove_dir_all(path).map_err(|error| Error::io(format!("cannot remove {}", path.display()), error))?;
    }
    for report in folders(&home.results())? {
        // It goes once it is empty.
        let _ = fs::remove_dir(&report);
    }
    Ok(found.len())
}

/// The folders of all runs, those that are not whole among them.
pub(super) fn folders_of(home: &ReportsHome) -> Result<Vec<PathBuf>> {
    let reports = folders(&home.results())?;
    let of_each = reports.iter().map(|report| folders(report)).collect::<Result<Vec<_>>>()?;
    Ok(of_each.concat())
}

/// Where the files of a run are before they are all there.
fn partial_of(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.join(format!(".{}{PARTIAL}", path.file_name()?.to_string_lossy())))
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::io(format!("cannot list {}", dir.display()), error);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.is_dir());
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::alert::AlertState;
    use crate::report::history::{self, Entry, Status};

    fn home() -> (tempfile::TempDir, ReportsHome) {
        let folder = tempfile::tempdir().expect("a folder");
        let home = ReportsHome::new(folder.path());
        (folder, home)
    }

    fn parcel() -> Parcel {
        let artifact = |file_name: &str, media_type, bytes: &'static [u8]| Artifact {
            file_name: file_name.to_owned(),
            media_type,
            bytes: Bytes::from_static(bytes),
        };
        let notice = Notice {
            report: "health".to_owned(),
            rule: "errors".to_owned(),
            severity: "warning".to_owned(),
            state: AlertState::Firing,
            labels: vec![("service_name".to_owned(), "<b>".to_owned())],
            value: Some(0.5),
            since_ms: 7,
            fired_ms: Some(7),
            summary: "errors of <b>".to_owned(),
            exemplars: vec!["ab".repeat(16)],
            silenced_by: None,
            is_news: true,
        };
        Parcel {
            artifacts: vec![
                artifact("health.html", "text/html; charset=utf-8", b"<html>"),
                artifact("health.csv", "text/csv; charset=utf-8; header=present", b"a\n1\n"),
            ],
            notices: vec![notice],
            summary: "**health**: 3 rows".to_owned(),
        }
    }

    #[test]
    fn a_folder_is_read_as_it_was_written() {
        let (_folder, home) = home();
        let parcel = parcel();
        let folder =
            write(&home, "health", "health@2026-03-29T05:00:00Z", &parcel, &Deadline::never()).expect("written");
        assert_eq!(folder, "results/health/2026-03-29T050000Z");
        assert_eq!(read(&home, &folder).expect("read"), parcel);
        assert_eq!(fs::read(home.dir().join(&folder).join("health.csv")).expect("the file"), b"a\n1\n");
        fs::remove_file(home.dir().join(&folder).join("health.csv")).expect("removed");
        assert_eq!(read(&home, &folder).expect_err("a missing file").kind, Kind::NotFound);
    }

    #[test]
    fn what_cannot_be_written_whole_is_not_there_and_what_died_is_in_nobodys_way() {
        let (_folder, home) = home();
        let parcel = parcel();
        let partial = home.results().join("health").join(".2026-03-29T050000Z.partial");
        fs::create_dir_all(&partial).expect("a folder of one that died");
        fs::write(partial.join("health.html"), "half").expect("half a file");
        let twice =
            Parcel { artifacts: vec![parcel.artifacts[0].clone(), parcel.artifacts[0].clone()], ..parcel.clone() };
        assert!(
            write(&home, "health", "health@2026-03-29T05:00:00Z", &twice, &Deadline::never()).is_err(),
            "two files of a name"
        );
        assert!(!home.results().join("health").join("2026-03-29T050000Z").exists());
        let folder =
            write(&home, "health", "health@2026-03-29T05:00:00Z", &parcel, &Deadline::never()).expect("written");
        assert_eq!(read(&home, &folder).expect("read"), parcel);
        assert!(!partial.exists());
        let other = Parcel { artifacts: Vec::new(), summary: "it failed".to_owned(), ..parcel };
        write(&home, "health", "health@2026-03-29T05:00:00Z", &other, &Deadline::never()).expect("written over");
        assert_eq!(read(&home, &folder).expect("read"), other);
        for _ in 0..2 {
            remove(&home, "health", "health@2026-03-29T05:00:00Z").expect("removed");
        }
        assert!(!home.dir().join(&folder).exists());
    }

    #[test]
    fn folders_go_that_no_run_names() {
        let (_folder, home) = home();
        assert_eq!(sweep(&home, || panic!("nothing there")).expect("swept"), 0);
        let due = [1, 2, 3, 4].map(|day| day * 86_400_000);
        let runs = due.map(|due_ms| history::tests::run("a", due_ms));
        let folders =
            [0, 1].map(|at| write(&home, "a", &runs[at].id, &Parcel::default(), &Deadline::never()).expect("written"));
        write(&home, "b", "b@1970-01-02T00:00:00Z", &Parcel::default(), &Deadline::never()).expect("written");
        let partial = |run: &Run| partial_of(&home.dir().join(folder_of("a", &run.id))).expect("a name");
        for run in &runs[2..] {
            fs::create_dir_all(partial(run)).expect("a partial folder");
        }
        let mut history = History::default();
        let died = Run { status: Status::Died, ..runs[2].clone() };
        for run in [runs[1].clone(), died.clone(), runs[3].clone()] {
            history.apply(Entry::Run(Box::new(run)));
        }
        assert_eq!(
            sweep(&home, || Ok(history)).expect("swept"),
            3,
            "the first run's, another report's, and one that died"
        );
        assert!(home.dir().join(&folders[1]).exists() && !home.dir().join(&folders[0]).exists());
        assert!(partial(&runs[3]).exists() && !partial(&died).exists(), "a run that is not over keeps its files");
        assert!(!home.results().join("b").exists());
    }
}
