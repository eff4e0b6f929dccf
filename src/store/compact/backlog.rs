//! What there is to do, as anybody can tell who sees the table's files.

use std::time::Duration;

use super::input::memory_bytes;
use super::plan::{FileFacts, Job, PlanLimits, plan};
use crate::store::DataFile;
use crate::store::table::FileName;

/// The files that are to be merged now, and their rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    pub files: u64,
    pub rows: u64,
}

impl Backlog {
    pub(crate) fn of(jobs: &[Job]) -> Self {
        Self { files: jobs.iter().map(|job| job.files.len() as u64).sum(), rows: jobs.iter().map(|job| job.rows).sum() }
    }
}

/// What compaction has to do in `files`.
pub(crate) fn backlog(files: &[DataFile], now_unix_ms: i64) -> Backlog {
    let facts: Vec<_> = files.iter().filter(|file| is_ours(file)).map(|file| facts_of(file, now_unix_ms)).collect();
    Backlog::of(&plan(&facts, &PlanLimits::default()))
}

/// Whether the file bears a name that we give: its rows are in order then.
pub(crate) fn is_ours(file: &DataFile) -> bool {
    file.location.filename().is_some_and(|name| FileName::parse(name).is_some())
}

pub(crate) fn facts_of(file: &DataFile, now_unix_ms: i64) -> FileFacts<'_> {
    let age_ms = now_unix_ms.saturating_sub(file.written_unix_ms).max(0);
    FileFacts {
        date: &file.date,
        rows: file.rows,
        size_bytes: file.size_bytes,
        min_start_ns: file.min_start_ns,
        max_start_ns: file.max_start_ns,
        age: Duration::from_millis(age_ms as u64),
        memory_bytes: memory_bytes(file),
    }
}
