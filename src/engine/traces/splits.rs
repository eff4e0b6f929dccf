//! Which traces lie in more than one run.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::common::internal_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{StreamExt, TryStreamExt};

use super::runs::{hash, run_starts, trace_ids};
use crate::engine::scan::{Piece, Pieces};

/// The hashes of a piece's runs, in order: a row of a file keeps its place for ever.
pub(super) type RunHashes = Arc<[u64]>;

/// Collects the hashes of the runs of a piece, batch by batch.
#[derive(Debug, Default)]
pub(super) struct RunsOfPiece {
    hashes: Vec<u64>,
    last: Option<Vec<u8>>,
}

impl RunsOfPiece {
    /// Takes a batch whose only column is the trace id.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let ids = trace_ids(batch, 0)?;
        for start in run_starts(ids) {
            let id = ids.value(start as usize);
            // The run before may go on in this batch.
            if start > 0 || self.last.as_deref() != Some(id) {
                self.hashes.push(hash(id));
            }
        }
        if let Some(row) = batch.num_rows().checked_sub(1) {
            self.last = Some(ids.value(row).to_vec());
        }
        Ok(())
    }

    pub fn finish(self) -> RunHashes {
        self.hashes.into()
    }
}

/// Traces whose rows must be gathered, by hash. Two traces of one hash are gathered without need, and stay two traces.
#[derive(Debug, Default)]
pub(super) struct SplitTraces(HashSet<u64, BuildHasherDefault<AsItIs>>);

impl SplitTraces {
    /// The hashes that occur more than once among those of pieces, and all of those that are gathered in any case.
    pub fn find(pieces: &[RunHashes], gathered: &[RunHashes]) -> Self {
        let mut all: Vec<u64> = pieces.iter().flat_map(|hashes| hashes.iter().copied()).collect();
        all.sort_unstable();
        let twice = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        Self(twice.chain(gathered.iter().flat_map(|hashes| hashes.iter().copied())).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, id: &[u8]) -> bool {
        self.0.contains(&hash(id))
    }
}

/// Reads the trace ids of pieces that are not known yet, on so many cores at a time, and of all fresh spans.
pub(super) async fn find_splits(
    pieces: &Pieces,
    known: Option<&KnownRuns>,
    cores: usize,
    context: &Arc<TaskContext>,
) -> Result<Arc<SplitTraces>> {
    let mut found: Vec<_> = pieces.keys.iter().map(|piece| known.and_then(|known| known.get(piece))).collect();
    if let Some(files) = &pieces.files {
        let unknown: Vec<usize> = (0..found.len()).filter(|at| found[*at].is_none()).collect();
        for (at, runs) in read_runs(&files.ids, unknown, cores, context).await? {
            if let Some(known) = known {
                known.put(&pieces.keys[at], runs.clone());
            }
            found[at] = Some(runs);
        }
    }
    let mut gathered = Vec::new();
    if let Some(fresh) = &pieces.fresh {
        let all = (0..fresh.ids.output_partitioning().partition_count()).collect();
        gathered = read_runs(&fresh.ids, all, cores, context).await?;
    }
    let found: Vec<_> = found.into_iter().flatten().collect();
    let gathered: Vec<_> = gathered.into_iter().map(|(_, runs)| runs).collect();
    Ok(Arc::new(SplitTraces::find(&found, &gathered)))
}

async fn read_runs(
    ids: &Arc<dyn ExecutionPlan>,
    partitions: Vec<usize>,
    cores: usize,
    context: &Arc<TaskContext>,
) -> Result<Vec<(usize, RunHashes)>> {
    let read = |at: usize| {
        let ids = ids.execute(at, context.clone());
        SpawnedTask::spawn(async move {
            let mut ids = ids?;
            let mut runs = RunsOfPiece::default();
            while let Some(batch) = ids.next().await {
                runs.push(&batch?)?;
            }
            Ok((at, runs.finish()))
        })
        .join()
    };
    let done = futures::stream::iter(partitions).map(read).buffer_unordered(cores.max(1));
    done.map(|done| done.map_err(|e| internal_datafusion_err!("the reading of trace ids ended early: {e}"))?)
        .try_collect()
        .await
}

/// Hashes a hash by leaving it as it is.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The runs of pieces that were read before, so that a statement need not read them again. Kept in the session's configuration.
#[derive(Debug, Default)]
pub(in crate::engine) struct KnownRuns(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    pieces: HashMap<Piece, (RunHashes, u64)>,
    hashes: usize,
    /// Counts uses: the piece that was not used for the longest goes first.
    clock: u64,
}

/// The most hashes that are kept: 64 MiB, the runs of some 100 million spans.
const KEPT_HASHES: usize = 8 << 20;

impl KnownRuns {
    pub(super) fn get(&self, piece: &Piece) -> Option<RunHashes> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.clock += 1;
        let now = known.clock;
        let (hashes, used) = known.pieces.get_mut(piece)?;
        *used = now;
        Some(hashes.clone())
    }

    pub(super) fn put(&self, piece: &Piece, hashes: RunHashes) {
        if hashes.len() > KEPT_HASHES {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.clock += 1;
        known.hashes += hashes.len();
        let now = known.clock;
        if let Some((before, _)) = known.pieces.insert(piece.clone(), (hashes, now)) {
            known.hashes -= before.len();
        }
        while known.hashes > KEPT_HASHES {
            let oldest = known.pieces.iter().min_by_key(|(_, (_, used))| *used).map(|(piece, _)| piece.clone());
            let Some((gone, _)) = oldest.and_then(|oldest| known.pieces.remove(&oldest)) else { return };
            known.hashes -= gone.len();
        }
    }
}
