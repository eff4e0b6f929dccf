//! The keeper's thread: makes small files into large ones and deletes what left the table, behind ingest and queries.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use datafusion::object_store::path::Path;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::compact::{Job, Rewriter, Stop, facts_of, is_ours, plan};
use super::failpoint;
use super::redact::{Files, RedactReport, Rewritten, SpanFilter, rewrite_all, survey};
use super::replace::{NotReplaced, try_replace};
use super::retention::{Expired, newly_past, wholly_expired};
use super::store::Shared;
use super::table::{Replacement, Tombstone, WrittenFile};
use super::vacuum::Vacuum;
use super::DataFile;
use super::priority::Priority;
use crate::error::{Error, Kind, Result};
use crate::model::promoted::Promoted;

/// How often the keeper looks for work.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Explicit requests that wait for the keeper.
const QUEUE_COMMANDS: usize = 16;
/// How often a redaction begins; another process that compacts the same files takes far longer for it than a redaction.
const REDACTION_TRIES: usize = 5;
/// The files that one commit of expiry writes anew at most: what waits for it, such as a redaction, waits some seconds.
const MOST_EXPIRED_FILES: usize = 64;
/// How long files are left alone after merging them failed.
const AVOID_FOR: Duration = Duration::from_secs(600);

/// What one round of compaction, or several, did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactReport {
    pub files_before: usize,
    pub files_after: usize,
    pub rows: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// A redaction to be carried out.
#[derive(Debug, Clone)]
pub struct Redaction {
    pub filter: Arc<dyn SpanFilter>,
    /// What the table's log calls it.
    pub receipt: String,
    /// Whether files that left the table are deleted without a grace for readers in other processes.
    pub delete_now: bool,
}

enum Command {
    Compact(oneshot::Sender<Result<CompactReport>>),
    Redact(Redaction, oneshot::Sender<Result<RedactReport>>),
}

/// The store's end of the keeper. Dropping it ends the thread soon.
#[derive(Debug)]
pub(crate) struct Keeper {
    stop: Stop,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Starts the thread. `gone` are the files that left the table before.
    pub(crate) fn start(shared: Arc<Shared>, runtime: Runtime, gone: Vec<Tombstone>) -> Result<Self> {
        let (commands, queue) = mpsc::channel(QUEUE_COMMANDS);
        let stop = Stop::default();
        let rewriter = Rewriter {
            runtime: runtime.handle().clone(),
            store: shared.rewrites.clone(),
            table: shared.table_dir.clone(),
            node: shared.node.clone(),
            stop: stop.clone(),
        };
        let work =
            Work { shared, rewriter, vacuum: Vacuum::new(gone), avoided: HashMap::new(), looked_at: HashMap::new() };
        let thread = thread::Builder::new()
            .name("spanhouse-keep".into())
            .spawn(move || {
                Priority::Upkeep.take();
                work.run(&runtime, queue);
                runtime.shutdown_background();
            })
            .map_err(|error| Error::io("the keeper's thread", error))?;
        Ok(Self { stop, running: Mutex::new(Some(Running { commands, thread })) })
    }

    /// Compacts until nothing is left to do.
    pub(crate) async fn compact(&self) -> Result<CompactReport> {
        self.ask(Command::Compact).await
    }

