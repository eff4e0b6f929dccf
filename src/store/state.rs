//! The one place where spans become visible: the table's files and the fresh parts, swapped together.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use arc_swap::ArcSwap;
use datafusion::object_store::path::Path;

use super::DataFile;
use super::fresh::{Part, choose_merge};
use super::table::TableState;
use super::wal::Lsn;
use crate::error::Result;
use crate::model::SpanBatch;
use crate::model::promoted::Promoted;

/// Everything that a statement can see, at one moment.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub table_version: Option<u64>,
    pub files: Arc<[DataFile]>,
    /// The table's columns of promoted attributes.
    pub promoted: Arc<Promoted>,
    /// In the log's order, without gap or overlap, all above the table's low-water mark.
    pub parts: Vec<Arc<Part>>,
    /// Parts up to here are being sealed: they are not merged with later ones.
    sealing: Option<Lsn>,
    batches: OnceLock<Arc<[SpanBatch]>>,
}

impl State {
    /// The fresh batches, as snapshots share them.
    pub(crate) fn batches(&self) -> Arc<[SpanBatch]> {
        self.batches.get_or_init(|| self.parts.iter().map(|part| part.batch.clone()).collect()).clone()
    }

    pub(crate) fn fresh_rows(&self) -> usize {
        self.parts.iter().map(|part| part.batch.num_rows()).sum()
    }

    pub(crate) fn fresh_charged(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.charged)).sum()
    }

    /// When the oldest fresh request came.
    pub(crate) fn oldest_unix_ms(&self) -> Option<i64> {
        self.parts.iter().map(|part| part.received_unix_ms).min()
    }

    /// The same fresh parts beside a version of the table.
    pub(crate) fn beside(&self, table: &TableState) -> Self {
        Self {
            table_version: table.version,
            files: table.files.clone(),
            promoted: table.promoted.clone(),
            parts: self.parts.clone(),
            sealing: None,
            batches: self.batches.clone(),
        }
    }

    fn with_parts(&self, parts: Vec<Arc<Part>>) -> Self {
        Self {
            table_version: self.table_version,
            files: self.files.clone(),
            promoted: self.promoted.clone(),
            parts,
            sealing: self.sealing,
            batches: OnceLock::new(),
        }
    }
}

/// The current [`State`]: read without waiting, changed under one lock.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    state: ArcSwap<State>,
    change: Mutex<()>,
    /// The lists of files of former versions that a snapshot may still hold.
    former: Mutex<Vec<Weak<[DataFile]>>>,
}

impl Visible {
    pub(crate) fn load(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Makes parts visible. They must follow what is there.
    pub(crate) fn publish(&self, parts: impl IntoIterator<Item = Part>) {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state.load();
        let mut all = state.parts.clone();
        all.extend(parts.into_iter().map(Arc::new));
        self.state.store(Arc::new(state.with_parts(all)));
    }

    /// Takes everything that is fresh now for sealing; `None` when nothing is.
    pub(crate) fn begin_seal(&self) -> Option<Vec<Arc<Part>>> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state.load();
        let last = state.parts.last()?.last;
        self.state.store(Arc::new(State { sealing: Some(last), ..state.with_parts(state.parts.clone()) }));
        Some(state.parts.clone())
    }

    /// Takes over a version of the table: its files come in the place of the former ones and of the parts up to `mark`. Gives what those
    /// had charged.
    pub(crate) fn install(&self, table: &TableState) -> u64 {
        let TableState { version: table_version, files, promoted, mark } = table.clone();
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state.load();
        let mut former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        former.retain(|files| files.strong_count() > 0);
        former.push(Arc::downgrade(&state.files));
        let (gone, parts): (Vec<_>, Vec<_>) = state.parts.iter().cloned().partition(|part| part.last <= mark);
        let sealing = state.sealing.filter(|sealing| *sealing > mark);
        self.state.store(Arc::new(State { table_version, files, promoted, sealing, ..state.with_parts(parts) }));
        gone.iter().map(|part| u64::from(part.charged)).sum()
    }

    /// The files of former versions that snapshots hold now.
    pub(crate) fn held_files(&self) -> HashSet<Path> {
        let former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        let held = former.iter().filter_map(Weak::upgrade);
        held.flat_map(|files| files.iter().map(|file| file.location.clone()).collect::<Vec<_>>()).collect()
    }

    /// Leaves the parts where they are after a sealing that failed.
    pub(crate) fn abandon_seal(&self) {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state.load();
        self.state.store(Arc::new(State { sealing: None, ..state.with_parts(state.parts.clone()) }));
    }

    /// Merges small neighbours once; tells whether there may be more to merge.
    ///
    /// The copying happens outside the lock. Only one thread may call this.
    pub(crate) fn merge_once(&self) -> Result<bool> {
        let state = self.state.load_full();
        let from = state.sealing.map_or(0, |sealing| state.parts.partition_point(|part| part.last <= sealing));
        let rows: Vec<usize> = state.parts[from..].iter().map(|part| part.batch.num_rows()).collect();
        let Some(run) = choose_merge(&rows) else { return Ok(false) };
        let chosen = &state.parts[from + run.start..from + run.end];
        let merged = Part::merge(chosen)?;

        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state.load();
        // A sealing may have begun or ended meanwhile: the merged part then may not take the place of parts that it covers.
        let sealed = state.sealing.is_some_and(|sealing| merged.first <= sealing);
        let at = state.parts.partition_point(|part| part.first < merged.first);
        let same = state
            .parts
            .get(at..at + chosen.len())
            .is_some_and(|now| now.iter().zip(chosen).all(|(a, b)| Arc::ptr_eq(a, b)));
        if same && !sealed {
            let mut parts = state.parts.clone();
            parts.splice(at..at + chosen.len(), [Arc::new(merged)]);
            self.state.store(Arc::new(state.with_parts(parts)));
        }
        Ok(true)
    }
}
