//! Whether a folder without reports is one from which they were removed, or one that stands in its place.
//!
//! Where a volume is not mounted, its mount point is there, and empty. So a folder takes reports away only if it is the one that had them: the same
//! of the same device, also after a restart. It is given some seconds, in which whoever puts other files in the place of all may do so.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

/// So many looks in a row see that the folder is empty before that is believed; there is one each second.
pub(super) const LOOKS_TO_BELIEVE: u32 = 10;

/// Which folder it is: its device and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) struct Place {
    device: u64,
    number: u64,
}

impl Place {
    /// That of a folder. Waits for the disk.
    pub(in crate::report) fn of(dir: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(dir)?;
        Ok(Self { device: metadata.dev(), number: metadata.ino() })
    }
}

/// What is remembered of the folder from look to look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Watched {
    /// Where there were reports last.
    had: Option<Place>,
    /// How often it was seen empty since.
    empty_looks: u32,
}

/// What a folder without a report says of those that were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There are reports, or it was emptied: what is not in it is not there.
    Whole,
    /// It is the one that had some, and may have others in a moment.
    EmptyAtOnce,
    /// Nobody knows it as one that had reports.
    Elsewhere,
}

impl Watched {
    /// What a process before this one wrote into a file; nothing where none did.
    pub(super) fn read(memory: &Path) -> Self {
        let text = fs::read_to_string(memory).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let had = match (numbers.next(), numbers.next()) {
            (Some(Ok(device)), Some(Ok(number))) => Some(Place { device, number }),
            _ => None,
        };
        Self { had, empty_looks: 0 }
    }

    /// Writes where there were reports last, if that is another place than `before`.
    pub(super) fn write(&self, memory: &Path, before: &Self) -> io::Result<()> {
        let Some(had) = self.had.filter(|_| self.had != before.had) else { return Ok(()) };
        memory.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(memory, format!("{} {}\n", had.device, had.number))
    }

    /// Takes in what was seen of the folder.
    pub(super) fn look(&mut self, place: Place, has_reports: bool) -> Verdict {
        if has_reports {
            *self = Self { had: Some(place), empty_looks: 0 };
            return Verdict::Whole;
        }
        if self.had != Some(place) {
            self.empty_looks = 0;
            return Verdict::Elsewhere;
        }
        self.empty_looks = self.empty_looks.saturating_add(1);
        if self.empty_looks > LOOKS_TO_BELIEVE { Verdict::Whole } else { Verdict::EmptyAtOnce }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_that_had_reports_takes_them_away_and_not_at_once() {
        let here = Place { device: 1, number: 7 };
        let (mount_point, made_anew) = (Place { device: 2, number: 7 }, Place { device: 1, number: 8 });
        let mut watched = Watched::default();
        assert_eq!(watched.look(here, false), Verdict::Elsewhere, "nothing is known of it");
        assert_eq!(watched.look(here, true), Verdict::Whole);
        for other in [mount_point, made_anew] {
            for _ in 0..=2 * LOOKS_TO_BELIEVE {
                assert_eq!(watched.look(other, false), Verdict::Elsewhere);
            }
        }
        for looks in [LOOKS_TO_BELIEVE - 1, LOOKS_TO_BELIEVE] {
            for _ in 0..looks {
                assert_eq!(watched.look(here, false), Verdict::EmptyAtOnce);
            }
            if looks < LOOKS_TO_BELIEVE {
                assert_eq!(watched.look(here, true), Verdict::Whole, "others were put there in time");
            }
        }
        assert_eq!(watched.look(here, false), Verdict::Whole, "it was emptied");
        assert_eq!(watched.look(made_anew, true), Verdict::Whole);
        assert_eq!(watched.look(here, false), Verdict::Elsewhere);
    }

    #[test]
    fn the_next_process_knows_the_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let memory = dir.path().join("reports/folder");
        let place = Place::of(dir.path()).expect("there");
        let mut watched = Watched::read(&memory);
        assert_eq!((watched, watched.look(place, true)), (Watched::default(), Verdict::Whole));
        watched.write(&memory, &Watched::default()).expect("written");
        assert_eq!(Watched::read(&memory), watched);
        assert_eq!(Watched::read(&memory).look(place, false), Verdict::EmptyAtOnce);
        fs::write(&memory, "7").expect("torn");
        assert_eq!(Watched::read(&memory), Watched::default());
    }
}
