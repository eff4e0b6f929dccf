//! The one thread that writes the log: requests queue, one write and one sync serve all that are there.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::record::{Lsn, Record, RequestHash};
use super::segment::{ClosedSegment, SEGMENT_HEAD_BYTES, SegmentHead, SegmentList, segment_path};
use crate::error::{Error, Kind, Result};
use crate::store::disk::{Disk, DiskFile};
use crate::store::{RefusalWatch, failpoint};

/// The largest request that the log takes: twice what OTLP receivers accept by default, far below the length field's range.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 128 << 20;
/// A segment is closed when it would grow beyond this: small enough to read at once, large enough that creating one is rare.
const SEGMENT_BYTES: u64 = 64 << 20;
/// The most that one write and sync carry: bounds the writer's buffer and what a sync delays.
const GROUP_BYTES: usize = 8 << 20;
/// The most requests of a group.
const GROUP_REQUESTS: usize = 1024;
/// Requests that wait for the writer; senders wait when it is full.
const QUEUE_REQUESTS: usize = 1024;
/// How long a group waits for more while requests keep coming: well under the time of a sync on most disks.
const GATHER_FOR: Duration = Duration::from_millis(2);
/// The pause between two looks at the queue while gathering: long enough that senders who were just answered are back with their next request.
const GATHER_STEP: Duration = Duration::from_micros(300);
/// What a client is told to wait when the disk or the log's budget is full.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(5);

/// A request on its way into the log, with what its sender wants to see again afterwards.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub payload: Bytes,
    pub hash: RequestHash,
    pub received_unix_ms: i64,
    pub attachment: T,
}

/// Why the log did not take a request; an [`Error`] can be made of it for each who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub kind: Kind,
    pub message: String,
}

impl Refusal {
    pub(crate) fn to_error(&self) -> Error {
        Error::new(self.kind, self.message.clone())
    }
}

/// Told by the writer's thread what became of requests, in the order of the log.
pub(crate) trait Sink<T>: Send + 'static {
    /// The group is on disk.
    fn durable(&mut self, group: Vec<(Lsn, Entry<T>)>);
    /// The group is not in the log, or it cannot be known whether it is.
    fn refused(&mut self, group: Vec<Entry<T>>, refusal: Refusal);
}

/// What the writer needs to begin.
#[derive(Debug)]
pub(crate) struct WriterSettings {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub next_lsn: Lsn,
    pub segments: Arc<SegmentList>,
    pub budget_bytes: u64,
}

/// The senders' end of the log.
#[derive(Debug)]
pub(crate) struct Appender<T> {
    sender: mpsc::Sender<Entry<T>>,
    poisoned: watch::Receiver<Option<Refusal>>,
    current_bytes: Arc<AtomicU64>,
}

impl<T: Send + 'static> Appender<T> {
    /// Starts the writer's thread; it ends when the appender is dropped and its queue is empty.
    pub(crate) fn start(settings: WriterSettings, sink: impl Sink<T>) -> Result<(Self, JoinHandle<()>)> {
        let (sender, queue) = mpsc::channel(QUEUE_REQUESTS);
        let (poison, poisoned) = watch::channel(None);
        let current_bytes = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            disk: settings.disk,
            dir: settings.dir,
            next_lsn: settings.next_lsn,
            segments: settings.segments,
            budget_bytes: settings.budget_bytes,
            current: None,
            current_bytes: current_bytes.clone(),
            buffer: Vec::new(),
            poison,
            refusals: RefusalWatch::new("the log"),
        };
        let thread = thread::Builder::new()
            .name("spanhouse-wal".into())
            .spawn(move || writer.run(queue, sink))
            .map_err(|error| Error::io("the log's thread", error))?;
        Ok((Self { sender, poisoned, current_bytes }, thread))
    }

    /// Waits for room in the queue.
    pub(crate) async fn reserve(&self) -> Result<mpsc::Permit<'_, Entry<T>>> {
        self.sender.reserve().await.map_err(|_| Error::new(Kind::Closed, "the log is closed"))
    }

    /// Tells when the log has failed for good.
    pub(crate) fn poisoned(&self) -> watch::Receiver<Option<Refusal>> {
        self.poisoned.clone()
    }

    /// The bytes of the segment that is being written.
    pub(crate) fn current_bytes(&self) -> u64 {
        self.current_bytes.load(Ordering::Relaxed)
    }
}

struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    next_lsn: Lsn,
    segments: Arc<SegmentList>,
    budget_bytes: u64,
    current: Option<OpenSegment>,
    current_bytes: Arc<AtomicU64>,
    buffer: Vec<u8>,
    poison: watch::Sender<Option<Refusal>>,
    /// For a full disk and a full log.
    refusals: RefusalWatch,
}

struct OpenSegment {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    segment_id: u64,
    /// Behind the last record that is whole and synced.
    len_bytes: u64,
}

/// What a failed write leaves behind.
enum Failure {
    /// The log is as it was before; the same may succeed later.
    Full(String),
    /// What the disk holds is unknown: nothing may be acknowledged from this log again.
    Fatal(String),
}

