//! What a user may set about queries.

use std::path::PathBuf;
use std::time::Duration;

/// What a database is called that has no name of its own.
pub const DEFAULT_DATABASE: &str = "spanhouse";

/// What a user may set about queries.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// What the database is called; clients see it as the catalogue of all there is.
    pub database: String,
    /// The memory that all running statements share.
    pub memory_bytes: usize,
    /// The most memory that one statement may hold.
    pub statement_memory_bytes: usize,
    /// The memory for decoded columns of files that statements share beside that; 0 keeps none.
    pub column_cache_bytes: usize,
    /// Where statements spill what does not fit in memory; the system's temporary folder when not set.
    pub spill_dir: Option<PathBuf>,
    /// The most disk that all running statements may spill to.
    pub spill_bytes: u64,
    /// The most disk that one statement may spill to.
    pub statement_spill_bytes: u64,
    /// What statements leave free of that disk.
    pub spill_free_bytes: u64,
    /// Threads that run statements; one per core when not set.
    pub threads: Option<usize>,
    /// The time limit of a statement in a new session; none when not set.
    pub statement_timeout: Option<Duration>,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            database: DEFAULT_DATABASE.to_owned(),
            memory_bytes: 512 << 20,
            statement_memory_bytes: 384 << 20,
            column_cache_bytes: 512 << 20,
            spill_dir: None,
            spill_bytes: 16 << 30,
            statement_spill_bytes: 12 << 30,
            spill_free_bytes: 1 << 30,
            threads: None,
            statement_timeout: None,
        }
    }
}
