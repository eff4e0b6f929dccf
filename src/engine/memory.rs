//! Memory of statements: one statement's is below its limit and fair among its operators, and all come out of one pool.
//!
//! What can be spilled takes what it gets, and so does the merge of what was spilled, which reads as many runs at a time as it finds memory for. What
//! works on their rows cannot do with less. So a part is kept for it that the others do not get (save half of it for merges that found nothing), within a statement and among
//! statements; and statements that could each use all memory are given equal parts.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use datafusion::common::DataFusionError;
use datafusion::error::Result;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::{
    GreedyMemoryPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use datafusion::execution::runtime_env::RuntimeEnv;

/// The share of memory that is kept for what cannot spill: an eighth holds some batches of each of several merges.
const KEPT_SHARE: usize = 8;

/// A statement counts as one of those that share memory once its elastic part is larger than this: small ones come and go.
const COUNTS_FROM_BYTES: usize = 8 << 20;

/// How operators name their memory that hold what is needed of all rows of a trace at once. They come after sorts, and what these keep they lack: one
/// trace may need most of a statement's memory, and sorts do as well with a quarter.
pub(super) const WHOLE_TRACES: &str = "WholeTraces in ";

/// What is kept of so many parts for these.
const KEPT_FOR_TRACES: (usize, usize) = (3, 4);

/// How DataFusion's sorts name their memory, and that of their merges.
const SORT: &str = "ExternalSorter[";
const MERGE: &str = "ExternalSorterMerge";

/// The pool of all statements.
pub(super) fn shared_pool(limit_bytes: usize) -> Arc<dyn MemoryPool> {
    Arc::new(SharedPool { limit_bytes, pool: GreedyMemoryPool::new(limit_bytes), sharing: Arc::default(), of: None })
}

/// The pool of some of the statements, which hold at most `limit_bytes` of another pool.
pub(super) fn pool_within(of: &Arc<dyn MemoryPool>, limit_bytes: usize) -> Arc<dyn MemoryPool> {
    let pool = GreedyMemoryPool::new(limit_bytes);
    Arc::new(SharedPool { limit_bytes, pool, sharing: Arc::default(), of: Some(of.clone()) })
}

/// The runtime environment of one statement, which may hold at most `limit_bytes`, and spills what its part of the disk takes.
pub(super) fn statement_env(
    shared: &RuntimeEnv,
    limit_bytes: usize,
    disk_manager: Arc<DiskManager>,
) -> Arc<RuntimeEnv> {
    let pool = StatementPool {
        limit_bytes,
        used: Mutex::default(),
        shared: shared.memory_pool.clone(),
        counted: OnceLock::new(),
    };
    Arc::new(RuntimeEnv { memory_pool: Arc::new(pool), disk_manager, ..shared.clone() })
}

/// What a consumer of memory does when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It spills.
    Spillable,
    /// It merges fewer runs at a time.
    Merge,
    /// It fails.
    Fixed,
}

impl Class {
    fn of(consumer: &MemoryConsumer) -> Self {
        match consumer.can_spill() {
            true => Self::Spillable,
            false if consumer.name().starts_with(MERGE) => Self::Merge,
            false => Self::Fixed,
        }
    }
}

/// What a statement's consumers hold.
#[derive(Debug, Default)]
struct Used {
    /// How many consumers can spill, beside sorts.
    spillers: usize,
    /// How many sorts take rows in, and how many have a merge, which lives until the last row is given.
    sorts: usize,
    merges: usize,
    /// How many hold whole traces.
    of_traces: usize,
    spillable_bytes: usize,
    merge_bytes: usize,
    fixed_bytes: usize,
    /// The most that was spillable or in merges at a time.
    most_elastic_bytes: usize,
}

impl Used {
    /// How many consumers of such a kind there are.
    fn count_of(&mut self, consumer: &MemoryConsumer) -> Option<&mut usize> {
        match Class::of(consumer) {
            Class::Spillable if consumer.name().starts_with(SORT) => Some(&mut self.sorts),
            Class::Spillable => Some(&mut self.spillers),
            Class::Merge => Some(&mut self.merges),
            Class::Fixed if consumer.name().starts_with(WHOLE_TRACES) => Some(&mut self.of_traces),
            Class::Fixed => None,
        }
    }

