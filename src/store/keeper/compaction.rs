//! Merging small files into large ones.

use std::sync::atomic::Ordering;
use std::time::Instant;

use datafusion::object_store::path::Path;

use super::work::{AVOID_FOR, Work, caught, ended_badly};
use crate::error::{Kind, Result};
use crate::store::DataFile;
use crate::store::compact::{Job, facts_of, plan};
use crate::store::table::{Replacement, WrittenFile};

/// What one round of compaction, or several, did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactReport {
    pub files_before: usize,
    pub files_after: usize,
    pub rows: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Files that take the place of others.
struct Merged {
    removed: Vec<DataFile>,
    added: Vec<WrittenFile>,
}

impl Work {
    pub(super) fn compact_all(&mut self) -> Result<CompactReport> {
        self.expire()?;
        while self.expire_by_rule()? {}
        let mut total = CompactReport::default();
        while let Some(report) = self.compact_once(true)? {
            total.files_before += report.files_before;
            total.files_after += report.files_after;
            total.rows += report.rows;
            total.bytes_before += report.bytes_before;
            total.bytes_after += report.bytes_after;
        }
        self.tidy(self.shared.settings.keep_removed);
        Ok(total)
    }

    /// Does the first of the merges that are due, in one commit; `None` when none is. `finally` takes every date for quiet.
    pub(super) fn compact_once(&mut self, finally: bool) -> Result<Option<CompactReport>> {
        let files = self.candidates();
        // At the end of time every date is quiet.
        let now_unix_ms = if finally { i64::MAX } else { self.shared.clock.unix_ms() };
        let facts: Vec<_> = files.iter().map(|file| facts_of(file, now_unix_ms)).collect();
        let jobs = plan(&facts, &self.shared.plan_limits);
        if jobs.is_empty() {
            return Ok(None);
        }
        let (begun, avoided) = (Instant::now(), self.avoided.len());
        let merged = self.merge(&files, &jobs)?;
        if merged.removed.is_empty() {
            // Without the files that are left alone now, others may be due.
            return Ok((self.avoided.len() > avoided).then(CompactReport::default));
        }
        let report = match self.commit(merged) {
            // Another process has merged them first; what is due now is found out anew.
            Err(error) if error.kind == Kind::NotFound => return Ok(Some(CompactReport::default())),
            done => done?,
        };
        let CompactReport { files_before, files_after, rows, bytes_after, .. } = report;
        let ms = begun.elapsed().as_millis() as u64;
        tracing::info!(files_before, files_after, rows, bytes = bytes_after, ms, "compacted the table");
        Ok(Some(report))
    }

    /// Carries out jobs up to the rows of a large file: what is small shares a commit.
    fn merge(&mut self, files: &[DataFile], jobs: &[Job]) -> Result<Merged> {
        let mut merged = Merged { removed: Vec::new(), added: Vec::new() };
        let promoted = self.shared.visible.load().promoted.clone();
        let mut rows = 0;
        for job in jobs {
            if rows > 0 && rows + job.rows > self.shared.plan_limits.target_rows {
                break;
            }
            let of_job: Vec<DataFile> = job.files.iter().map(|&index| files[index].clone()).collect();
            let merged_job = caught(|| self.rewriter.merge(&of_job, job.goal_rows, &promoted));
            match merged_job.unwrap_or_else(ended_badly) {
                Ok(added) => {
                    rows += job.rows;
                    merged.added.extend(added);
                    merged.removed.extend(of_job);
                }
                Err(error) if error.kind == Kind::Closed => {
                    self.shared.table_dir.remove(&merged.added);
                    return Err(error);
                }
                // Another process has merged it and deleted it; what is to be merged now is found out anew.
                Err(error) if self.has_left(&error) => break,
                Err(error) => {
                    self.shared.counters.compaction_failures.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, files = of_job.len(), retry_in = ?AVOID_FOR, "cannot merge files of the table");
                    self.avoid(&error, of_job.into_iter().map(|file| file.location));
                }
            }
        }
        Ok(merged)
    }

    fn commit(&mut self, merged: Merged) -> Result<CompactReport> {
        let removed: Vec<Path> = merged.removed.iter().map(|file| file.location.clone()).collect();
        let committed = self.unless_it_panics(|work| work.replace(&removed, &merged.added, &Replacement::Compaction));
        let gone = committed.inspect_err(|error| {
            let comes_late = self.shared.table_dir.commits_may_come_late() && error.kind != Kind::NotFound;
            if comes_late || error.kind == Kind::Internal {
                // What was merged stays in the bucket for now: it is not made again every second.
                self.avoided.extend(removed.iter().map(|file| (file.clone(), Instant::now())));
            }
        })?;
        self.vacuum.add(gone);
        let report = CompactReport {
            files_before: merged.removed.len(),
            files_after: merged.added.len(),
            rows: merged.added.iter().map(|file| file.rows).sum(),
            bytes_before: merged.removed.iter().map(|file| file.size_bytes).sum(),
            bytes_after: merged.added.iter().map(|file| file.size_bytes).sum(),
        };
        self.shared.counters.compactions.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.compacted_rows.fetch_add(report.rows, Ordering::Relaxed);
        Ok(report)
    }
}
