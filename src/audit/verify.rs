//! Reading the audit log: the whole chain from its beginning, or its newest lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::journal::{files, first_number};
use super::line::{BEGINNING, Line, hash};
use crate::error::{Error, Result};

/// No line is longer: texts in it are cut.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// A chain without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub files: usize,
    pub lines: u64,
    /// The number of the first line; more than 1 where older files were removed.
    pub first: u64,
    /// The number of the last line, and its hash, which stands for the whole chain.
    pub last: u64,
    pub hash: String,
    /// Whether the last line is not whole, as one that is just being written.
    pub is_unfinished: bool,
    /// Whether a line has the hash that was looked for.
    pub has_expected: bool,
}

/// The first break of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub file: PathBuf,
    /// The line in the file, from 1.
    pub line: u64,
    pub why: String,
}

/// Goes through the whole log, and looks for a line with the hash `expected`; `None` when there is none.
///
/// # Errors
/// [`crate::error::Kind::Io`] when a file cannot be read.
pub fn verify(folder: &Path, expected: Option<&str>) -> Result<Option<std::result::Result<Verified, Broken>>> {
    let files = files(folder)?;
    let mut chain = Chain { expected: expected.map(str::to_ascii_lowercase), ..Chain::default() };
    for (at, path) in files.iter().enumerate() {
        let is_last = at + 1 == files.len();
        if let Err(broken) = chain.file(path, is_last)? {
            return Ok(Some(Err(broken)));
        }
    }
    let Chain { lines, first, link, is_unfinished, has_expected, .. } = chain;
    Ok(link.map(|(last, hash)| {
        let first = first.unwrap_or(last);
        Ok(Verified { files: files.len(), lines, first, last, hash, is_unfinished, has_expected })
    }))
}

#[derive(Default)]
struct Chain {
    lines: u64,
    first: Option<u64>,
    /// The number and the hash of the last line.
    link: Option<(u64, String)>,
    is_unfinished: bool,
    expected: Option<String>,
    has_expected: bool,
}

impl Chain {
    fn file(&mut self, path: &Path, is_last: bool) -> Result<std::result::Result<(), Broken>> {
        let mut reader = BufReader::new(File::open(path).map_err(|error| Error::io(path.display(), error))?);
        for line in 1.. {
            let broken = |why: String| Ok(Err(Broken { file: path.to_owned(), line, why }));
            let text = match next_line(&mut reader).map_err(|error| Error::io(path.display(), error))? {
                Next::End => break,
                Next::Unfinished if is_last => {
                    self.is_unfinished = true;
                    break;
                }
                Next::Unfinished => return broken("it breaks off".to_owned()),
                Next::Line(text) => text,
            };
            if let Err(why) = self.line(&text, (line == 1).then(|| first_number(path)).flatten()) {
                return broken(why);
            }
        }
        Ok(Ok(()))
    }

    fn line(&mut self, text: &[u8], first_of_file: Option<u64>) -> std::result::Result<(), String> {
        let line = Line::parse(text)?;
        if let Some(first) = first_of_file.filter(|first| *first != line.n) {
            return Err(format!("its number is {}, and the file's name says {first}", line.n));
        }
        match &self.link {
            Some((number, _)) if line.n != number + 1 => {
                return Err(format!("its number is {}, and the line before has {number}", line.n));
            }
            Some((_, hash)) if line.prev != *hash => {
                return Err("it does not hold the hash of the line before: one of the two was changed".to_owned());
            }
            None if line.n == 1 && line.prev != BEGINNING => return Err("it is not the beginning of a log".to_owned()),
            _ => {}
        }
        self.first.get_or_insert(line.n);
        self.lines += 1;
        let hash = hash(text);
        self.has_expected |= self.expected.as_ref() == Some(&hash);
        self.link = Some((line.n, hash));
        Ok(())
    }
}

enum Next {
    Line(Vec<u8>),
    Unfinished,
    End,
}

fn next_line(reader: &mut impl BufRead) -> io::Result<Next> {
    let mut text = Vec::new();
    reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut text)?;
    Ok(match text.pop() {
        None => Next::End,
        Some(b'\n') => Next::Line(text),
        Some(_) => Next::Unfinished,
    })
}