    /// What is kept for what cannot spill.
    fn kept_bytes(&self, limit_bytes: usize) -> usize {
        let (kept, of) = KEPT_FOR_TRACES;
        let least = if self.of_traces > 0 { limit_bytes / of * kept } else { limit_bytes / KEPT_SHARE };
        self.fixed_bytes.max(least)
    }

    /// Among how many operators the memory is divided that is not kept. One that merges counts as one that sorts: several sorts of a statement
    /// do not end at once.
    fn parts(&self) -> usize {
        (self.spillers + self.sorts.max(self.merges)).max(1)
    }

    fn elastic_bytes(&self) -> usize {
        self.spillable_bytes + self.merge_bytes
    }

    fn total_bytes(&self) -> usize {
        self.elastic_bytes() + self.fixed_bytes
    }

    fn of(&mut self, class: Class) -> &mut usize {
        match class {
            Class::Spillable => &mut self.spillable_bytes,
            Class::Merge => &mut self.merge_bytes,
            Class::Fixed => &mut self.fixed_bytes,
        }
    }

    fn add(&mut self, class: Class, bytes: usize) {
        *self.of(class) += bytes;
        self.most_elastic_bytes = self.most_elastic_bytes.max(self.elastic_bytes());
    }

    /// What a consumer that holds `held_bytes` may take more, where the statement may have `limit_bytes` and its elastic part `part_bytes` of
    /// what all share.
    fn available_bytes(&self, class: Class, held_bytes: usize, limit_bytes: usize, part_bytes: usize) -> usize {
        if class == Class::Fixed {
            return limit_bytes.saturating_sub(self.total_bytes());
        }
        let kept_bytes = self.kept_bytes(limit_bytes);
        let room_bytes = limit_bytes.saturating_sub(kept_bytes).min(part_bytes);
        // Rows that are sorted in memory go over from what can spill to the merge, also when others have come to share meanwhile.
        let room_bytes = match class {
            Class::Merge => room_bytes.max(self.most_elastic_bytes.min(limit_bytes - limit_bytes / KEPT_SHARE)),
            _ => room_bytes,
        };
        // A sort that was alone may have left a merge that comes later nothing, and without its first batches it fails.
        let spare_bytes = match class {
            Class::Merge => (limit_bytes / KEPT_SHARE).saturating_sub(self.fixed_bytes) / 2,
            _ => 0,
        };
        let fair_bytes = room_bytes / self.parts();
        fair_bytes.saturating_sub(held_bytes).min((room_bytes + spare_bytes).saturating_sub(self.elastic_bytes()))
    }
}

#[derive(Debug)]
struct StatementPool {
    limit_bytes: usize,
    used: Mutex<Used>,
    shared: Arc<dyn MemoryPool>,
    counted: OnceLock<Option<Counted>>,
}

impl StatementPool {
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part_bytes(&self) -> usize {
        self.shared.downcast_ref::<SharedPool>().map_or(usize::MAX, SharedPool::part_bytes)
    }

    /// Counts the statement among those that share memory once it is large.
    fn count(&self, used: &Used) {
        if used.elastic_bytes() > COUNTS_FROM_BYTES {
            self.counted.get_or_init(|| self.shared.downcast_ref::<SharedPool>().map(SharedPool::count));
        }
    }
}

impl fmt::Display for StatementPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement({} bytes)", self.limit_bytes)
    }
}

impl MemoryPool for StatementPool {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if let Some(count) = self.used().count_of(consumer) {
            *count += 1;
        }
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if let Some(count) = self.used().count_of(consumer) {
            *count -= 1;
        }
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used().add(Class::of(reservation.consumer()), additional);
        self.shared.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        *self.used().of(Class::of(reservation.consumer())) -= shrink;
        self.shared.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let class = Class::of(reservation.consumer());
        let mut used = self.used();
        let available = used.available_bytes(class, reservation.size(), self.limit_bytes, self.part_bytes());
        if additional > available {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{} holds {} bytes and asks for {additional} more; there are {available} for it",
                reservation.consumer().name(),
                reservation.size(),
            )));
        }
        self.shared.try_grow(reservation, additional)?;
        used.add(class, additional);
        self.count(&used);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.used().total_bytes()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit_bytes)
    }
}

