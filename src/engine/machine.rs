//! What the engines of one process share: threads, memory, temporary disk. An engine over another store has a part of it, and nothing else in
//! common with the others: what it knows of files, plans and sessions is its own.

use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryPool;

use super::memory::{pool_within, shared_pool};
use super::runtime::QueryRuntime;
use super::settings::EngineSettings;
use super::spill::{SpillDisk, SpillLimits};
use crate::store::Priority;

/// What an engine works with.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) runtime: Arc<QueryRuntime>,
    pub(super) background: Arc<QueryRuntime>,
    pub(super) memory: Arc<dyn MemoryPool>,
    pub(super) spill: Arc<SpillDisk>,
    /// Whether other engines have parts of it.
    pub(super) is_whole: bool,
}

impl Machine {
    pub fn new(settings: &EngineSettings) -> Self {
        let spill_limits = SpillLimits {
            of_all: settings.spill_bytes,
            of_statement: settings.statement_spill_bytes,
            kept_free: settings.spill_free_bytes,
        };
        Self {
            runtime: Arc::new(QueryRuntime::new(settings.threads, Priority::Usual)),
            background: Arc::new(QueryRuntime::new(settings.threads, Priority::Idle)),
            memory: shared_pool(settings.memory_bytes),
            spill: SpillDisk::new(settings.spill_dir.clone(), spill_limits),
            is_whole: true,
        }
    }

    /// A part of it, in which statements may hold `memory_bytes` of what all have.
    pub fn part(&self, memory_bytes: usize) -> Self {
        Self { memory: pool_within(&self.memory, memory_bytes), is_whole: false, ..self.clone() }
    }
}
