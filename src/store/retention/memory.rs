//! The matches of files, kept while the files are in the table: a file does not change.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path;
use tokio::runtime::Handle;

use super::matches::{COLUMNS, Matches, Matching};
use super::rules::RetentionRule;
use crate::error::{Error, Result};
use crate::store::DataFile;
use crate::store::compact::{FileInput, Input};

/// The memory that matches may take together: those of some fifteen million traces. Those of further files are read again for each snapshot
/// that needs them.
const BUDGET_BYTES: u64 = 256 << 20;

/// What files match of one set of rules.
#[derive(Debug, Default)]
pub(crate) struct MatchMemory(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    rules: Vec<RetentionRule>,
    of_file: HashMap<Path, Arc<Matches>>,
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
            let known = self.known_of(all, rules);
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
        let mut known = self.known_of(all, rules);
        for (location, matches) in read {
            let taken: u64 = known.of_file.values().map(|matches| matches.memory_bytes()).sum();
            if taken + matches.memory_bytes() <= BUDGET_BYTES {
                known.of_file.insert(location, matches.clone());
            }
            found.push(matches);
        }
        Ok(found)
    }

    /// What is known, without what other rules or files that are gone left.
    fn known_of(&self, all: &[DataFile], rules: &[RetentionRule]) -> MutexGuard<'_, Known> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.rules != rules {
            *known = Known { rules: rules.to_vec(), of_file: HashMap::new() };
        }
        if known.of_file.len() > all.len() {
            let live: HashSet<&Path> = all.iter().map(|file| &file.location).collect();
            known.of_file.retain(|location, _| live.contains(location));
        }
        known
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
