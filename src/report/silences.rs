//! The silences of a reports folder as they are now, or as they last could be read.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use super::alert::{SILENCES_FILE, Silence, parse_silences};
use super::folder::Place;

/// The file of silences.
#[derive(Debug)]
pub(super) struct Silences {
    dir: PathBuf,
    path: PathBuf,
    last: Mutex<Last>,
}

/// What was read last, and from which folder.
#[derive(Debug, Default)]
struct Last {
    silences: Vec<Silence>,
    place: Option<Place>,
}

impl Silences {
    pub(super) fn of(reports_dir: &Path) -> Self {
        Self { dir: reports_dir.to_owned(), path: reports_dir.join(SILENCES_FILE), last: Mutex::default() }
    }

    /// What holds now. With a mistake in the file, or while the folder is away, what held before goes on to hold.
    pub(super) fn now(&self) -> Vec<Silence> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let read = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.is_away(last.place) {
                    return last.silences.clone();
                }
                Ok(Vec::new())
            }
            Err(error) => Err(error.to_string()),
            Ok(text) => parse_silences(&self.path, &text)
                .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        };
        match read {
            Ok(silences) => *last = Last { silences, place: Place::of(&self.dir).ok() },
            Err(why) => tracing::warn!(path = %self.path.display(), why, "silences cannot be read; those before hold"),
        }
        last.silences.clone()
    }

    /// Whether the folder is not there, or an empty one in its place, as where a volume is not mounted.
    fn is_away(&self, before: Option<Place>) -> bool {
        let is_empty = || fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.next().is_none());
        Place::of(&self.dir).map_or(true, |place| before.is_some_and(|before| before != place) && is_empty())
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
        let away = folder.path().with_extension("away");
        fs::rename(folder.path(), &away).expect("moved");
        assert_eq!(silences.now().len(), 1, "the folder is away");
        fs::create_dir(folder.path()).expect("a mount point");
        assert_eq!(silences.now().len(), 1, "and an empty one is in its place");
        fs::remove_dir(folder.path()).expect("mounted");
        fs::rename(&away, folder.path()).expect("moved back");
        fs::remove_file(&file).expect("removed");
        assert!(silences.now().is_empty());
    }
}