/// The pool of all statements, which knows how many share it; or of some, within that of all.
#[derive(Debug)]
struct SharedPool {
    limit_bytes: usize,
    pool: GreedyMemoryPool,
    sharing: Arc<AtomicUsize>,
    of: Option<Arc<dyn MemoryPool>>,
}

impl SharedPool {
    /// The part of each statement for what can do with less.
    fn part_bytes(&self) -> usize {
        let elastic_bytes = self.limit_bytes - self.limit_bytes / KEPT_SHARE;
        let part_bytes = elastic_bytes / self.sharing.load(Ordering::Relaxed).max(1);
        self.whole().map_or(part_bytes, |whole| whole.part_bytes().min(part_bytes))
    }

    fn count(&self) -> Counted {
        let mut counted = self.whole().map_or_else(|| Counted(Vec::new()), Self::count);
        self.sharing.fetch_add(1, Ordering::Relaxed);
        counted.0.push(self.sharing.clone());
        counted
    }

    fn whole(&self) -> Option<&Self> {
        self.of.as_ref()?.downcast_ref()
    }
}

/// A statement that counts until this is dropped.
#[derive(Debug)]
struct Counted(Vec<Arc<AtomicUsize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        for sharing in &self.0 {
            sharing.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Display for SharedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statements({})", self.pool)
    }
}

impl MemoryPool for SharedPool {
    fn name(&self) -> &str {
        "statements"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool.register(consumer);
        self.of.iter().for_each(|of| of.register(consumer));
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool.unregister(consumer);
        self.of.iter().for_each(|of| of.unregister(consumer));
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.pool.grow(reservation, additional);
        self.of.iter().for_each(|of| of.grow(reservation, additional));
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pool.shrink(reservation, shrink);
        self.of.iter().for_each(|of| of.shrink(reservation, shrink));
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.pool.try_grow(reservation, additional)?;
        let Some(of) = &self.of else { return Ok(()) };
        of.try_grow(reservation, additional).inspect_err(|_| self.pool.shrink(reservation, additional))
    }

