//! Which traces lie in more than one run.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::common::internal_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
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

/// Hashes of traces.
type Hashes = HashSet<u64, BuildHasherDefault<AsItIs>>;

/// Traces whose rows must be gathered, by hash. Two traces of one hash are gathered without need, and stay two traces.
#[derive(Debug)]
pub(super) struct SplitTraces {
    /// Those that are in more than one run of files.
    stored: Arc<Hashes>,
    /// Those of fresh spans, which are gathered in any case.
    fresh: Hashes,
    /// Holds what is not kept for other statements.
    _held: MemoryReservation,
}

impl SplitTraces {
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.fresh.is_empty()
    }

    pub fn contains(&self, id: &[u8]) -> bool {
        let hash = hash(id);
        self.stored.contains(&hash) || self.fresh.contains(&hash)
    }
}

/// The hashes that occur more than once.
fn twice(pieces: &[RunHashes]) -> Hashes {
    let mut all: Vec<u64> = pieces.iter().flat_map(|hashes| hashes.iter().copied()).collect();
    all.sort_unstable();
    all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect()
}

fn hash_bytes(runs: &[RunHashes]) -> usize {
    runs.iter().map(|hashes| size_of_val(hashes.as_ref())).sum()
}

/// Reads the trace ids of pieces that are not known yet, on so many cores at a time, and of all fresh spans.
pub(super) async fn find_splits(
    pieces: &Pieces,
    known: Option<&KnownRuns>,
    cores: usize,
    context: &Arc<TaskContext>,
) -> Result<Arc<SplitTraces>> {
    let held = MemoryConsumer::new("SplitTraces").register(context.memory_pool());
    let stored = match known.and_then(|known| known.splits(&pieces.keys)) {
        Some(stored) => stored,
        None => {
            let stored = find_stored(pieces, known, cores, context, &held).await?;
            if let Some(known) = known {
                known.put_splits(&pieces.keys, &stored);
            }
            stored
        }
    };
    let mut fresh = Hashes::default();
    if let Some(source) = &pieces.fresh {
        let all = (0..source.ids.output_partitioning().partition_count()).collect();
        for (_, runs) in read_runs(&source.ids, all, cores, context).await? {
            // A set has twice the room.
            held.try_grow(size_of_val(runs.as_ref()) * 2)?;
            fresh.extend(runs.iter());
        }
    }
    Ok(Arc::new(SplitTraces { stored, fresh, _held: held }))
}

/// The traces in more than one run of files. `held` has the memory for what it finds when it is done.
async fn find_stored(
    pieces: &Pieces,
    known: Option<&KnownRuns>,
    cores: usize,
    context: &Arc<TaskContext>,
    held: &MemoryReservation,
) -> Result<Arc<Hashes>> {
    let mut found: Vec<_> = pieces.keys.iter().map(|piece| known.and_then(|known| known.get(piece))).collect();
    if let Some(files) = &pieces.files {
        let unknown: Vec<usize> = (0..found.len()).filter(|at| found[*at].is_none()).collect();
        for (at, runs) in read_runs(&files.ids, unknown, cores, context).await? {
            held.try_grow(size_of_val(runs.as_ref()))?;
            if let Some(known) = known {
                known.put(&pieces.keys[at], runs.clone());
            }
            found[at] = Some(runs);
        }
    }
    let found: Vec<_> = found.into_iter().flatten().collect();
    // They are copied to be sorted.
    held.try_grow(hash_bytes(&found))?;
    let sorted = SpawnedTask::spawn_blocking(move || twice(&found)).join().await;
    let twice = sorted.map_err(|e| internal_datafusion_err!("the sorting of trace hashes ended early: {e}"))?;
    held.try_resize(twice.capacity() * size_of::<u64>() * 2)?;
    Ok(Arc::new(twice))
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
    /// The runs of each piece, and when they were asked for last.
    pieces: HashMap<Piece, (RunHashes, u64)>,
    hashes: usize,
    /// Counts statements.
    clock: u64,
    /// What came of lists of pieces, the last one first.
    splits: VecDeque<(Vec<Piece>, Arc<Hashes>)>,
}

/// The most hashes that are kept: 64 MiB, the runs of some 100 million spans.
const KEPT_HASHES: usize = 8 << 20;

