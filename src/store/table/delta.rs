//! The table's log: which files are in it, up to which record of the write-ahead log, and the commit that changes both at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::object_store::path::Path;
use datafusion::object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake_core::kernel::{Action, Remove, Transaction};
use deltalake_core::logstore::{LogStore, LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, DeltaTableError, TableProperty};
use futures::TryStreamExt;
use serde_json::Value;
use url::Url;

use super::actions::{add_action, columns_action, from_view, table_schema, to_data_file};
use super::{TableDir, WrittenFile};
use crate::error::{Error, Kind, Result};
use crate::model::promoted::Promoted;
use crate::model::schema::{DATE, START_NS};
use crate::store::DataFile;
use crate::store::clock::Clock;
use crate::store::failpoint;
use crate::store::fence::Fence;
use crate::store::trace_index::{FileIndex, IndexMemory};
use crate::store::wal::Lsn;

/// Commits between two checkpoints of the log: a reader that opens the table reads at most this many commits one by one.
const CHECKPOINT_INTERVAL_COMMITS: &str = "20";
/// Where the log lies below the table's root.
pub(crate) const LOG_DIR: &str = "_delta_log";
/// The root of the table's object store as the Delta library names it; only its path matters.
const ROOT_URL: &str = "spanhouse:///";

/// The table at one version.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableState {
    /// `None` before the table exists.
    pub version: Option<u64>,
    pub files: Arc<[DataFile]>,
    /// The table's columns of promoted attributes.
    pub promoted: Arc<Promoted>,
    /// The last record of the node's log whose spans are in the files.
    pub mark: Lsn,
}

/// The log of the table, as one node reads and writes it.
pub(crate) struct DeltaLog {
    /// Where the table lies, for messages.
    place: Box<str>,
    node: String,
    log: LogStoreRef,
    delta: Option<DeltaTableState>,
    state: TableState,
    indexes: Arc<IndexMemory>,
    /// With a writer: that it is the only one of its name.
    fence: Option<Arc<Fence>>,
    /// With a writer: where the table's files lie.
    dir: Option<TableDir>,
    /// Whether the last commit failed: it may have a name that a power cut takes away again.
    is_unsure: bool,
    /// The last commit that raises the mark, whatever became of it.
    attempt: Option<Attempt>,
}

/// What a commit of ours adds to the table.
struct Attempt {
    mark: Lsn,
    files: HashSet<String>,
}

/// A file that left the table and may still lie in its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub location: Path,
    pub removed_unix_ms: i64,
}

/// Why files take the place of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// The same rows, laid out better.
    Compaction,
    /// Rows have expired: those that start before this, or those that the retention's rules say.
    Expiry { before_ns: Option<i64> },
    /// Files that are damaged were moved into quarantine.
    Damage,
    /// Rows that nobody may see any more. What chose them stays out of the log: it may tell as much as they did.
    Redaction { receipt: String },
}

/// Under which key a replacement has an id, by which it is found again.
const COMMIT_KEY: &str = "spanhouse.commit";
/// The property of the table that tells the format of its files and of this log, and the newest format that this program reads.
const FORMAT_KEY: &str = "spanhouse.format";
const FORMAT: u32 = 1;
/// Under which key the commit of a redaction names its receipt.
const REDACTION_KEY: &str = "spanhouse.redaction";

impl Replacement {
    fn changes_rows(&self) -> bool {
        match self {
            Self::Compaction => false,
            Self::Expiry { .. } | Self::Damage | Self::Redaction { .. } => true,
        }
    }

    fn operation(&self) -> DeltaOperation {
        match self {
            Self::Compaction => DeltaOperation::Optimize { predicate: None, target_size: 0 },
            Self::Expiry { before_ns } => {
                let predicate = before_ns.map(|before_ns| format!("{START_NS} < {before_ns}"));
                DeltaOperation::Delete { predicate }
            }
            Self::Damage | Self::Redaction { .. } => DeltaOperation::Delete { predicate: None },
        }
    }

