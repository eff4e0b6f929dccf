//! The folder of reports: what is in it now, and what was right in it last.
//!
//! A file is read when it changes ([`scan`]), and what becomes of what was known is decided by [`kept`]. An edit that is wrong leaves
//! the version before it, and is told by file and line.

mod defined;
mod kept;
mod scan;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

pub use defined::{Defined, Standing};
pub use watch::News;

use self::kept::Kept;
use super::definition::Report;
use super::header::Definition;
use super::mistake::Mistake;
use crate::error::{Error, Kind, Result};
use crate::typed::nearest;

/// A folder of reports.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    shown: ArcSwap<Shown>,
    state: Mutex<State>,
    /// Held while the folder is read again, so that two who do so do not cross.
    turn: tokio::sync::Mutex<()>,
}

/// What others see of the folder.
#[derive(Debug, Default)]
struct Shown {
    defined: Arc<Defined>,
    definitions: Vec<Definition>,
    mistakes: Vec<Mistake>,
}

/// What is known of the folder.
#[derive(Debug, Default)]
struct State {
    kept: BTreeMap<String, Kept>,
    /// Mistakes of files that are no report's.
    stray: Vec<Mistake>,
    /// Whether the last look saw the folder whole.
    is_listed: bool,
    /// How often the folder was read.
    reads: u64,
}

impl Folder {
    /// Reads a folder; one that is not there has no reports. Waits for the disk.
    pub fn open(dir: &Path) -> Self {
        let folder = Self {
            dir: dir.to_owned(),
            shown: ArcSwap::default(),
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        };
        let known = BTreeMap::new();
        let scanned = scan::scan(dir, &known, scan::Haste::Now);
        let mut state = folder.state();
        (state.stray, state.is_listed) = (scanned.stray, scanned.is_listed);
        for (name, seen) in scanned.reports {
            state.kept.extend(kept::next(None, seen).kept.map(|kept| (name, kept)));
        }
        folder.shown.store(Arc::new(shown(&state)));
        drop(state);
        folder
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The last good version of each report, in order of name.
    pub fn reports(&self) -> Arc<Vec<Arc<Report>>> {
        self.shown.load().defined.reports.clone()
    }

    /// The same, and of which names nobody can say whether there is a report.
    pub fn defined(&self) -> Arc<Defined> {
        self.shown.load().defined.clone()
    }

    /// The same, with the places of their keys.
    pub fn definitions(&self) -> Vec<Definition> {
        self.shown.load().definitions.clone()
    }

    /// What is wrong now, in order of file and line.
    pub fn mistakes(&self) -> Vec<Mistake> {
        self.shown.load().mistakes.clone()
    }

    /// Finds a report by name.
    ///
    /// # Errors
    /// [`Kind::NotFound`] with the known names; [`Kind::BadInput`] with the mistakes of a report that has never been right.
    pub fn find(&self, name: &str) -> Result<Definition> {
        let shown = self.shown.load();
        if let Some(definition) = shown.definitions.iter().find(|definition| definition.report.name == name) {
            return Ok(definition.clone());
        }
        let mistakes = self.state().kept.get(name).map(|kept| kept.mistakes.clone()).unwrap_or_default();
        if !mistakes.is_empty() {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            return Err(Error::bad_input(format!("report {name} cannot be read:\n  {}", lines.join("\n  "))));
        }
        let names: Vec<&str> = shown.defined.reports.iter().map(|report| report.name.as_str()).collect();
        let place = self.dir.display();
        let error = Error::new(Kind::NotFound, format!("there is no report \"{name}\" in {place}"));
        Err(match nearest(name, names.iter().copied()) {
            Some(near) => error.with_hint(format!("did you mean {near}?")),
            None if names.is_empty() => error.with_hint("`spanhouse report init` writes ready-made ones"),
            None => error.with_hint(format!("there are {}", names.join(", "))),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(state: &State) -> Shown {
    let definitions: Vec<Definition> = state.kept.values().filter_map(|kept| kept.good.clone()).collect();
    let of_reports = state.kept.values().flat_map(|kept| &kept.mistakes);
    let mut mistakes: Vec<Mistake> = state.stray.iter().chain(of_reports).cloned().collect();
    mistakes.sort();
    let reports = Arc::new(definitions.iter().map(|definition| definition.report.clone()).collect());
    let wrong = state.kept.iter().filter(|(_, kept)| kept.good.is_none()).map(|(name, _)| name.clone()).collect();
    let defined = Arc::new(Defined { reports, is_listed: state.is_listed, wrong });
    Shown { defined, definitions, mistakes }
}

#[cfg(test)]
mod tests;
