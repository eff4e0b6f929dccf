//! Files into a directory: `DIRECTORY/REPORT/RUN/FILE`, there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::attempt::Failure;
use super::files::Named;

/// Puts the files into the folder `run` of the folder `report` of the directory. What is there from an earlier attempt is replaced.
pub(super) async fn put(directory: &Path, folder: [String; 2], files: Vec<Named>, key: &str) -> Result<(), Failure> {
    let (directory, mark) = (directory.to_owned(), xxh3_64(key.as_bytes()));
    let shown = directory.display().to_string();
    let written = tokio::task::spawn_blocking(move || write(&directory, &folder, &files, mark)).await;
    let failed = |why: String| Failure::later(format!("cannot write to the directory {shown}: {why}"));
    written.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

fn write(directory: &Path, [report, run]: &[String; 2], files: &[Named], mark: u64) -> io::Result<()> {
    let parent = directory.join(report);
    let whole = parent.join(run);
    let partial = parent.join(format!(".{run}.{mark:016x}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    for file in files {
        write_file(&partial.join(&file.name), &file.bytes)?;
    }
    File::open(&partial)?.sync_all()?;
    if whole.is_dir() {
        // An earlier attempt got this far, and its answer was lost: its files are those of the same run.
        for file in files {
            fs::rename(partial.join(&file.name), whole.join(&file.name))?;
        }
        fs::remove_dir_all(&partial)?;
        File::open(&whole)?.sync_all()?;
    } else {
        fs::rename(&partial, &whole)?;
    }
    File::open(&parent)?.sync_all()
}

fn write_file(path: &Path, bytes: &Bytes) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &'static str) -> Named {
        Named { name: name.to_owned(), media_type: "text/plain", bytes: Bytes::from_static(text.as_bytes()) }
    }

    fn folder() -> [String; 2] {
        ["health".to_owned(), "2026-03-29T050000Z".to_owned()]
    }

    #[tokio::test]
    async fn files_are_there_after_each_attempt_and_nothing_else_is() {
        let root = tempfile::tempdir().expect("a folder");
        let directory = root.path().join("new").join("deliveries");
        for text in ["first", "second"] {
            put(&directory, folder(), vec![file("a.csv", text), file("b.md", "b")], "key").await.expect("written");
            let whole = directory.join("health").join("2026-03-29T050000Z");
            assert_eq!(fs::read_to_string(whole.join("a.csv")).expect("a file"), text);
            assert_eq!(fs::read_dir(directory.join("health")).expect("a folder").count(), 1, "no partial folder");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_written_whole_is_not_there() {
        let root = tempfile::tempdir().expect("a folder");
        let twice = vec![file("a.csv", "x"), file("a.csv", "y")];
        let failure = put(root.path(), folder(), twice, "key").await.expect_err("two files of a name");
        assert!(failure.why.starts_with("cannot write to the directory "), "{}", failure.why);
        assert!(!root.path().join("health").join("2026-03-29T050000Z").exists());
        // What was left is in nobody's way.
        put(root.path(), folder(), vec![file("a.csv", "x")], "key").await.expect("written");
        let file_in_the_way = root.path().join("file");
        fs::write(&file_in_the_way, "").expect("a file");
        put(&file_in_the_way, folder(), vec![], "key").await.expect_err("a file is no directory");
    }
}
