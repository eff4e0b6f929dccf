//! Whether a file is still the one that was read.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

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
