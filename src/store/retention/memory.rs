//! The matches of files and of fresh parts, kept while they are there: neither changes.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path;
use tokio::runtime::Handle;

use super::matches::{COLUMNS, Matches, Matching};
use super::rules::RetentionRule;
use crate::error::{Error, Kind, Result};
use crate::model::SpanBatch;
use crate::model::schema::physical_schema;
use crate::store::compact::{FileInput, Input};
use crate::store::fresh::Part;
use crate::store::order::DAY_NS;
use crate::store::{DataFile, missing_file};

/// The memory that the matches of files may take together: those of some fifteen million traces.
const BUDGET_BYTES: u64 = 256 << 20;
/// How long a file is not read again after that failed.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// What files and fresh parts match of one set of rules.
#[derive(Debug, Default)]
pub(crate) struct MatchMemory {
    known: Mutex<Known>,
    /// Held while files are read: who comes meanwhile waits and finds what was read.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    rules: Vec<RetentionRule>,
    of_file: HashMap<Path, Arc<Matches>>,
    /// Files that could not be read, and when that was.
    failed: HashMap<Path, (Instant, Arc<Error>)>,
    /// By address, which nothing else has as long as there is a weak reference to it.
    of_part: HashMap<usize, (Weak<Part>, Arc<Matches>)>,
}

/// What some files match, as far as that is known.
#[derive(Debug, Default)]
pub(super) struct OfFiles {
    pub matches: Vec<Arc<Matches>>,
    pub unknown: Vec<Unknown>,
}

/// A file of which it is not known what it matches.
#[derive(Debug)]
pub(super) struct Unknown {
    /// The days on which its spans start, counted from 1970.
    pub days: RangeInclusive<i64>,
    pub why: Arc<Error>,
}

impl Unknown {
    fn new(file: &DataFile, why: Arc<Error>) -> Self {
        Self { days: days_of(file.min_start_ns, file.max_start_ns), why }
    }
}

/// The days of starts between two.
pub(super) fn days_of(min_ns: i64, max_ns: i64) -> RangeInclusive<i64> {
    min_ns.div_euclid(DAY_NS)..=max_ns.div_euclid(DAY_NS)
}

impl MatchMemory {
    /// The matches of `wanted`, some of the table's files `all`, read where they are not known. Must run on a Tokio runtime.
    ///
    /// A file that cannot be read, or for whose matches there is no memory, fails nobody here: only who must know what it matches.
    ///
    /// # Errors
    /// When a file is not there, the first time: it may have left the table.
    pub(super) async fn of_files(
        &self,
        store: &Arc<dyn ObjectStore>,
        all: &[DataFile],
        wanted: &[&DataFile],
        rules: &[RetentionRule],
    ) -> Result<OfFiles> {
        if let Some(found) = self.known_of(rules).all_of(all, wanted) {
            return Ok(found);
        }
        let _reading = self.reading.lock().await;
        let mut unread = self.known_of(rules).unread(wanted);
        // What cannot be kept is of the oldest days, which are looked at least.
        unread.sort_by_key(|file| std::cmp::Reverse(file.max_start_ns));
        for file in unread {
            let (store, rules_to_read, runtime) = (store.clone(), rules.to_vec(), Handle::current());
            let (location, to_read) = (file.location.clone(), file.clone());
            let read = tokio::task::spawn_blocking(move || read(&runtime, &store, &to_read, &rules_to_read));
            let read = read.await.unwrap_or_else(|_| Err(Error::internal("reading matches ended badly")));
            let mut known = self.known_of(rules);
            match read.and_then(|matches| known.keep(&file, matches, wanted)) {
                Ok(()) => {}
                Err(error) => {
                    let left = missing_file(&error).map(|missing| missing.to_error());
                    let again = left.map(|cause| Error::new(error.kind, error.message.clone()).with_source(cause));
                    known.failed.insert(location, (Instant::now(), Arc::new(error)));
                    again.map_or(Ok(()), Err)?;
                }
            }
        }
        Ok(self.known_of(rules).known(wanted))
    }

