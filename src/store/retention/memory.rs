//! The matches of files and of fresh parts, kept while they are there: neither changes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path;
use tokio::runtime::Handle;

use super::matches::{COLUMNS, Matches, Matching};
use super::rules::RetentionRule;
use crate::error::{Error, Result};
use crate::model::SpanBatch;
use crate::model::schema::physical_schema;
use crate::store::DataFile;
use crate::store::compact::{FileInput, Input};
use crate::store::fresh::Part;

/// The memory that matches may take together: those of some fifteen million traces. Those of further files are read again for each snapshot
/// that needs them.
const BUDGET_BYTES: u64 = 256 << 20;

/// What files and fresh parts match of one set of rules.
#[derive(Debug, Default)]
pub(crate) struct MatchMemory(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    rules: Vec<RetentionRule>,
    of_file: HashMap<Path, Arc<Matches>>,
    /// By address, which nothing else has as long as there is a weak reference to it.
    of_part: HashMap<usize, (Weak<Part>, Arc<Matches>)>,
}

impl MatchMemory {
    /// The matches of `wanted`, some of the table's files `all`, read where they are not known. Must run on a Tokio runtime.
    pub(super) async fn of_files(
        &self,
        store: &Arc<dyn ObjectStore>,
        all: &[DataFile],
        wanted: &[&DataFile],
        rules: &[RetentionRule],
    ) -> Result<Vec<Arc<Matches>>> {
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        {
            let mut known = self.known_of(rules);
            known.forget_gone(all);
            for file in wanted {
                match known.of_file.get(&file.location) {
                    Some(matches) => found.push(matches.clone()),
                    None => unknown.push((*file).clone()),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let (store, rules_to_read, runtime) = (store.clone(), rules.to_vec(), Handle::current());
        let read = tokio::task::spawn_blocking(move || {
            let read_one = |file: DataFile| {
                read(&runtime, &store, &file, &rules_to_read).map(|matches| (file.location, Arc::new(matches)))
            };
            unknown.into_iter().map(read_one).collect::<Result<Vec<_>>>()
        });
        let read = read.await.map_err(|error| Error::internal(format!("reading matches ended badly: {error}")))??;
        let mut known = self.known_of(rules);
        for (location, matches) in read {
            let taken: u64 = known.of_file.values().map(|matches| matches.memory_bytes()).sum();
            if taken + matches.memory_bytes() <= BUDGET_BYTES {
                known.of_file.insert(location, matches.clone());
            }
            found.push(matches);
        }
        Ok(found)
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
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.rules != rules {
            *known = Known { rules: rules.to_vec(), ..Known::default() };
        }
        known
    }
}

impl Known {
    /// Forgets files that have left the table, whose files are now `all`.
    fn forget_gone(&mut self, all: &[DataFile]) {
        if self.of_file.len() > all.len() {
            let live: HashSet<&Path> = all.iter().map(|file| &file.location).collect();
            self.of_file.retain(|location, _| live.contains(location));
        }
    }
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
