//! The folder of reports: what is in it now, and what was right in it last.
//!
//! A file is read when it changes ([`scan`]), and what becomes of what was known is decided by [`kept`]. An edit that is wrong leaves
//! the version before it, and is told by file and line.

mod defined;
mod kept;
mod last_good;
mod place;
mod scan;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

pub use defined::{Defined, Standing};
pub(super) use place::Place;
pub use watch::News;

use self::kept::Kept;
use self::last_good::LastGood;
use self::place::Watched;
use super::definition::Report;
use super::header::Definition;
use super::home::ReportsHome;
use super::mistake::Mistake;
use crate::error::{Error, Kind, Result};
use crate::typed::nearest;

/// A folder of reports.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    shown: ArcSwap<Shown>,
    state: Mutex<State>,
    /// The file that tells the next process which folder this was.
    memory: Option<PathBuf>,
    /// What of its reports the next process goes on with, if their files are wrong then.
    last_good: Option<LastGood>,
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
    watched: Watched,
    /// What others see of reports whose newest version is not planned yet.
    planning: BTreeMap<String, Option<Definition>>,
    /// What the process before this one had of reports whose files have changed since, until they are planned.
    before: BTreeMap<String, Definition>,
    /// How often the folder was read.
    reads: u64,
}

impl Folder {
    /// Reads a folder; one that is not there has no reports. Waits for the disk.
    pub fn open(dir: &Path) -> Self {
        Self::opened(dir, None)
    }

    fn opened(dir: &Path, home: Option<&ReportsHome>) -> Self {
        let folder = Self {
            dir: dir.to_owned(),
            shown: ArcSwap::default(),
            state: Mutex::default(),
            memory: home.map(ReportsHome::folder_memory),
            last_good: home.map(LastGood::new),
            turn: tokio::sync::Mutex::default(),
        };
        let (known, watched) = (BTreeMap::new(), folder.memory.as_deref().map(Watched::read).unwrap_or_default());
        let scanned = scan::scan(dir, &known, watched, scan::Haste::Now);
        folder.remember(&scanned.watched, &watched);
        let mut state = folder.state();
        (state.stray, state.is_listed, state.watched) = (scanned.stray, scanned.is_listed, scanned.watched);
        for (name, seen) in scanned.reports {
            state.kept.extend(kept::next(None, seen).kept.map(|kept| (name, kept)));
        }
        if let Some(last_good) = &folder.last_good {
            state.go_on_with(|name| last_good.read(name));
        }
        drop(state);
        folder.show();
        folder
    }

    /// The same, but of each report nobody can say how it stands before it was planned. `home` knows which folder it was before, and the last good
    /// version of a report whose file is wrong now.
    pub fn open_to_plan(dir: &Path, home: &ReportsHome) -> Self {
        let folder = Self::opened(dir, Some(home));
        let mut state = folder.state();
        let to_plan = state.kept.iter().filter(|(_, kept)| kept.mistakes.is_empty());
        state.planning = to_plan.map(|(name, _)| (name.clone(), None)).collect();
        drop(state);
        folder.show();
        folder
    }

    fn remember(&self, watched: &Watched, before: &Watched) {
        if let Some(memory) = &self.memory
            && let Err(error) = watched.write(memory, before)
        {
            tracing::warn!(path = %memory.display(), %error, "which folder has the reports could not be written down");
        }
    }

    /// Shows others what is known now.
    fn show(&self) {
        let shown = shown(&self.state());
        self.shown.store(Arc::new(shown));
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

impl State {
    /// Goes on with the last good version of each report where the one that was read is another. It was planned when it was taken.
    fn go_on_with(&mut self, last_good: impl Fn(&str) -> Option<Definition>) {
        for (name, kept) in &mut self.kept {
            let Some(last) = last_good(name) else { continue };
            match &kept.good {
                None => kept.good = Some(last),
                Some(read) if read.report.version != last.report.version => _ = self.before.insert(name.clone(), last),
                Some(_) => {}
            }
        }
    }
}

fn shown(state: &State) -> Shown {
    let of_name = |(name, kept): (&String, &Kept)| match state.planning.get(name) {
        Some(before) => before.clone(),
        None => kept.good.clone(),
    };
    let definitions: Vec<Definition> = state.kept.iter().filter_map(of_name).collect();
    let of_reports = state.kept.values().flat_map(|kept| &kept.mistakes);
    let mut mistakes: Vec<Mistake> = state.stray.iter().chain(of_reports).cloned().collect();
    mistakes.sort();
    let reports = Arc::new(definitions.iter().map(|definition| definition.report.clone()).collect());
    let wrong = state.kept.iter().filter(|known| of_name(*known).is_none()).map(|(name, _)| name.clone()).collect();
    let defined = Arc::new(Defined { reports, is_listed: state.is_listed, wrong });
    Shown { defined, definitions, mistakes }
}

#[cfg(test)]
mod tests;