    /// The matches of parts of the fresh spans.
    pub(super) fn of_parts(&self, parts: &[&Arc<Part>], rules: &[RetentionRule]) -> Result<Vec<Arc<Matches>>> {
        let known = |known: &Known, part: &Arc<Part>| Some(known.of_part.get(&Arc::as_ptr(part).addr())?.1.clone());
        let mut found: Vec<Option<Arc<Matches>>> = {
            let all = self.known_of(rules);
            parts.iter().map(|part| known(&all, part)).collect()
        };
        let mut read = Vec::new();
        for (part, found) in parts.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            let matches = Arc::new(of_batch(&part.batch, rules)?);
            read.push((Arc::as_ptr(part).addr(), (Arc::downgrade(part), matches.clone())));
            *found = Some(matches);
        }
        if !read.is_empty() {
            let mut known = self.known_of(rules);
            known.of_part.retain(|_, (part, _)| part.strong_count() > 0);
            known.of_part.extend(read);
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// What is known of these rules; what is known of others is forgotten.
    fn known_of(&self, rules: &[RetentionRule]) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.rules != rules {
            *known = Known { rules: rules.to_vec(), ..Known::default() };
        }
        known
    }
}

impl Known {
    /// What is known of `wanted`, if nothing is to be read.
    fn all_of(&mut self, all: &[DataFile], wanted: &[&DataFile]) -> Option<OfFiles> {
        self.forget_gone(all);
        self.unread(wanted).is_empty().then(|| self.known(wanted))
    }

    fn known(&self, wanted: &[&DataFile]) -> OfFiles {
        let mut found = OfFiles::default();
        for file in wanted {
            match (self.of_file.get(&file.location), self.failed.get(&file.location)) {
                (Some(matches), _) => found.matches.push(matches.clone()),
                (None, Some((_, why))) => found.unknown.push(Unknown::new(file, why.clone())),
                (None, None) => found.unknown.push(Unknown::new(file, Arc::new(no_room(file)))),
            }
        }
        found
    }

    /// The files that are to be read.
    fn unread(&mut self, wanted: &[&DataFile]) -> Vec<DataFile> {
        self.failed.retain(|_, (since, _)| since.elapsed() < FAILED_FOR);
        let is_known =
            |file: &DataFile| self.of_file.contains_key(&file.location) || self.failed.contains_key(&file.location);
        wanted.iter().filter(|file| !is_known(file)).map(|file| (*file).clone()).collect()
    }

    /// Keeps what a file matches, in the place of what nobody wants now if need be.
    fn keep(&mut self, file: &DataFile, matches: Matches, wanted: &[&DataFile]) -> Result<()> {
        if self.taken_bytes() + matches.memory_bytes() > BUDGET_BYTES {
            let wanted: HashSet<&Path> = wanted.iter().map(|file| &file.location).collect();
            self.of_file.retain(|location, _| wanted.contains(location));
        }
        if self.taken_bytes() + matches.memory_bytes() > BUDGET_BYTES {
            return Err(no_room(file));
        }
        self.of_file.insert(file.location.clone(), Arc::new(matches));
        Ok(())
    }

    fn taken_bytes(&self) -> u64 {
        self.of_file.values().map(|matches| matches.memory_bytes()).sum()
    }

    /// Forgets files that have left the table, whose files are now `all`.
    fn forget_gone(&mut self, all: &[DataFile]) {
        if self.of_file.len() > all.len() {
            let live: HashSet<&Path> = all.iter().map(|file| &file.location).collect();
            self.of_file.retain(|location, _| live.contains(location));
        }
    }
}

fn no_room(file: &DataFile) -> Error {
    let text = format!("no memory is left for which traces of {} match the retention rules", file.location);
    Error::new(Kind::OutOfResources, text)
        .with_hint("rules that fewer traces match, or that keep them less long, take less")
}

/// Reads what a file matches. Blocks.
fn read(runtime: &Handle, store: &Arc<dyn ObjectStore>, file: &DataFile, rules: &[RetentionRule]) -> Result<Matches> {
    let columns = COLUMNS.map(str::to_owned);
    let mut input = FileInput::open_columns(runtime, store, file, &columns)?;
    let mut matching = Matching::new(rules);
    while let Some(batch) = input.next()? {
        matching.add(&batch)?;
    }
    Ok(matching.finish())
}

fn of_batch(batch: &SpanBatch, rules: &[RetentionRule]) -> Result<Matches> {
    let schema = physical_schema();
    let places: Vec<usize> = COLUMNS.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let mut matching = Matching::new(rules);
    let step = batch.expandable_rows().max(1);
    for row in (0..batch.num_rows()).step_by(step) {
        matching.add(&batch.project(&places, row..batch.num_rows().min(row + step))?)?;
    }
    Ok(matching.finish())
}
