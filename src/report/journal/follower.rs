//! What a process has read of a journal, so that it reads only what came since, whoever wrote it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::{Journal, end_of_lines};
use crate::error::Result;

/// A place in a journal.
///
/// The file that was read is held open: while it is, a file that is put in its place is another one to the operating system, too.
#[derive(Debug, Default)]
pub(super) struct Follower {
    file: Option<File>,
    whole_bytes: u64,
    lines: usize,
}

/// What came to a journal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Came {
    /// The file is another one, and these are all its lines: what was read before counts no more.
    pub is_anew: bool,
    /// With their numbers from 1.
    pub lines: Vec<(usize, String)>,
}

impl Journal {
    /// The whole lines that `follower` has not read yet.
    pub(super) fn follow(&self, follower: &mut Follower) -> Result<Came> {
        let anew = follower.turn_to(self).map_err(|error| self.0.failed("read", error))?;
        let bytes = follower.rest().map_err(|error| self.0.failed("read", error))?;
        let whole = &bytes[..end_of_lines(&bytes)];
        let mut came = Came { is_anew: anew, lines: Vec::new() };
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            follower.lines += 1;
            if line.len() > 1 {
                let text = self.text(follower.lines, &line[..line.len() - 1])?;
                came.lines.push((follower.lines, text.to_owned()));
            }
        }
        follower.whole_bytes += whole.len() as u64;
        Ok(came)
    }
}

impl Follower {
    /// Opens the journal's file where it is another than before; says whether it is.
    fn turn_to(&mut self, journal: &Journal) -> io::Result<bool> {
        let path = journal.0.path();
        let now = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(std::mem::take(self).file.is_some());
            }
            now => now?,
        };
        if let Some(file) = &self.file {
            let known = file.metadata()?;
            // A write that failed may have been cut off again.
            if (known.dev(), known.ino()) == (now.dev(), now.ino()) && now.len() >= self.whole_bytes {
                return Ok(false);
            }
        }
        *self = Self { file: Some(File::open(path)?), ..Self::default() };
        Ok(true)
    }

    /// The bytes behind the lines that were read.
    fn rest(&self) -> io::Result<Vec<u8>> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let length = file.metadata()?.len().saturating_sub(self.whole_bytes);
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let mut filled = 0;
        // It may be cut while it is read: what a writer left torn goes with the next one.
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], self.whole_bytes + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(journal: &Journal, follower: &mut Follower) -> (bool, Vec<String>) {
        let came = journal.follow(follower).expect("readable");
        (came.is_anew, came.lines.into_iter().map(|(number, line)| format!("{number} {line}")).collect())
    }

    #[test]
    fn only_what_is_new_is_read_and_a_file_that_was_written_anew_is_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("runs.ndjson");
        let (journal, mut follower) = (Journal::new(&path), Follower::default());
        let lines = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(came(&journal, &mut follower), (false, vec![]));
        Journal::new(&path).append(&lines(&["a", "b"])).expect("added");
        assert_eq!(came(&journal, &mut follower), (true, lines(&["1 a", "2 b"])));
        assert_eq!(came(&journal, &mut follower), (false, vec![]));
        journal.append(&lines(&["c"])).expect("added");
        let torn = fs::read(&path).expect("the file");
        fs::write(&path, [&torn[..], b"half"].concat()).expect("torn");
        assert_eq!(came(&journal, &mut follower), (false, lines(&["3 c"])), "without the torn one");
        journal.append(&lines(&["d"])).expect("added");
        assert_eq!(came(&journal, &mut follower), (false, lines(&["4 d"])));
        // Written anew twice between two looks, so that the operating system may give a number out again.
        journal.rewrite(|line| (line != "a").then(|| line.into())).expect("rewritten");
        journal.rewrite(|line| (line != "b").then(|| line.into())).expect("rewritten");
        journal.append(&lines(&["e", "f"])).expect("added");
        assert_eq!(came(&journal, &mut follower), (true, lines(&["1 c", "2 d", "3 e", "4 f"])));
        fs::remove_file(&path).expect("removed");
        assert_eq!(came(&journal, &mut follower), (true, vec![]));
        assert_eq!(came(&journal, &mut follower), (false, vec![]));
    }

    #[test]
    fn a_file_that_became_shorter_is_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("runs.ndjson");
        fs::write(&path, "a\nb\n").expect("written");
        let (journal, mut follower) = (Journal::new(&path), Follower::default());
        assert_eq!(came(&journal, &mut follower).1.len(), 2);
        fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(2)).expect("cut");
        assert_eq!(came(&journal, &mut follower), (true, vec!["1 a".to_owned()]));
    }
}
