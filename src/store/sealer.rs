//! The sealer's thread: moves fresh spans into the table, when it is due and when it is asked.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, oneshot};

use super::failpoint;
use super::seal::{Fresh, SealLimits, is_due, write_sorted};
use super::store::{CHARGE_UNIT_BYTES, SealReport, Shared};
use super::table::{TableState, WrittenFile};
use super::wal::Lsn;
use crate::error::{Error, Kind, Result};

/// How often the sealer looks at the age of what is fresh.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The pauses after sealings that failed one after the other.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_secs(60);
/// Explicit requests that wait for the sealer.
const QUEUE_COMMANDS: usize = 16;

type Answer = oneshot::Sender<Result<SealReport>>;

/// The store's end of the sealer.
#[derive(Debug)]
pub(crate) struct Sealer {
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    commands: mpsc::Sender<Answer>,
    thread: JoinHandle<()>,
}

impl Sealer {
    /// Starts the thread; it ends when the sealer is stopped or dropped.
    pub(crate) fn start(shared: Arc<Shared>, runtime: Runtime) -> Result<Self> {
        let (commands, queue) = mpsc::channel(QUEUE_COMMANDS);
        let work = Work { shared, pending: None, failed: false };
        let thread = thread::Builder::new()
            .name("spanhouse-seal".into())
            .spawn(move || {
                runtime.block_on(work.run(queue));
                runtime.shutdown_background();
            })
            .map_err(|error| Error::io("the sealer's thread", error))?;
        Ok(Self { running: Mutex::new(Some(Running { commands, thread })) })
    }

    /// Seals what is fresh now.
    pub(crate) async fn seal(&self) -> Result<SealReport> {
        let closed = || Error::new(Kind::Closed, "the store is closed");
        let commands = self.lock().as_ref().map(|running| running.commands.clone()).ok_or_else(closed)?;
        let (answer, done) = oneshot::channel();
        commands.send(answer).await.map_err(|_| closed())?;
        drop(commands);
        done.await.map_err(|_| closed())?
    }