    /// What the log says of the commit `id`.
    fn metadata(&self, id: &str) -> Vec<(String, Value)> {
        let receipt = match self {
            Self::Compaction | Self::Expiry { .. } | Self::Damage => None,
            Self::Redaction { receipt } => Some((REDACTION_KEY.to_owned(), receipt.as_str().into())),
        };
        [(COMMIT_KEY.to_owned(), id.into())].into_iter().chain(receipt).collect()
    }
}

impl DeltaLog {
    /// Loads the table below `store`'s root, if there is one. Must run on a Tokio runtime.
    pub(crate) async fn load(place: &str, store: Arc<dyn ObjectStore>, node: &str) -> Result<Self> {
        let url = Url::parse(ROOT_URL).map_err(|error| Error::internal(error.to_string()))?;
        let log = default_logstore(store.clone(), store, &url, &StorageConfig::default());
        let (place, node) = (place.into(), node.to_owned());
        let (state, indexes) = (TableState::default(), Arc::default());
        let mut table = Self {
            place,
            node,
            log,
            delta: None,
            state,
            indexes,
            fence: None,
            dir: None,
            is_unsure: false,
            attempt: None,
        };
        table.refresh().await?;
        Ok(table)
    }

    /// Makes this the log of the one process that writes as its node, to a table whose files lie in `dir`. Nothing is read or written once
    /// another does. What is in the table then is there for good: the process before this one may have ended just before that was so.
    pub(crate) async fn write_behind(&mut self, fence: Arc<Fence>, dir: TableDir) -> Result<()> {
        (self.fence, self.dir, self.is_unsure) = (Some(fence), Some(dir), true);
        self.make_sure().await
    }

    /// Makes durable the name of a commit that failed, if it has one, before anybody believes that it is in the table: what a commit holds
    /// leaves the log or the table elsewhere. Where that fails, nothing is known of the table any more.
    async fn make_sure(&mut self) -> Result<()> {
        let (true, Some(dir)) = (self.is_unsure, self.dir.clone()) else { return Ok(()) };
        let synced = tokio::task::spawn_blocking(move || dir.sync_log()).await;
        let synced = synced.unwrap_or_else(|error| Err(Error::internal(error.to_string())));
        synced.map_err(|error| {
            let text = format!("it is not known what of the table {} is on its disk: {error}", self.place);
            self.fence.as_ref().map_or(error, |fence| fence.close_unsure(text))
        })?;
        self.is_unsure = false;
        Ok(())
    }

    pub(crate) fn state(&self) -> &TableState {
        &self.state
    }

    /// What the indexes of the table's files share.
    pub(crate) fn indexes(&self) -> &Arc<IndexMemory> {
        &self.indexes
    }

    /// Brings the state to the table's newest version.
    pub(crate) async fn refresh(&mut self) -> Result<()> {
        self.check_fence()?;
        self.make_sure().await?;
        match &mut self.delta {
            Some(delta) => {
                delta.update(self.log.as_ref(), None).await.map_err(|error| failed(&self.place, "read", error))?;
                // After a rebuild that failed the state is older than what is known of the table.
                if self.state.version == Some(delta.version()) {
                    return Ok(());
                }
            }
            None => {
                let exists =
                    self.log.is_delta_table_location().await.map_err(|error| failed(&self.place, "read", error))?;
                if !exists {
                    return Ok(());
                }
                let loaded = DeltaTableState::try_new(self.log.as_ref(), None).await;
                self.delta = Some(loaded.map_err(|error| failed(&self.place, "read", error))?);
            }
        }
        self.rebuild().await
    }

    /// Goes on from the newest version, or refuses: a commit must not be there that the store's listing left out, or its files would be taken for
    /// orphans.
    pub(crate) async fn ensure_newest(&mut self) -> Result<()> {
        while self.is_behind().await? {
            let next = self.next();
            // Another may have committed since the state was read. A listing that is behind shows no more than before.
            self.refresh().await?;
            if self.next() == next {
                let text = format!("the table {} has a commit {next} that its listing does not show", self.place);
                return Err(Error::new(Kind::Io, text).with_hint("try again: the object store's listing is behind"));
            }
        }
        Ok(())
    }

