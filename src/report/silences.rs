//! The silences of a reports folder as they are now, or as they last could be read.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use super::alert::{SILENCES_FILE, Silence, parse_silences};

/// The file of silences.
#[derive(Debug)]
pub(super) struct Silences {
    path: PathBuf,
    last: Mutex<Vec<Silence>>,
}

impl Silences {
    pub(super) fn of(reports_dir: &Path) -> Self {
        Self { path: reports_dir.join(SILENCES_FILE), last: Mutex::default() }
    }

    /// What holds now. With a mistake in the file, what held before it goes on to hold.
    pub(super) fn now(&self) -> Vec<Silence> {
        let read = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
            Ok(text) => parse_silences(&self.path, &text)
                .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(silences) => *last = silences,
            Err(why) => tracing::warn!(path = %self.path.display(), why, "silences cannot be read; those before hold"),
        }
        last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_a_mistake_in_the_file_what_held_goes_on_to_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        let silences = Silences::of(folder.path());
        assert!(silences.now().is_empty());
        let file = folder.path().join(SILENCES_FILE);
        fs::write(&file, "[[silences]]\nreport = \"health\"\nuntil = 2030-01-01T00:00:00Z\nreason = \"moving\"\n")
            .expect("written");
        assert_eq!(silences.now()[0].reason, "moving");
        fs::write(&file, "[[silences]]\nrepotr = \"health\"\n").expect("written");
        assert_eq!(silences.now()[0].reason, "moving");
        fs::remove_file(&file).expect("removed");
        assert!(silences.now().is_empty());
    }
}