/// The newest lines, at most `most` of them, oldest first. What is no line is passed over: [`verify`] tells of it.
pub fn newest(folder: &Path, most: usize) -> Result<Vec<Line>> {
    let mut lines: Vec<Line> = Vec::new();
    for path in files(folder)?.iter().rev() {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            // It was removed meanwhile, being old.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(Error::io(path.display(), error)),
        };
        let read = bytes.rsplit(|byte| *byte == b'\n').filter_map(|line| Line::parse(line).ok());
        lines.extend(read.take(most - lines.len()));
        if lines.len() >= most {
            break;
        }
    }
    lines.reverse();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use chrono::Utc;
    use tempfile::TempDir;

    use super::super::journal::{FILE_BYTES, Journal, MOST_FILES};
    use super::super::line::{Event, Kind, Who};
    use super::*;

    fn event(what: &str) -> Event {
        Event::new(Kind::Act, &Who::default(), what)
    }

    fn written(lines: usize) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        for line in 0..lines {
            journal.append(Utc::now(), &event(&format!("act {line}"))).unwrap();
        }
        folder
    }

    fn checked(folder: &TempDir) -> std::result::Result<Verified, Broken> {
        verify(folder.path(), None).unwrap().unwrap()
    }

    fn only_file(folder: &TempDir) -> PathBuf {
        let mut files = files(folder.path()).unwrap();
        assert_eq!(files.len(), 1);
        files.remove(0)
    }

    #[test]
    fn a_chain_goes_on_over_restarts_and_a_torn_line() {
        let folder = written(3);
        let file = only_file(&folder);
        let mut bytes = fs::read(&file).unwrap();
        bytes.extend_from_slice(b"{\"n\":4,\"at\"");
        fs::write(&file, &bytes).unwrap();
        assert!(checked(&folder).unwrap().is_unfinished);
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.append(Utc::now(), &event("after")).unwrap();
        let Verified { lines, first, last, is_unfinished, .. } = checked(&folder).unwrap();
        assert_eq!((lines, first, last, is_unfinished), (4, 1, 4, false));
        let newest: Vec<_> = newest(folder.path(), 2).unwrap().into_iter().map(|line| line.event.what).collect();
        assert_eq!(newest, ["act 2", "after"]);
        let found = |hash: &str| verify(folder.path(), Some(hash)).unwrap().unwrap().unwrap().has_expected;
        assert!(found(&checked(&folder).unwrap().hash.to_uppercase()) && !found("00"));
        assert_eq!(verify(&folder.path().join("none"), None).unwrap(), None);
    }

    /// Each byte of the file, changed: nothing but the last line's own text goes unnoticed, and that changes the hash that stands for all.
    #[test]
    fn a_change_anywhere_is_found() {
        let folder = written(3);
        let file = only_file(&folder);
        let (bytes, whole) = (fs::read(&file).unwrap(), checked(&folder).unwrap());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] = if changed[at] == b'5' { b'6' } else { b'5' };
            fs::write(&file, &changed).unwrap();
            if let Ok(other) = checked(&folder) {
                assert!(other.hash != whole.hash || other.is_unfinished, "byte {at}");
            }
        }
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        for (left, line) in
            [(vec![lines[0], lines[2]], 2), (vec![lines[1], lines[0], lines[2]], 1), (vec![lines[0], lines[0]], 2)]
        {
            fs::write(&file, left.concat()).unwrap();
            assert_eq!(checked(&folder).unwrap_err().line, line);
        }
    }

    #[test]
    fn files_follow_one_another_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        let text = "x".repeat(4000);
        let lines = (FILE_BYTES as usize / 4000) + 10;
        for _ in 0..lines {
            journal.append(Utc::now(), &event(&text)).unwrap();
        }
        let all = files(folder.path()).unwrap();
        assert_eq!((all.len(), checked(&folder).unwrap().lines), (2, lines as u64));
        assert_eq!(journal.forget(Some(Duration::from_secs(60)), SystemTime::now()).unwrap(), 0);
        let later = SystemTime::now() + Duration::from_secs(61);
        assert_eq!(journal.forget(None, later).unwrap(), 0, "without an age all are kept");
        assert_eq!(journal.forget(Some(Duration::from_secs(60)), later).unwrap(), 1, "not the one that is written");
        let left = checked(&folder).unwrap();
        assert!(left.first > 1 && left.last == lines as u64, "{left:?}");
        for number in 0..MOST_FILES {
            fs::write(folder.path().join(format!("audit-{number:020}.jsonl")), "").unwrap();
        }
        assert_eq!(journal.forget(None, SystemTime::now()).unwrap(), 1, "more than are kept");
    }

    #[test]
    fn many_writers_have_one_chain_also_over_full_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut journals: Vec<Journal> = (0..3).map(|_| Journal::open(folder.path()).unwrap()).collect();
        let text = "x".repeat(4000);
        let lines = FILE_BYTES as usize / 4000 + 100;
        let (last, others) = journals.split_last_mut().unwrap();
        std::thread::scope(|scope| {
            for journal in others {
                scope.spawn(|| (0..lines).for_each(|_| journal.append(Utc::now(), &event(&text)).unwrap()));
            }
        });
        // This one last looked before there was a line, and its file has been full for long.
        last.append(Utc::now(), &event("late")).unwrap();
        let verified = checked(&folder).unwrap();
        assert_eq!((verified.lines, verified.first, verified.is_unfinished), (2 * lines as u64 + 1, 1, false));
        assert!(verified.files >= 3, "{verified:?}");
        assert_eq!(newest(folder.path(), 1).unwrap()[0].event.what, "late");
    }

    #[test]
    fn a_last_line_that_is_none_is_not_written_behind() {
        let folder = written(1);
        fs::write(only_file(&folder), "what is this\n").unwrap();
        let error = Journal::open(folder.path()).expect_err("damaged");
        assert_eq!(error.kind, crate::error::Kind::Corrupt, "{error}");
    }
}
