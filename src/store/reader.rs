//! Reading a data directory that another process may be writing: never writes, takes no lock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::object_store::ObjectStore;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::clock::{Clock, OsClock};
use super::disk::{Disk, OsDisk};
use super::fresh::Part;
use super::missing::missing_file;
use super::open::{Decode, decode_payload, read_node_id};
use super::place::{CacheUse, TablePlace};
use super::quarantine::Quarantine;
use super::retention::{MatchMemory, announced, expiry_of};
use super::shared::log_dir;
use super::state::Visible;
use super::table::{DeltaLog, TableState};
use super::table_url::recorded;
use super::wal::{LogEnd, LogReader, Lsn, Record, TornTail};
use super::{Snapshot, SnapshotSource};
use crate::error::{Error, Kind, Result};

/// How often a snapshot is begun anew because the writer sealed and cut its log meanwhile. A sealing takes far longer than a snapshot, so that
/// the second try nearly always succeeds.
const TRIES: usize = 10;
const TRY_PAUSE: Duration = Duration::from_millis(20);

/// Follows the table and the log of a data directory.
///
/// Sees every acknowledged span, and may see one a moment before it is acknowledged.
#[derive(Debug)]
pub struct StoreReader {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    decode: Decode,
    object_store: Arc<dyn ObjectStore>,
    matches: MatchMemory,
    /// One snapshot is made at a time: they share what was read before.
    followed: Mutex<Followed>,
}

/// What has been read so far.
#[derive(Debug)]
struct Followed {
    table: DeltaLog,
    log: LogFollower,
}

/// The part that is read on a blocking thread.
#[derive(Debug, Default)]
struct LogFollower {
    reader: Option<LogReader>,
    fresh: Visible,
    torn: Option<TornTail>,
}

impl StoreReader {
    /// Opens a data directory for reading.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when `dir` is no data directory.
    pub async fn open(dir: &Path) -> Result<Arc<Self>> {
        Self::open_with(dir, decode_payload).await
    }

    pub(super) async fn open_with(dir: &Path, decode: Decode) -> Result<Arc<Self>> {
        let node = read_node_id(dir)?.ok_or_else(|| {
            let text = format!("{} is no spanhouse data directory", dir.display());
            Error::new(Kind::NotFound, text).with_hint("give the directory of a server, or import traces into it first")
        })?;
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let place = TablePlace::open(dir, recorded(dir)?, &disk, &Handle::current(), None, CacheUse::Look)?;
        let table = place.load(&node).await?;
        let followed = Mutex::new(Followed { table, log: LogFollower::default() });
        let matches = MatchMemory::default();
        Ok(Arc::new(Self { dir: dir.to_owned(), disk, decode, object_store: place.reads, matches, followed }))
    }

    async fn try_snapshot(&self, followed: &mut Followed) -> Result<Snapshot> {
        followed.table.refresh().await?;
        let (mut log, mark) = (std::mem::take(&mut followed.log), followed.table.state().mark);
        let (disk, dir, decode) = (self.disk.clone(), log_dir(&self.dir), self.decode);
        let read = tokio::task::spawn_blocking(move || {
            let has_log = log.follow(&disk, &dir, mark, decode)?;
            Ok((log, has_log))
        });
        let has_log;
        (followed.log, has_log) =
            read.await.map_err(|error| Error::internal(format!("reading the log ended badly: {error}")))??;
        if !has_log {
            // A server that stops moves all of its log into the table, perhaps after the table was read.
            followed.table.refresh().await?;
            if followed.table.state().mark > mark {
                return Err(Error::new(Kind::NotFound, "the log was cut meanwhile"));
            }
        }
        let table = followed.table.state();
        let retention = announced(&self.dir)?;
        let state = followed.log.fresh.load().beside(table);
        let store = self.object_store.clone();
        let expiry = expiry_of(&retention, OsClock.unix_ms(), (&state, None), &store, &self.matches).await?;
        let quarantined_files = Quarantine::of(self.disk.clone(), &self.dir).files()?;
        Snapshot::new(&state, expiry, store, quarantined_files, None)
    }
}

#[async_trait]
impl SnapshotSource for StoreReader {
    async fn snapshot(&self) -> Result<Snapshot> {
        let mut followed = self.followed.lock().await;
        let mut tries = 1;
        loop {
            match self.try_snapshot(&mut followed).await {
                Err(error) if error.kind == Kind::NotFound && tries < TRIES => tries += 1,
                // What decides about expired spans is read from files, which may have left the table.
                Err(error) if missing_file(&error).is_some() && tries < TRIES => tries += 1,
                // What was read before may have been taken back and written over: what is read anew must be whole.
                Err(error) if error.kind == Kind::Corrupt && tries == 1 => tries += 1,
                done => return done,
            }
            tokio::time::sleep(TRY_PAUSE).await;
        }
    }

    async fn newest(&self) -> Result<Snapshot> {
        // It looks at the table each time.
        self.snapshot().await
    }
}

impl LogFollower {
    /// Reads what is new above `mark`, and lets go of what the table holds by now; tells whether there is a log.
    fn follow(&mut self, disk: &Arc<dyn Disk>, dir: &Path, mark: Lsn, decode: Decode) -> Result<bool> {
        let straddles = self.fresh.load().parts.iter().any(|part| part.first <= mark && mark < part.last);
        if straddles {
            *self = Self::default();
        }
        self.fresh.install(&TableState { mark, ..TableState::default() });
        let end = self.read_new(disk, dir, mark, decode)?;
        let has_log = !end.segments.is_empty() || end.torn.is_some();
        // An unfinished write that did not move since the last look may have been taken back and written over.
        let stuck = end.torn.is_some()
            && end.torn.as_ref().map(|torn| torn.offset) == self.torn.as_ref().map(|torn| torn.offset);
        if stuck {
            *self = Self::default();
            self.torn = self.read_new(disk, dir, mark, decode)?.torn;
        } else {
            self.torn = end.torn;
        }
        Ok(has_log)
    }

    fn read_new(&mut self, disk: &Arc<dyn Disk>, dir: &Path, mark: Lsn, decode: Decode) -> Result<LogEnd> {
        let Self { reader, fresh, .. } = self;
        let reader = reader.get_or_insert_with(|| LogReader::new(disk.clone(), dir, mark.next()));
        reader.skip_to(mark.next());
        reader.read(|record: Record| {
            if record.lsn > mark {
                match decode(&record.payload) {
                    Ok(batch) => fresh.publish([Part::new(record.lsn, batch, 0, record.received_unix_ms)?]),
                    // Whoever writes the directory has it in quarantine, or will when it starts.
                    Err(error) => tracing::warn!(request = record.lsn.0, %error, "cannot read a request of the log"),
                }
                while fresh.merge_once()? {}
            }
            Ok(())
        })
    }
}
