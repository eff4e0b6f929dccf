//! What statements take of the process now.

use super::scan::ColumnCache;
use super::shared::Engine;
use super::spill::SpillDisk;
use super::tally::StatementCounts;

/// What statements take of the process at one moment, and what became of those before.
#[derive(Debug, Clone)]
pub struct Load {
    /// One that was stopped counts until it has really ended.
    pub running_statements: usize,
    /// Sessions of clients.
    pub sessions: usize,
    pub memory_bytes: usize,
    pub memory_limit_bytes: usize,
    pub column_cache_bytes: usize,
    pub column_cache_limit_bytes: usize,
    pub spilled_bytes: u64,
    pub spill_limit_bytes: u64,
    /// Whether the temporary disk is that of other engines too.
    pub shares_spill: bool,
    pub statements: StatementCounts,
}

impl Engine {
    /// What statements take of the process now.
    pub fn load(&self) -> Load {
        let (settings, config) = (self.settings(), self.state().config());
        let column_cache_bytes = config.get_extension::<ColumnCache>().map_or(0, |cache| cache.used_bytes());
        let spilled_bytes = config.get_extension::<SpillDisk>().map_or(0, |disk| disk.used_bytes());
        Load {
            running_statements: self.running_statements(),
            sessions: self.activity().sessions(),
            memory_bytes: self.state().runtime_env().memory_pool.reserved(),
            memory_limit_bytes: settings.memory_bytes,
            column_cache_bytes,
            column_cache_limit_bytes: settings.column_cache_bytes,
            spilled_bytes,
            spill_limit_bytes: settings.spill_bytes,
            shares_spill: !self.is_whole(),
            statements: self.tally().counts(),
        }
    }
}