/// A piece that so many statements did not ask for is let go of for another. What was asked for lately stays: where not all fit, statements that
/// ask for all in the same order would else find none.
const STALE_AFTER: u64 = 64;

/// The most lists of pieces whose split traces are kept, those of the statements that are asked again and again, and the most traces of one.
const KEPT_SPLITS: usize = 4;
const KEPT_TRACES: usize = 1 << 20;

impl KnownRuns {
    /// The traces in more than one run of these pieces, if they were asked for lately.
    fn splits(&self, pieces: &[Piece]) -> Option<Arc<Hashes>> {
        let mut known = self.lock();
        known.clock += 1;
        let at = known.splits.iter().position(|(of, _)| of == pieces)?;
        let found = known.splits.remove(at)?;
        let splits = found.1.clone();
        known.splits.push_front(found);
        // Their runs are in use as well.
        let now = known.clock;
        pieces.iter().for_each(|piece| {
            if let Some((_, used)) = known.pieces.get_mut(piece) {
                *used = now;
            }
        });
        Some(splits)
    }

    fn put_splits(&self, pieces: &[Piece], splits: &Arc<Hashes>) {
        if splits.len() <= KEPT_TRACES {
            let mut known = self.lock();
            known.splits.push_front((pieces.to_vec(), splits.clone()));
            known.splits.truncate(KEPT_SPLITS);
        }
    }

    fn get(&self, piece: &Piece) -> Option<RunHashes> {
        let mut known = self.lock();
        let now = known.clock;
        let (hashes, used) = known.pieces.get_mut(piece)?;
        *used = now;
        Some(hashes.clone())
    }

    fn put(&self, piece: &Piece, hashes: RunHashes) {
        let mut known = self.lock();
        if known.hashes + hashes.len() > KEPT_HASHES {
            let now = known.clock;
            known.pieces.retain(|_, (_, used)| *used + STALE_AFTER > now);
            known.hashes = known.pieces.values().map(|(hashes, _)| hashes.len()).sum();
        }
        if known.hashes + hashes.len() > KEPT_HASHES {
            return;
        }
        known.hashes += hashes.len();
        let now = known.clock;
        if let Some((before, _)) = known.pieces.insert(piece.clone(), (hashes, now)) {
            known.hashes -= before.len();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(number: i64) -> Piece {
        Piece { location: "a".into(), start_byte: number, end_byte: number + 1 }
    }

    #[test]
    fn runs_that_do_not_all_fit_are_found_in_part_until_they_are_stale() {
        let known = KnownRuns::default();
        let runs = |first: u64| -> RunHashes { (first..first + KEPT_HASHES as u64 / 3).collect() };
        let ask = |pieces: &[i64]| -> Vec<bool> {
            known.splits(&[piece(-1)]);
            let ask = |number: &i64| match known.get(&piece(*number)) {
                Some(_) => true,
                None => {
                    known.put(&piece(*number), runs(*number as u64));
                    false
                }
            };
            pieces.iter().map(ask).collect()
        };
        assert_eq!(ask(&[0, 1, 2, 3]), [false; 4]);
        assert_eq!(ask(&[0, 1, 2, 3]), [true, true, true, false]);
        assert_eq!(ask(&[4, 0]), [false, true]);
        for _ in 0..STALE_AFTER {
            assert_eq!(ask(&[0]), [true]);
        }
        assert_eq!((ask(&[4]), ask(&[4, 0, 1])), (vec![false], vec![true, true, false]));
    }

    #[test]
    fn split_traces_of_the_lists_asked_for_last_are_kept() {
        let known = KnownRuns::default();
        let found = Arc::new(twice(&[Arc::from([1, 2, 3]), Arc::from([4, 2]), Arc::from([3, 2])]));
        assert_eq!(*found, Hashes::from_iter([2, 3]));
        let list = |number: i64| vec![piece(number), piece(number + 1)];
        assert!(known.splits(&list(0)).is_none());
        (0..KEPT_SPLITS as i64).for_each(|number| known.put_splits(&list(number), &found));
        assert!(known.splits(&list(0)).is_some_and(|kept| Arc::ptr_eq(&kept, &found)));
        known.put_splits(&list(9), &found);
        assert!(known.splits(&list(1)).is_none(), "the one that was not asked for");
        assert!(known.splits(&list(0)).is_some());
    }
}
