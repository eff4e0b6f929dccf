//! The keeper's thread: makes small files into large ones and deletes what left the table, behind ingest and queries.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use datafusion::object_store::path::Path;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::compact::{Backlog, Job, Rewriter, Stop, facts_of, is_ours, plan};
use super::failpoint;
use super::redact::{Files, RedactReport, SpanFilter, rewrite_all, survey};
use super::retention::{Expired, newly_past, wholly_expired};
use super::store::Shared;
use super::table::{DeltaLog, Replacement, Tombstone, WrittenFile};
use super::vacuum::Vacuum;
use super::{DataFile, priority};
use crate::error::{Error, Kind, Result};
use crate::model::promoted::Promoted;

/// How often the keeper looks for work.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Explicit requests that wait for the keeper.
const QUEUE_COMMANDS: usize = 16;
/// How often a replacement is committed to an object store until it is known whether it is there.
const COMMIT_TRIES: usize = 3;
/// How often a redaction begins; another process that compacts the same files takes far longer for it than a redaction.
const REDACTION_TRIES: usize = 5;
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
                priority::lower();
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
                tracing::error!(%error, retry_in = ?AVOID_FOR, "cannot take spans that have expired out of a file");
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

    /// Looks at the first file whose spans may have expired by a rule since it was looked at last, and writes it anew without them. Tells
    /// whether there was one.
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
        let looked_at = |location: &Path| self.looked_at.get(location).copied().unwrap_or(0);
        let Some((file, passed)) = newly_past(&files, &cutoffs, looked_at) else { return Ok(false) };
        self.looked_at.insert(file.location.clone(), passed);
        let state = shared.visible.load();
        let Some(expiry) = self.rewriter.runtime.block_on(shared.expiry(&state, at_unix_ms))? else {
            return Ok(true);
        };
        let filter = Expired { expiry, rules: retention.rules.clone() };
        let promoted = state.promoted.clone();
        // This work would hold the file that is to go.
        drop(state);
        self.take_out(std::slice::from_ref(file), &filter, &promoted).inspect_err(|_| {
            self.avoided.insert(file.location.clone(), Instant::now());
        })?;
        Ok(true)
    }

    fn take_out(&mut self, files: &[DataFile], filter: &dyn SpanFilter, promoted: &Promoted) -> Result<()> {
        let Rewriter { runtime, store, stop, .. } = &self.rewriter;
        let found = survey(&Files { runtime, store, stop }, files, filter)?;
        let rewritten = rewrite_all(&self.rewriter, &found, filter, promoted)?;
        if rewritten.removed.is_empty() {
            return Ok(());
        }
        let removed: Vec<Path> = rewritten.removed.iter().map(|file| file.location.clone()).collect();
        let gone = self.replace(&removed, &rewritten.added, &Replacement::Expiry { before_ns: None })?;
        self.vacuum.add(gone);
        tracing::info!(spans = found.spans, "took spans that have expired out of a file");
        self.shared.counters.expired_rows.fetch_add(found.spans, Ordering::Relaxed);
        Ok(())
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
        let counters = &self.shared.counters;
        let backlog = Backlog::of(&jobs);
        counters.backlog_files.store(backlog.files, Ordering::Relaxed);
        counters.backlog_rows.store(backlog.rows, Ordering::Relaxed);
        if jobs.is_empty() {
            return Ok(None);
        }
        let begun = Instant::now();
        let merged = self.merge(&files, &jobs)?;
        if merged.removed.is_empty() {
            return Ok(None);
        }
        let report = self.commit(merged)?;
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
        let gone = self.replace(&removed, &merged.added, &Replacement::Compaction).inspect_err(|_| {
            if self.shared.table_dir.commits_may_come_late() {
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

/// Why files did not get into the table.
struct NotReplaced {
    error: Error,
    /// Whether they cannot get there any more.
    for_good: bool,
}

/// Commits a replacement, and finds out what became of a commit that failed.
async fn try_replace(
    shared: &Shared,
    table: &mut DeltaLog,
    removed: &[Path],
    added: &[WrittenFile],
    why: &Replacement,
) -> std::result::Result<Vec<Tombstone>, NotReplaced> {
    let comes_late = shared.table_dir.commits_may_come_late();
    let mut tries = 1;
    loop {
        let error = match table.replace(removed, added, why, shared.clock.as_ref()).await {
            Ok(gone) => return Ok(gone),
            Err(error) if error.kind == Kind::NotFound => return Err(NotReplaced { error, for_good: true }),
            Err(error) => error,
        };
        // The commit may be in the table all the same.
        if let Err(error) = table.refresh().await {
            return Err(NotReplaced { error, for_good: false });
        }
        let live: HashSet<&str> = table.state().files.iter().map(|file| file.location.as_ref()).collect();
        let is_done = !removed.iter().any(|file| live.contains(file.as_ref()))
            && added.iter().all(|file| live.contains(file.location.as_str()));
        if is_done {
            return Ok(tombstones_of(removed, shared));
        }
        if !comes_late || tries == COMMIT_TRIES {
            return Err(NotReplaced { error, for_good: !comes_late });
        }
        // The same commit again, of which the table takes one at most, so that it does not matter which comes.
        tries += 1;
    }
}

fn tombstones_of(removed: &[Path], shared: &Shared) -> Vec<Tombstone> {
    let removed_unix_ms = shared.clock.unix_ms();
    removed.iter().map(|location| Tombstone { location: location.clone(), removed_unix_ms }).collect()
}
