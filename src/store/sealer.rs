//! The sealer's thread: moves fresh spans into the table, when it is due and when it is asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, oneshot};

use super::failpoint;
use super::fresh::Part;
use super::seal::{Fresh, SealLimits, is_due};
use super::shared::{CHARGE_UNIT_BYTES, Shared, log_dir};
use super::status::SealReport;
use super::table::{TableState, WrittenFile};
use super::wal::{LogReader, Lsn, Record};
use crate::error::{Error, Kind, Result};

/// How often the sealer looks at the age of what is fresh.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The pauses after sealings that failed one after the other.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_secs(60);
/// Explicit requests that wait for the sealer.
const QUEUE_COMMANDS: usize = 16;
/// How often spans are tried to be made into files before those are looked for that cannot be: what failed once for a passing reason, such as memory,
/// is not to be taken apart.
const CONVERT_TRIES: usize = 3;

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
        let work = Work { shared, pending: None, failed: false, unconverted: 0 };
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
    /// How many sealings in a row failed because of the spans themselves.
    unconverted: usize,
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
        // What came at a time that is still to come is sealed at once: the clock was set back, and how old it is cannot be told.
        let age_ms = match self.shared.clock.unix_ms().saturating_sub(oldest) {
            ahead if ahead < 0 => i64::MAX,
            age_ms => age_ms,
        };
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
        let files = match self.convert(&parts, mark) {
            Ok(files) => files,
            Err(error) => {
                let sealed = self.after_failed_conversion(error, &parts).await;
                // What was not sealed stays fresh. Parts of a commit whose outcome is not known may not be merged with others: they go together.
                if self.pending.is_none() {
                    self.shared.visible.abandon_seal();
                }
                return sealed.map(|report| settled.plus(report));
            }
        };
        self.unconverted = 0;
        drop(parts);
        Ok(settled.plus(self.commit(Pending { files, mark, begun }).await?))
    }

    async fn commit(&mut self, pending: Pending) -> Result<SealReport> {
        let shared = self.shared.clone();
        let mut table = shared.table.lock().await;
        match table.commit(&pending.files, pending.mark).await {
            Ok(state) => Ok(self.finish(&pending, state)),
            Err(error) => {
                drop(table);
                self.pending = Some(pending);
                match self.settle().await? {
                    Some(report) => Ok(report),
                    None => Err(error),
                }
            }
        }
    }

    /// Makes spans into files, which may be none.
    fn convert(&self, parts: &[Arc<Part>], mark: Lsn) -> Result<Vec<WrittenFile>> {
        let shared = &self.shared;
        let promoted = shared.visible.load().promoted.clone();
        let work = || (shared.convert)(&shared.table_dir, parts, &promoted, &shared.node, mark);
        // A defect that some spans bring to light may not end the thread: nothing would be sealed any more.
        let defect = || Error::internal("making spans into a file ended badly");
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(defect()))
    }

    /// Seals apart what cannot be sealed together, once that is certain.
    async fn after_failed_conversion(&mut self, error: Error, parts: &[Arc<Part>]) -> Result<SealReport> {
        if !is_of_spans(&error) {
            return Err(error);
        }
        self.unconverted += 1;
        if self.unconverted < CONVERT_TRIES {
            return Err(error);
        }
        tracing::error!(%error, tries = self.unconverted, "cannot make fresh spans into a file; looking for those that are to blame");
        let mut report = SealReport::default();
        for part in parts {
            let begun = Instant::now();
            let files = self.convert_apart(part)?;
            report = report.plus(self.commit(Pending { files, mark: part.last, begun }).await?);
        }
        self.unconverted = 0;
        Ok(report)
    }

    /// Makes the spans of a part into files, but for those of requests for which that cannot be done: they go into quarantine.
    fn convert_apart(&self, part: &Arc<Part>) -> Result<Vec<WrittenFile>> {
        match self.convert(std::slice::from_ref(part), part.last) {
            Err(error) if is_of_spans(&error) => {}
            done => return done,
        }
        let (mut files, shared) = (Vec::new(), &self.shared);
        let mut requests = Vec::new();
        for record in self.logged(part)? {
            let read = (shared.decode)(&record.payload)
                .and_then(|batch| Part::new(record.lsn, batch, 0, record.received_unix_ms));
            match read {
                Ok(read) => requests.push((record, Arc::new(read))),
                Err(error) => shared.set_aside(record.lsn, &record.payload, &error)?,
            }
        }
        let converted = self.convert_halves(&requests, part.last, &mut files);
        converted.inspect_err(|_| shared.table_dir.remove(&files))?;
        Ok(files)
    }

    /// Makes requests into one file if that can be done, else each half of them.
    fn convert_halves(&self, requests: &[(Record, Arc<Part>)], mark: Lsn, files: &mut Vec<WrittenFile>) -> Result<()> {
        let parts: Vec<Arc<Part>> = requests.iter().map(|(_, part)| part.clone()).collect();
        match (self.convert(&parts, mark), requests) {
            (Ok(new), _) => {
                files.extend(new);
                Ok(())
            }
            (Err(error), _) if !is_of_spans(&error) => Err(error),
            (Err(error), [(record, _)]) => self.shared.set_aside(record.lsn, &record.payload, &error),
            (Err(_), _) => {
                let (first, second) = requests.split_at(requests.len() / 2);
                self.convert_halves(first, mark, files)?;
                self.convert_halves(second, mark, files)
            }
        }
    }

    /// The requests of a part, as the log has them.
    fn logged(&self, part: &Part) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut reader = LogReader::new(self.shared.disk.clone(), &log_dir(&self.shared.dir), part.first);
        reader.read(|record| {
            if (part.first..=part.last).contains(&record.lsn) {
                records.push(record);
            }
            Ok(())
        })?;
        Ok(records)
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

/// Whether it is the spans that cannot be made into a file, and not the disk or the store that fails.
fn is_of_spans(error: &Error) -> bool {
    matches!(error.kind, Kind::Internal | Kind::BadInput | Kind::TooLarge | Kind::Corrupt)
}