impl Writer {
    fn run<T: Send>(mut self, mut queue: mpsc::Receiver<Entry<T>>, mut sink: impl Sink<T>) {
        while let Some(first) = queue.blocking_recv() {
            let group = gather(first, &mut queue);
            let dead = self.poison.borrow().clone();
            if let Some(refusal) = dead {
                sink.refused(group, refusal);
                continue;
            }
            match self.append(&group) {
                Ok(()) => {
                    self.refusals.taken();
                    let first = self.next_lsn.0;
                    self.next_lsn = Lsn(first + group.len() as u64);
                    sink.durable(
                        group.into_iter().enumerate().map(|(i, entry)| (Lsn(first + i as u64), entry)).collect(),
                    );
                }
                Err(Failure::Full(message)) => {
                    self.refusals.refused(group.len(), &message);
                    sink.refused(group, Refusal { kind: Kind::Overloaded { retry_after: FULL_RETRY_AFTER }, message });
                }
                Err(Failure::Fatal(message)) => {
                    tracing::error!(%message, "the log takes no more requests");
                    let refusal = Refusal { kind: Kind::Closed, message };
                    self.poison.send_replace(Some(refusal.clone()));
                    sink.refused(group, refusal);
                }
            }
        }
        self.close_segment();
    }

    fn append<T>(&mut self, group: &[Entry<T>]) -> Result<(), Failure> {
        let bytes: usize = group.iter().map(|entry| super::record::HEAD_BYTES + entry.payload.len()).sum();
        let held = self.segments.bytes() + self.current.as_ref().map_or(0, |segment| segment.len_bytes);
        if held + bytes as u64 > self.budget_bytes {
            return Err(Failure::Full(format!(
                "the log holds {held} bytes of at most {}; it shrinks when spans reach the table",
                self.budget_bytes
            )));
        }
        if self.current.as_ref().is_some_and(|segment| {
            segment.len_bytes > SEGMENT_HEAD_BYTES as u64 && segment.len_bytes + bytes as u64 > SEGMENT_BYTES
        }) {
            self.close_segment();
        }
        let mut segment = match self.current.take() {
            Some(segment) => segment,
            None => self.create_segment()?,
        };
        self.buffer.clear();
        for (i, entry) in group.iter().enumerate() {
            let record = Record {
                lsn: Lsn(self.next_lsn.0 + i as u64),
                group: self.next_lsn,
                received_unix_ms: entry.received_unix_ms,
                hash: entry.hash,
                payload: entry.payload.clone(),
            };
            record.encode(segment.segment_id, &mut self.buffer);
        }
        let written = write_and_sync(&mut segment, &self.buffer);
        self.buffer.shrink_to(GROUP_BYTES);
        if !matches!(written, Err(Failure::Fatal(_))) {
            self.current_bytes.store(segment.len_bytes, Ordering::Relaxed);
            self.current = Some(segment);
        }
        written
    }

    fn create_segment(&mut self) -> Result<OpenSegment, Failure> {
        let path = segment_path(&self.dir, self.next_lsn);
        let segment_id = rand::random();
        let head = SegmentHead { segment_id, first_lsn: self.next_lsn }.encode();
        let failed = |error: io::Error| format!("cannot create log segment {}: {error}", path.display());
        let mut file = self.disk.create_new(&path).map_err(|error| {
            if is_full(&error) { Failure::Full(failed(error)) } else { Failure::Fatal(failed(error)) }
        })?;
        if let Err(error) = file.write_all(&head) {
            let removed = self.disk.remove_file(&path);
            let full = is_full(&error) && removed.is_ok();
            return Err(if full { Failure::Full(failed(error)) } else { Failure::Fatal(failed(error)) });
        }
        file.sync_data().and_then(|()| self.disk.sync_dir(&self.dir)).map_err(|error| Failure::Fatal(failed(error)))?;
        Ok(OpenSegment { file, path, segment_id, len_bytes: head.len() as u64 })
    }

    fn close_segment(&mut self) {
        if let Some(segment) = self.current.take() {
            let last_lsn = Lsn(self.next_lsn.0 - 1);
            self.segments.push(ClosedSegment { path: segment.path, last_lsn, bytes: segment.len_bytes });
            self.current_bytes.store(0, Ordering::Relaxed);
        }
    }
}

/// Writes behind the last good record and syncs. A full disk is undone; after a failed sync the kernel may have dropped the pages, so that a later sync would
/// succeed without them: such a failure is final.
fn write_and_sync(segment: &mut OpenSegment, bytes: &[u8]) -> Result<(), Failure> {
    failpoint::pass("before_log_write");
    if let Err(error) = segment.file.write_all(bytes) {
        let text = format!("cannot write log segment {}: {error}", segment.path.display());
        let undone = segment.file.set_len(segment.len_bytes);
        return Err(if is_full(&error) && undone.is_ok() { Failure::Full(text) } else { Failure::Fatal(text) });
    }
    failpoint::pass("before_log_sync");
    segment
        .file
        .sync_data()
        .map_err(|error| Failure::Fatal(format!("cannot sync log segment {}: {error}", segment.path.display())))?;
    failpoint::pass("after_log_sync");
    segment.len_bytes += bytes.len() as u64;
    Ok(())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Takes what is queued behind `first`. When somebody is there, it waits a little for those who are about to come; a request that is
/// alone goes at once.
fn gather<T>(first: Entry<T>, queue: &mut mpsc::Receiver<Entry<T>>) -> Vec<Entry<T>> {
    let mut bytes = first.payload.len();
    let mut group = vec![first];
    let begun = Instant::now();
    loop {
        let before = group.len();
        while group.len() < GROUP_REQUESTS && bytes < GROUP_BYTES {
            let Ok(entry) = queue.try_recv() else { break };
            bytes += entry.payload.len();
            group.push(entry);
        }
        let full = group.len() >= GROUP_REQUESTS || bytes >= GROUP_BYTES;
        if full || group.len() == before || begun.elapsed() >= GATHER_FOR {
            return group;
        }
        thread::sleep(GATHER_STEP);
    }
}