    /// Takes spans out of the files of the table.
    pub(crate) async fn redact(&self, redaction: Redaction) -> Result<RedactReport> {
        self.ask(|answer| Command::Redact(redaction, answer)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let closed = || Error::new(Kind::Closed, "the store is closed");
        let commands = self.lock().as_ref().map(|running| running.commands.clone()).ok_or_else(closed)?;
        let (answer, done) = oneshot::channel();
        commands.send(command(answer)).await.map_err(|_| closed())?;
        drop(commands);
        done.await.map_err(|_| closed())?
    }

    /// Gives up what the thread is at and ends it; blocks until then.
    pub(crate) fn stop(&self) {
        self.stop.set();
        let running = self.lock().take();
        if let Some(Running { commands, thread }) = running {
            drop(commands);
            if thread.join().is_err() {
                tracing::error!("the keeper's thread ended badly");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.set();
    }
}

struct Work {
    shared: Arc<Shared>,
    rewriter: Rewriter,
    vacuum: Vacuum,
    /// Files that could not be merged, and when that was.
    avoided: HashMap<Path, Instant>,
    /// Before how many of retention's cutoffs the spans of files lay when they were looked at.
    looked_at: HashMap<Path, usize>,
}

/// Files that take the place of others.
struct Merged {
    removed: Vec<DataFile>,
    added: Vec<WrittenFile>,
}

impl Work {
    fn run(mut self, runtime: &Runtime, mut queue: mpsc::Receiver<Command>) {
        let mut pause = LOOK_EVERY;
        loop {
            match runtime.block_on(async { tokio::time::timeout(pause, queue.recv()).await }) {
                Ok(None) => return,
                Ok(Some(Command::Compact(answer))) => {
                    // The asker may have gone away; the work is done all the same.
                    let _ = answer.send(self.compact_all());
                }
                Ok(Some(Command::Redact(redaction, answer))) => {
                    let _ = answer.send(self.redact(&redaction));
                }
                Err(_) => {}
            }
            if self.rewriter.stop.check().is_err() {
                return;
            }
            if let Err(error) = self.expire() {
                tracing::error!(%error, "cannot drop files whose spans have expired");
            }
            let looked = self.expire_by_rule().unwrap_or_else(|error| {
                tracing::error!(%error, retry_in = ?AVOID_FOR, "cannot take spans that have expired out of files");
                false
            });
            let compacted = if self.shared.settings.compact { self.compact_once(false) } else { Ok(None) };
            pause = if looked || matches!(compacted, Ok(Some(_))) { Duration::ZERO } else { LOOK_EVERY };
            self.tidy(self.shared.settings.keep_removed);
        }
    }

    /// Redacts, and begins anew when another process took a file that is to be written anew out of the table meanwhile.
    fn redact(&mut self, redaction: &Redaction) -> Result<RedactReport> {
        let mut tries = 1;
        loop {
            match self.try_redact(redaction) {
                Err(error) if tries < REDACTION_TRIES && (error.kind == Kind::NotFound || self.has_left(&error)) => {
                    tries += 1
                }
                done => return done,
            }
        }
    }

    /// Writes the files that hold such spans anew without them, in one commit.
    fn try_redact(&mut self, redaction: &Redaction) -> Result<RedactReport> {
        // Spans that others have sealed are meant too.
        self.rewriter.runtime.block_on(self.shared.follow())?;
        let state = self.shared.visible.load();
        let (promoted, version_before) = (state.promoted.clone(), state.table_version);
        let Rewriter { runtime, store, stop, .. } = &self.rewriter;
        let filter = redaction.filter.as_ref();
        let found = survey(&Files { runtime, store, stop }, &state.files, filter)?;
        // The snapshot of this work would hold the files that are to go.
        drop(state);
        let rewritten = rewrite_all(&self.rewriter, &found, filter, &promoted)?;
        if !rewritten.removed.is_empty() {
            let removed: Vec<Path> = rewritten.removed.iter().map(|file| file.location.clone()).collect();
            let why = Replacement::Redaction { receipt: redaction.receipt.clone() };
            let gone = self.replace(&removed, &rewritten.added, &why)?;
            self.vacuum.add(gone);
            tracing::info!(spans = found.spans, files = removed.len(), "redacted spans");
        }
        let grace = if redaction.delete_now { Duration::ZERO } else { self.shared.settings.keep_removed };
        Ok(RedactReport {
            spans: found.spans,
            traces: found.traces(),
            traces_are_all: found.traces_are_all(),
            files: rewritten.files,
            version_before,
            version_after: self.shared.visible.load().table_version,
            deleted_files: self.tidy(grace),
            waiting_files: self.vacuum.waiting() as u64,
        })
    }

    /// Takes the files out of the table all of whose spans have expired.
    fn expire(&mut self) -> Result<()> {
        let retention = &self.shared.settings.retention;
        if retention.is_off() {
            return Ok(());
        }
        let cutoffs = retention.cutoffs(retention.reclaim_ms(self.shared.clock.unix_ms()));
        let files = wholly_expired(&self.shared.visible.load().files, &cutoffs);
        if files.is_empty() {
            return Ok(());
        }
        let before_ns = cutoffs.none_before_ns();
        let gone = self.replace(&files, &[], &Replacement::Expiry { before_ns: Some(before_ns) })?;
        tracing::info!(files = files.len(), "dropped files whose spans have expired");
        self.shared.counters.expired_files.fetch_add(files.len() as u64, Ordering::Relaxed);
        self.vacuum.add(gone);
        Ok(())
    }

    /// Looks at files whose spans may have expired by a rule since they were looked at last, and writes those anew without them that have such, in
    /// one commit. Tells whether there was one to look at.
    fn expire_by_rule(&mut self) -> Result<bool> {
        let shared = self.shared.clone();
        let retention = &shared.settings.retention;
        if retention.rules.is_empty() {
            return Ok(false);
        }
        let at_unix_ms = retention.reclaim_ms(shared.clock.unix_ms());
        let cutoffs = retention.cutoffs(at_unix_ms);
        let files = self.candidates();
        self.looked_at.retain(|location, _| files.iter().any(|file| file.location == *location));
        let mut due = newly_past(&files, &cutoffs, |location| self.looked_at.get(location).copied().unwrap_or(0));
        due.truncate(MOST_EXPIRED_FILES);
        if due.is_empty() {
            return Ok(false);
        }
        let state = shared.visible.load();
        let Some(expiry) = self.rewriter.runtime.block_on(shared.expiry(&state, at_unix_ms))? else {
            self.looked_at.extend(due.into_iter().map(|(file, passed)| (file.location.clone(), passed)));
            return Ok(true);
        };
        let filter = Expired { expiry, rules: retention.rules.clone() };
        let promoted = state.promoted.clone();
        // This work would hold the files that are to go.
        drop(state);
        self.take_out(&due, &filter, &promoted)?;
        Ok(true)
    }

    /// Writes files anew without the spans that are meant, in one commit. A file that cannot be read is left alone for a while.
    fn take_out(&mut self, due: &[(&DataFile, usize)], filter: &dyn SpanFilter, promoted: &Promoted) -> Result<()> {
        let (mut rewritten, mut spans) = (Rewritten::default(), 0);
        for (file, passed) in due {
            if rewritten.rows() >= self.shared.plan_limits.target_rows {
                break;
            }
            self.looked_at.insert(file.location.clone(), *passed);
            match self.without(file, filter, promoted) {
                Ok((of_file, found)) => {
                    rewritten.extend(of_file);
                    spans += found;
                }
                Err(error) if error.kind == Kind::Closed => {
                    self.shared.table_dir.remove(&rewritten.added);
                    return Err(error);
                }
                Err(error) if self.has_left(&error) => {}
                Err(error) => {
                    tracing::error!(%error, retry_in = ?AVOID_FOR, "cannot take spans that have expired out of a file");
                    self.avoided.insert(file.location.clone(), Instant::now());
                }
            }
        }
        if rewritten.removed.is_empty() {
            return Ok(());
        }
        let removed: Vec<Path> = rewritten.removed.iter().map(|file| file.location.clone()).collect();
        let replaced = self.replace(&removed, &rewritten.added, &Replacement::Expiry { before_ns: None });
        let gone = replaced.inspect_err(|_| {
            self.avoided.extend(removed.iter().map(|location| (location.clone(), Instant::now())));
        })?;
        self.vacuum.add(gone);
        tracing::info!(spans, files = removed.len(), "took spans that have expired out of files");
        self.shared.counters.expired_rows.fetch_add(spans, Ordering::Relaxed);
        Ok(())
    }

    /// Writes a file anew without the spans that are meant, if it has any; gives their number.
    fn without(&self, file: &DataFile, filter: &dyn SpanFilter, promoted: &Promoted) -> Result<(Rewritten, u64)> {
        let Rewriter { runtime, store, stop, .. } = &self.rewriter;
        let found = survey(&Files { runtime, store, stop }, std::slice::from_ref(file), filter)?;
        Ok((rewrite_all(&self.rewriter, &found, filter, promoted)?, found.spans))
    }

    fn compact_all(&mut self) -> Result<CompactReport> {
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
    fn compact_once(&mut self, finally: bool) -> Result<Option<CompactReport>> {
        let files = self.candidates();
        // At the end of time every date is quiet.
        let now_unix_ms = if finally { i64::MAX } else { self.shared.clock.unix_ms() };
        let facts: Vec<_> = files.iter().map(|file| facts_of(file, now_unix_ms)).collect();
        let jobs = plan(&facts, &self.shared.plan_limits);
        if jobs.is_empty() {
            return Ok(None);
        }
        let begun = Instant::now();
        let merged = self.merge(&files, &jobs)?;
        if merged.removed.is_empty() {
            return Ok(None);
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

    /// The files that may be merged: ours, whose rows are in order.
    fn candidates(&mut self) -> Vec<DataFile> {
        self.avoided.retain(|_, since| since.elapsed() < AVOID_FOR);
        let state = self.shared.visible.load();
        let files = state.files.iter().filter(|file| is_ours(file) && !self.avoided.contains_key(&file.location));
        files.cloned().collect()
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
            match self.rewriter.merge(&of_job, job.goal_rows, &promoted) {
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
                    self.avoided.extend(of_job.into_iter().map(|file| (file.location, Instant::now())));
                }
            }
        }
        Ok(merged)
    }

    /// Whether an error is about a file that another process has taken out of the table.
    fn has_left(&self, error: &Error) -> bool {
        self.rewriter.runtime.block_on(self.shared.has_left(error)).unwrap_or(false)
    }

    fn commit(&mut self, merged: Merged) -> Result<CompactReport> {
        let removed: Vec<Path> = merged.removed.iter().map(|file| file.location.clone()).collect();
        let gone = self.replace(&removed, &merged.added, &Replacement::Compaction).inspect_err(|error| {
            if self.shared.table_dir.commits_may_come_late() && error.kind != Kind::NotFound {
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

    /// Commits a replacement and makes it visible.
    fn replace(&self, removed: &[Path], added: &[WrittenFile], why: &Replacement) -> Result<Vec<Tombstone>> {
        let shared = &self.shared;
        self.rewriter.runtime.block_on(async {
            let mut table = shared.table.lock().await;
            let replaced = try_replace(shared, &mut table, removed, added, why).await;
            // After an error too: what others have done may be the reason, and is not to be planned over again.
            shared.show(table.state());
            match &replaced {
                Ok(_) => failpoint::pass("after_replace"),
                Err(NotReplaced { for_good: true, .. }) => shared.table_dir.remove(added),
                // The next start removes the files if they did not get into the table.
                Err(NotReplaced { for_good: false, .. }) => {}
            }
            replaced.map_err(|failed| failed.error)
        })
    }

    /// Deletes what left the table `grace` ago and can be read by nobody in this process any more; gives their number.
    fn tidy(&mut self, grace: Duration) -> u64 {
        let shared = &self.shared;
        let held = shared.visible.held_files();
        shared.forget_left(&held);
        let now_unix_ms = shared.clock.unix_ms();
        let deleted = self.vacuum.run(&shared.table_dir, now_unix_ms, grace, &held);
        shared.counters.deleted_files.fetch_add(deleted, Ordering::Relaxed);
        shared.counters.removed_files.store(self.vacuum.waiting() as u64, Ordering::Relaxed);
        deleted
    }
}