    fn reserved(&self) -> usize {
        self.pool.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.pool.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    const MIB: usize = 1 << 20;

    fn statement_env(shared: &RuntimeEnv, limit_bytes: usize) -> Arc<RuntimeEnv> {
        super::statement_env(shared, limit_bytes, shared.disk_manager.clone())
    }

    fn shared(limit_bytes: usize) -> RuntimeEnv {
        RuntimeEnvBuilder::new().with_memory_pool(shared_pool(limit_bytes)).build().expect("env")
    }

    fn fixed(env: &RuntimeEnv) -> MemoryReservation {
        MemoryConsumer::new("fixed").register(&env.memory_pool)
    }

    fn spillable(env: &RuntimeEnv) -> MemoryReservation {
        MemoryConsumer::new("ExternalSorter[0]").with_can_spill(true).register(&env.memory_pool)
    }

    fn merge(env: &RuntimeEnv) -> MemoryReservation {
        MemoryConsumer::new("ExternalSorterMerge[0]").register(&env.memory_pool)
    }

    #[test]
    fn a_statement_keeps_to_its_limit_and_to_what_others_leave() {
        let shared = shared(100);
        let (a, b) = (statement_env(&shared, 60), statement_env(&shared, 60));
        let (of_a, of_b) = (fixed(&a), fixed(&b));
        assert!(of_a.try_grow(61).is_err(), "over its own limit");
        of_a.try_grow(60).expect("within both");
        assert!(of_b.try_grow(50).is_err(), "over what is left");
        of_b.try_grow(40).expect("what is left");
        drop(of_a);
        assert_eq!((a.memory_pool.reserved(), shared.memory_pool.reserved()), (0, 40));
        of_b.try_grow(20).expect("freed by the other");
    }

    #[test]
    fn those_of_one_pool_leave_the_rest_of_another_to_others() {
        let whole = shared(100);
        let part = |bytes| {
            let pool = pool_within(&whole.memory_pool, bytes);
            RuntimeEnvBuilder::new().with_memory_pool(pool).build().expect("env")
        };
        let (one, other) = (part(60), part(60));
        let (a, b) = (statement_env(&one, 60), statement_env(&one, 60));
        let (of_a, of_b, of_other) = (fixed(&a), fixed(&b), fixed(&statement_env(&other, 60)));
        of_a.try_grow(50).expect("within all");
        assert!(of_b.try_grow(11).is_err(), "over what its pool has");
        of_b.try_grow(10).expect("what its pool has");
        assert!(of_other.try_grow(41).is_err(), "over what all have");
        assert_eq!(other.memory_pool.reserved(), 0, "what is refused is not held");
        of_other.try_grow(40).expect("what all have");
        assert_eq!((one.memory_pool.reserved(), whole.memory_pool.reserved()), (60, 100));
        drop((of_a, of_b, of_other));
        assert_eq!((one.memory_pool.reserved(), whole.memory_pool.reserved()), (0, 0));
    }

    #[test]
    fn an_eighth_is_left_to_what_cannot_spill() {
        let shared = shared(1_000);
        let env = statement_env(&shared, 800);
        let (first, second, merge, fixed) = (spillable(&env), spillable(&env), merge(&env), fixed(&env));
        assert!(first.try_grow(351).is_err(), "more than half of what is not kept");
        first.try_grow(350).expect("half of it");
        second.try_grow(250).expect("less than the other half");
        assert!(second.try_grow(101).is_err(), "what is kept");
        assert!(merge.try_grow(151).is_err(), "more than half of what is kept");
        merge.try_grow(150).expect("what is left, and half of what is kept");
        first.free();
        assert!(merge.try_grow(201).is_err(), "more than its share");
        merge.try_grow(200).expect("what the spiller had");
        assert!(fixed.try_grow(201).is_err(), "more than there is");
        fixed.try_grow(200).expect("all that is left");
        second.free();
        assert!(second.try_grow(251).is_err(), "what is not kept is now 600, and the merge has 350 of it");
        second.try_grow(250).expect("the rest");
    }

    #[test]
    fn most_is_left_to_whole_traces_while_there_are_such() {
        let shared = shared(1_000);
        let env = statement_env(&shared, 800);
        let traces = MemoryConsumer::new(format!("{WHOLE_TRACES}a tree")).register(&env.memory_pool);
        let (sort, merge) = (spillable(&env), merge(&env));
        assert!(sort.try_grow(201).is_err(), "more than a quarter");
        sort.try_grow(200).expect("a quarter");
        assert!(merge.try_grow(51).is_err(), "half of the eighth that is kept for all");
        traces.try_grow(600).expect("what is kept for it");
        drop((traces, merge));
        sort.try_grow(500).expect("all but an eighth, once it is gone");
    }

    #[test]
    fn a_merge_leaves_to_other_sorts_what_is_theirs() {
        let shared = shared(800);
        let env = statement_env(&shared, 800);
        let (first, merge_of_first) = (spillable(&env), merge(&env));
        let (second, merge_of_second) = (spillable(&env), merge(&env));
        first.try_grow(350).expect("half of what is not kept");
        drop(first);
        assert!(merge_of_first.try_grow(351).is_err(), "more than half");
        merge_of_first.try_grow(350).expect("what its sort had");
        second.try_grow(300).expect("the other half");
        merge_of_second.try_grow(50).expect("the rest of it");
        drop((second, merge_of_second));
        merge_of_first.try_grow(350).expect("alone");
    }

    #[test]
    fn statements_that_spill_have_equal_parts_once_they_are_large() {
        let shared = shared(80 * MIB);
        let (a, b) = (statement_env(&shared, 64 * MIB), statement_env(&shared, 64 * MIB));
        let (of_a, merge_of_a, of_b) = (spillable(&a), merge(&a), spillable(&b));
        of_a.try_grow(50 * MIB).expect("alone");
        of_b.try_grow(9 * MIB).expect("what is left");
        assert!(of_a.try_grow(1).is_err(), "more than half of seven eighths");
        of_a.shrink(30 * MIB);
        merge_of_a.try_grow(30 * MIB).expect("what is merged was granted before");
        drop((of_a, merge_of_a, a));
        of_b.try_grow(40 * MIB).expect("alone");
    }
}