    /// Whether somebody has committed after this version: one request, for an object that is mostly not there.
    pub(crate) async fn is_behind(&self) -> Result<bool> {
        let commit = Path::from(format!("{LOG_DIR}/{:020}.json", self.next()));
        match self.log.object_store(None).head(&commit).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed(&self.place, "read", error.into())),
        }
    }

    fn next(&self) -> u64 {
        self.state.version.map_or(0, |version| version + 1)
    }

    /// Adds files and raises the low-water mark to `mark` in one commit; creates the table first when there is none.
    ///
    /// After an error the commit may be in the table all the same: [`Self::refresh`] tells by the mark.
    pub(crate) async fn commit(&mut self, files: &[WrittenFile], mark: Lsn) -> Result<&TableState> {
        self.check_fence()?;
        self.is_unsure = true;
        if self.delta.is_none() {
            self.create().await?;
        }
        let delta = self.delta.as_ref().ok_or_else(|| Error::internal("the table has no state"))?;
        let transaction = Transaction::new(&self.node, mark.0 as i64);
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: Some(vec![DATE.to_owned()]),
            predicate: None,
        };
        let mut actions: Vec<Action> = files.iter().map(|file| add_action(file, true)).collect();
        let promoted = self.add_columns(delta, files, &mut actions)?;
        let before = self.state.version;
        self.attempt = Some(Attempt { mark, files: files.iter().map(|file| file.location.clone()).collect() });
        failpoint::pass("before_commit");
        let committed = CommitBuilder::from(CommitProperties::default().with_application_transaction(transaction))
            .with_actions(actions)
            .build(Some(delta as &dyn TableReference), self.log.clone(), operation)
            .await;
        failpoint::pass("after_commit");
        let committed = committed.map_err(|error| failed(&self.place, "commit to", error))?;
        self.is_unsure = false;
        self.delta = Some(committed.snapshot());
        if before.is_some_and(|before| committed.version() == before + 1) {
            let new = files.iter().map(|file| to_data_file(file, &self.indexes)).collect::<Result<Vec<_>>>()?;
            let files = self.state.files.iter().cloned().chain(new).collect();
            self.state = TableState { version: Some(committed.version()), files, promoted, mark };
        } else {
            self.rebuild().await?;
        }
        Ok(&self.state)
    }

    /// Puts `added` into the table in the place of `removed`, in one commit of this `id`; gives what was removed.
    ///
    /// After an error the commit may be in the table all the same: [`Self::has_commit`] tells. It is also an error that somebody else has
    /// committed meanwhile.
    ///
    /// # Errors
    /// [`Kind::NotFound`], with nothing changed, when one of `removed` is not in the table any more.
    pub(crate) async fn replace(
        &mut self,
        removed: &[Path],
        added: &[WrittenFile],
        (why, id): (&Replacement, &str),
        clock: &dyn Clock,
    ) -> Result<Vec<Tombstone>> {
        self.check_fence()?;
        self.is_unsure = true;
        let delta = self.delta.as_ref().ok_or_else(|| Error::internal("the table has no state"))?;
        let wanted: HashSet<&Path> = removed.iter().collect();
        let removed_unix_ms = clock.unix_ms();
        let log_data = delta.snapshot().try_log_data().map_err(|error| failed(&self.place, "read", error))?;
        let mut actions: Vec<Action> = log_data
            .iter()
            .filter(|view| wanted.contains(&view.object_store_path()))
            .map(|view| {
                let remove = view.remove_action(why.changes_rows());
                Action::Remove(Remove { deletion_timestamp: Some(removed_unix_ms), ..remove })
            })
            .collect();
        if actions.len() != wanted.len() {
            return Err(Error::new(Kind::NotFound, "a file that was to be replaced is not in the table any more"));
        }
        actions.extend(added.iter().map(|file| add_action(file, why.changes_rows())));
        let promoted = self.add_columns(delta, added, &mut actions)?;
        let before = self.state.version;
        failpoint::pass("before_replace_commit");
        // The library would commit again behind another's commit, even one that has removed the same files: it does not look at those that were
        // removed without a change of data, and their rows would be there twice.
        let committed =
            CommitBuilder::from(CommitProperties::default().with_metadata(why.metadata(id)).with_max_retries(0))
                .with_actions(actions)
                .build(Some(delta as &dyn TableReference), self.log.clone(), why.operation())
                .await;
        failpoint::pass("after_replace_commit");
        let committed = committed.map_err(|error| failed(&self.place, "commit to", error))?;
        self.is_unsure = false;
        self.delta = Some(committed.snapshot());
        if before.is_some_and(|before| committed.version() == before + 1) {
            let kept = self.state.files.iter().filter(|file| !wanted.contains(&file.location)).cloned();
            let files = kept
                .map(Ok)
                .chain(added.iter().map(|file| to_data_file(file, &self.indexes)))
                .collect::<Result<Vec<_>>>()?;
            self.state =
                TableState { version: Some(committed.version()), files: files.into(), promoted, mark: self.state.mark };
        } else {
            self.rebuild().await?;
        }
        Ok(removed.iter().map(|location| Tombstone { location: location.clone(), removed_unix_ms }).collect())
    }

    /// Whether one of the commits behind version `before`, as far as they are known, is that of this `id`.
    pub(crate) async fn has_commit(&self, id: &str, before: Option<u64>) -> Result<bool> {
        for version in before.map_or(0, |before| before + 1)..self.next() {
            let entry = self.log.read_commit_entry(version).await;
            let entry = entry.map_err(|error| failed(&self.place, "read", error))?.unwrap_or_default();
            if entry.windows(id.len()).any(|part| part == id.as_bytes()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The files that left the table and are still named in its log.
    pub(crate) async fn tombstones(&self) -> Result<Vec<Tombstone>> {
        let Some(delta) = &self.delta else { return Ok(Vec::new()) };
        let live: HashSet<&Path> = self.state.files.iter().map(|file| &file.location).collect();
        let views = delta.all_tombstones(self.log.as_ref()).try_collect::<Vec<_>>().await;
        let mut tombstones = Vec::new();
        for view in views.map_err(|error| failed(&self.place, "read", error))? {
            // A path that is none of ours, such as an absolute one, is another program's to remove.
            let Ok(location) = Path::parse(view.path()) else { continue };
            if !live.contains(&location) {
                let removed_unix_ms = view.deletion_timestamp().unwrap_or_default();
                tombstones.push(Tombstone { location, removed_unix_ms });
            }
        }
        Ok(tombstones)
    }

    async fn create(&mut self) -> Result<()> {
        let failed_here = |error| failed(&self.place, "create", error);
        let columns = table_schema()?;
        let created: DeltaTable = CreateBuilder::new()
            .with_log_store(self.log.clone())
            .with_table_name("spans")
            .with_comment("OpenTelemetry spans, written by spanhouse")
            .with_columns(columns.fields().cloned())
            .with_partition_columns([DATE])
            .with_configuration_property(TableProperty::CheckpointInterval, Some(CHECKPOINT_INTERVAL_COMMITS))
            .with_configuration([(FORMAT_KEY, Some(FORMAT.to_string()))])
            .with_raise_if_key_not_exists(false)
            .with_save_mode(SaveMode::Ignore)
            .await
            .map_err(failed_here)?;
        self.delta = created.state;
        self.rebuild().await
    }

    async fn rebuild(&mut self) -> Result<()> {
        let Some(delta) = &self.delta else { return Ok(()) };
        refuse_newer(&self.place, delta)?;
        let mark = delta
            .transaction_version(self.log.as_ref(), &self.node)
            .await
            .map_err(|error| failed(&self.place, "read", error))?;
        let log_data = delta.snapshot().try_log_data().map_err(|error| failed(&self.place, "read", error))?;
        // What is known of a file's index stays known: files do not change.
        let known: HashMap<&Path, &FileIndex> =
            self.state.files.iter().map(|file| (&file.location, &file.index)).collect();
        let index_of = |location: &Path| match known.get(location) {
            Some(index) => (*index).clone(),
            None => FileIndex::unread(self.indexes.clone()),
        };
        let files = log_data.iter().map(|view| from_view(&self.place, &view, index_of)).collect::<Result<Vec<_>>>()?;
        let mark = Lsn(mark.map_or(0, |mark| mark.max(0) as u64));
        self.refuse_foreign(mark, &files).await?;
        let schema = delta.schema();
        let promoted = Arc::new(Promoted::from_names(schema.fields().map(|field| field.name().as_str())));
        self.state = TableState { version: Some(delta.version()), files: files.into(), promoted, mark };
        Ok(())
    }

    fn check_fence(&self) -> Result<()> {
        self.fence.as_ref().map_or(Ok(()), |fence| fence.check())
    }

    /// Closes the fence when the mark was raised by somebody else than this process.
    async fn refuse_foreign(&self, mark: Lsn, files: &[DataFile]) -> Result<()> {
        let Some(fence) = &self.fence else { return Ok(()) };
        if mark == self.state.mark || self.is_ours(mark, files).await? {
            return Ok(());
        }
        let text = format!(
            "another process has written to the table {} as node {}, up to request {}, where this one had come to {}",
            self.place, self.node, mark.0, self.state.mark.0
        );
        Err(fence.close(text))
    }

    /// Whether the last attempt raised the mark: others may have merged its files since.
    async fn is_ours(&self, mark: Lsn, files: &[DataFile]) -> Result<bool> {
        let Some(ours) = self.attempt.as_ref().filter(|attempt| attempt.mark == mark) else { return Ok(false) };
        if ours.files.is_empty() {
            // A commit that only raises the mark leaves no file to be found by.
            return Ok(true);
        }
        let is_in = |location: &Path| ours.files.contains(location.as_ref());
        Ok(files.iter().any(|file| is_in(&file.location))
            || self.tombstones().await?.iter().any(|gone| is_in(&gone.location)))
    }

    /// Adds to a commit what gives the table the columns that these files want; gives the promoted columns that it has then.
    fn add_columns(
        &self,
        delta: &DeltaTableState,
        files: &[WrittenFile],
        actions: &mut Vec<Action>,
    ) -> Result<Arc<Promoted>> {
        let mut promoted = Promoted::clone(&self.state.promoted);
        files.iter().for_each(|file| promoted.extend(&file.columns));
        let new = self.state.promoted.missing(promoted.columns());
        actions.extend(columns_action(delta, &new).map_err(|error| failed(&self.place, "commit to", error))?);
        Ok(Arc::new(promoted))
    }
}

impl std::fmt::Debug for DeltaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeltaLog")
            .field("place", &self.place)
            .field("version", &self.state.version)
            .finish_non_exhaustive()
    }
}

fn failed(place: &str, what: &str, error: DeltaTableError) -> Error {
    Error::new(Kind::Io, format!("cannot {what} the table {place}: {error}")).with_source(error)
}

/// Refuses a table of a format that this program does not know. One that does not tell is of the first format.
fn refuse_newer(place: &str, delta: &DeltaTableState) -> Result<()> {
    let Some(format) = delta.metadata().configuration().get(FORMAT_KEY) else { return Ok(()) };
    if format.parse::<u32>().is_ok_and(|format| format <= FORMAT) {
        return Ok(());
    }
    let text = format!("the table {place} has format {format}, and this program reads formats up to {FORMAT}");
    Err(Error::new(Kind::BadInput, text).with_hint("use the version of spanhouse that wrote it, or a newer one"))
}