    /// Ends the thread, after what it is at; blocks until then.
    pub(crate) fn stop(&self) {
        let running = self.lock().take();
        if let Some(Running { commands, thread }) = running {
            drop(commands);
            if thread.join().is_err() {
                tracing::error!("the sealer's thread ended badly");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Work {
    shared: Arc<Shared>,
    /// A commit whose outcome is not known yet.
    pending: Option<Pending>,
    /// Whether the last sealing failed.
    failed: bool,
}

/// Files that are written and synced, and the record up to which they hold the log's spans.
struct Pending {
    files: Vec<WrittenFile>,
    mark: Lsn,
    begun: Instant,
}

impl Work {
    async fn run(mut self, mut queue: mpsc::Receiver<Answer>) {
        let mut pause = Duration::ZERO;
        loop {
            let shared = self.shared.clone();
            let wake: &Notify = &shared.seal_wanted;
            tokio::select! {
                command = queue.recv() => {
                    let Some(answer) = command else { return };
                    let sealed = self.seal().await;
                    if sealed.is_ok() {
                        pause = Duration::ZERO;
                    }
                    // The asker may have gone away; the sealing is done all the same.
                    let _ = answer.send(sealed);
                }
                () = wake.notified(), if pause.is_zero() => {}
                () = tokio::time::sleep(pause.max(LOOK_EVERY)) => {}
            }
            if !self.due() {
                continue;
            }
            pause = match self.seal().await {
                Ok(_) => Duration::ZERO,
                Err(error) => {
                    let next = (pause * 2).clamp(LEAST_PAUSE, MOST_PAUSE);
                    tracing::error!(%error, retry_in = ?next, "cannot seal fresh spans");
                    next
                }
            };
        }
    }

    fn due(&self) -> bool {
        let state = self.shared.visible.load();
        let Some(oldest) = state.oldest_unix_ms() else { return false };
        let age_ms = self.shared.clock.unix_ms().saturating_sub(oldest).max(0);
        let fresh = Fresh {
            rows: state.fresh_rows(),
            bytes: state.fresh_charged() * CHARGE_UNIT_BYTES as u64,
            age: Duration::from_millis(age_ms as u64),
            wanted: self.shared.waiting.load(Ordering::Relaxed) > 0,
        };
        let settings = &self.shared.settings;
        is_due(
            fresh,
            SealLimits { rows: settings.seal_rows, bytes: settings.seal_bytes() as u64, age: settings.seal_after },
        )
    }

    async fn seal(&mut self) -> Result<SealReport> {
        let sealed = self.try_seal().await;
        self.failed = sealed.is_err();
        sealed
    }

    async fn try_seal(&mut self) -> Result<SealReport> {
        let settled = self.settle().await?.unwrap_or_default();
        if self.failed {
            // Files are written for nothing as long as the table is out of reach.
            self.shared.table.lock().await.refresh().await?;
        }
        let Some(parts) = self.shared.visible.begin_seal() else { return Ok(settled) };
        let Some(mark) = parts.last().map(|part| part.last) else { return Ok(settled) };
        let begun = Instant::now();
        let promoted = self.shared.visible.load().promoted.clone();
        let written = write_sorted(&self.shared.table_dir, &parts, &promoted, &self.shared.node, mark);
        let files = written.inspect_err(|_| self.shared.visible.abandon_seal())?;
        drop(parts);
        let pending = Pending { files, mark, begun };
        let shared = self.shared.clone();
        let mut table = shared.table.lock().await;
        match table.commit(&pending.files, mark).await {
            Ok(state) => Ok(settled.plus(self.finish(&pending, state))),
            Err(error) => {
                drop(table);
                self.pending = Some(pending);
                match self.settle().await? {
                    Some(report) => Ok(settled.plus(report)),
                    None => Err(error),
                }
            }
        }
    }

    /// Finds out what became of a commit that failed: it may be in the table all the same. Until that is known, its spans stay fresh
    /// and its files stay where they are.
    async fn settle(&mut self) -> Result<Option<SealReport>> {
        let Some(pending) = self.pending.take() else { return Ok(None) };
        let mut table = self.shared.table.lock().await;
        if let Err(error) = table.refresh().await {
            self.pending = Some(pending);
            return Err(error);
        }
        if table.state().mark >= pending.mark {
            return Ok(Some(self.finish(&pending, table.state())));
        }
        if self.shared.table_dir.commits_may_come_late() {
            // The same commit again, of which the table takes one at most: whichever it is, its files are there and hold the same spans.
            return match table.commit(&pending.files, pending.mark).await {
                Ok(state) => Ok(Some(self.finish(&pending, state))),
                Err(error) => {
                    self.pending = Some(pending);
                    Err(error)
                }
            };
        }
        self.shared.table_dir.remove(&pending.files);
        self.shared.visible.abandon_seal();
        Ok(None)
    }

    /// Swaps fresh parts for the files that are now in the table, and cuts the log.
    fn finish(&self, sealed: &Pending, table: &TableState) -> SealReport {
        self.shared.install(table);
        self.cut_log(sealed.mark);
        let report = SealReport {
            rows: sealed.files.iter().map(|file| file.rows).sum(),
            files: sealed.files.len(),
            bytes: sealed.files.iter().map(|file| file.size_bytes).sum(),
        };
        self.shared.sealed(&report, sealed.mark, sealed.begun.elapsed());
        report
    }

    /// Removes log segments that the table has made superfluous. What stays after an error is removed the next time.
    fn cut_log(&self, mark: Lsn) {
        failpoint::pass("before_log_cut");
        if let Err(error) = self.shared.segments.cut(self.shared.disk.as_ref(), mark) {
            tracing::warn!(%error, "cannot remove a log segment");
        }
        failpoint::pass("after_log_cut");
    }
}
