//! Whether a file is still the one that was read, and when it is read again.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Kind, Result};

/// What changes with a file's content, however it is replaced; `None` while it is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature(Option<[u64; 6]>);

impl Signature {
    /// Looks at the file. To be taken before it is read: a change meanwhile is then seen the next time.
    pub(super) fn of(path: &Path) -> Self {
        let parts = |found: std::fs::Metadata| {
            let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()].map(i64::cast_unsigned);
            [found.ino(), found.len(), times[0], times[1], times[2], times[3]]
        };
        Self(std::fs::metadata(path).ok().map(parts))
    }
}

/// What was read last. `S` tells one version of it from another.
#[derive(Debug)]
pub(super) struct Watched<S> {
    read: Option<S>,
    /// Where reading failed, which was told.
    failed: Option<S>,
}

impl<S: PartialEq> Watched<S> {
    pub(super) fn new(read: Option<S>) -> Self {
        Self { read, failed: None }
    }

    /// Reads what is `now` there unless it was read; gives an error that was not told yet. A damaged file is read again when it changes,
    /// any other failure may pass, and is tried again each time.
    pub(super) fn look(&mut self, now: S, read: impl FnOnce() -> Result<()>) -> Option<Error> {
        if self.read.as_ref() == Some(&now) {
            return None;
        }
        match read() {
            Err(error) if error.kind != Kind::Corrupt => {
                let is_told = self.failed.as_ref() == Some(&now);
                self.failed = Some(now);
                (!is_told).then_some(error)
            }
            done => {
                (self.read, self.failed) = (Some(now), None);
                done.err()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_once_and_tried_until_it_can() {
        let mut watched = Watched::new(Some(1));
        let failed = || Err(Error::new(Kind::Io, "no handle is left"));
        assert!(watched.look(1, || panic!("it was read")).is_none());
        assert!(watched.look(2, failed).is_some(), "told");
        assert!(watched.look(2, failed).is_none(), "once");
        let mut is_read = false;
        let mut read = || {
            is_read = true;
            Ok(())
        };
        assert!(watched.look(2, &mut read).is_none());
        assert!(is_read, "the same version, tried again");
        assert!(watched.look(2, || panic!("it was read")).is_none());
        assert!(watched.look(3, || Err(Error::corrupt("damaged"))).is_some());
        assert!(watched.look(3, || panic!("it stays damaged")).is_none());
        assert!(watched.look(4, failed).is_some(), "another version is told anew");
    }

    #[test]
    fn a_file_that_is_replaced_or_gone_is_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let none = Signature::of(&path);
        std::fs::write(&path, "a").expect("written");
        let first = Signature::of(&path);
        assert_ne!(first, none);
        assert_eq!(first, Signature::of(&path));
        let other = folder.path().join("other");
        std::fs::write(&other, "b").expect("written");
        std::fs::rename(&other, &path).expect("renamed");
        assert_ne!(Signature::of(&path), first);
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(Signature::of(&path), none);
    }
}
