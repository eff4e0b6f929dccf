//! Taking what is damaged out of the way of everything else. It is moved into quarantine, never deleted.
//!
//! A damaged data file leaves the table by a commit. Of a damaged log, all requests that can be read go into the table, which leaves nothing of the log but what is damaged.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::object_store::path::Path as Location;
use datafusion::object_store::{Error as StoreError, ObjectStoreExt};
use serde::Serialize;

use super::{Finding, Part, Place, blocking};
use crate::error::{Error, Kind, Result};
use crate::store::DataFile;
use crate::store::clock::OsClock;
use crate::store::compact::{Rewriter, Stop};
use crate::store::disk::OsDisk;
use crate::store::fresh;
use crate::store::lock::DirectoryLock;
use crate::store::open::{Decode, decode_payload};
use crate::store::quarantine::Quarantine;
use crate::store::redact::SpanFilter;
use crate::store::replace::{NotReplaced, try_replace};
use crate::store::seal::write_sorted;
use crate::store::shared::log_dir;
use crate::store::table::{DeltaLog, Home, Replacement, TableDir, WrittenFile};
use crate::store::wal::{Lsn, Piece, scan};

/// The rows of the log that go into the table at a time.
const PORTION_ROWS: usize = 500_000;

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// What was wrong and is out of the way.
    pub repaired: Vec<Finding>,
    /// Where the bytes are now.
    pub quarantined: Vec<String>,
    /// What is wrong still, since nothing could be moved aside that would mend it.
    pub left: Vec<Finding>,
}

/// Checks a data directory and takes what is damaged out of the way.
///
/// # Errors
/// [`Kind::Denied`] when a server has the directory, and whatever [`super::check`] gives. What was done until then stays done, and doing it again does no harm.
pub async fn repair(dir: &Path) -> Result<Repair> {
    repair_with(dir, decode_payload).await
}

pub(super) async fn repair_with(dir: &Path, decode: Decode) -> Result<Repair> {
    let place = Place::open(dir, Arc::new(OsDisk), decode)?;
    blocking(move || {
        let _lock = DirectoryLock::take(&place.dir)?;
        Work { quarantine: Quarantine::of(place.disk.clone(), &place.dir), place }.repair()
    })
    .await
}

struct Work {
    place: Place,
    quarantine: Quarantine,
}

impl Work {
    fn repair(&self) -> Result<Repair> {
        let findings = self.place.check()?.findings;
        let mut repair = Repair::default();
        if findings.iter().any(|finding| finding.part == Part::TableLog) {
            // Files cannot be taken out of a table of which it is not certain what is in it.
            repair.left = findings;
            return Ok(repair);
        }
        let mut table = self.place.load()?;
        self.place.runtime.block_on(table.write_behind(Arc::default(), self.table_dir()))?;
        repair.quarantined.extend(self.repair_files(&mut table, &findings)?);
        repair.quarantined.extend(self.repair_log(&mut table, &findings)?);
        repair.repaired = findings;
        Ok(repair)
    }

    fn table_dir(&self) -> TableDir {
        let Place { table, disk, .. } = &self.place;
        let clock = Arc::new(OsClock);
        TableDir { home: table.home.clone(), is_shared: table.is_shared(), disk: disk.clone(), clock }
    }

    /// Takes damaged files out of the table; one whose rows are sound is written anew.
    fn repair_files(&self, table: &mut DeltaLog, findings: &[Finding]) -> Result<Vec<String>> {
        let mut wrong: BTreeMap<&str, (Part, String)> = BTreeMap::new();
        for finding in findings.iter().filter(|finding| finding.part != Part::Log) {
            let (part, why) = wrong.entry(&finding.path).or_insert((finding.part, finding.what.clone()));
            if finding.part == Part::DataFile {
                (*part, *why) = (Part::DataFile, finding.what.clone());
            }
        }
        let mut quarantined = Vec::new();
        let files = table.state().files.clone();
        for file in files.iter() {
            let Some((part, why)) = wrong.get(file.location.as_ref()) else { continue };
            quarantined.extend(self.keep(file, why)?);
            match part {
                Part::TraceIndex => {
                    let added = self.written_anew(table, file)?;
                    self.replace(table, &file.location, &added, &Replacement::Compaction)?;
                }
                _ => self.replace(table, &file.location, &[], &Replacement::Damage)?,
            }
            self.table_dir().delete(&file.location)?;
        }
        Ok(quarantined)
    }

    /// Keeps the bytes of a data file, unless it is gone.
    fn keep(&self, file: &DataFile, why: &str) -> Result<Option<String>> {
        if let Home::Directory(root) = &self.place.table.home {
            match self.quarantine.link(&root.join(file.location.as_ref()), why) {
                Ok(kept) => return Ok(Some(kept.display().to_string())),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                // It may lie on another disk.
                Err(_) => {}
            }
        }
        let store = self.place.table.store.clone();
        let read = self.place.runtime.block_on(async { store.get(&file.location).await?.bytes().await });
        let bytes = match read {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            read => read.map_err(|error| Error::new(Kind::Io, error.to_string()).with_source(error))?,
        };
        let name = file.location.filename().unwrap_or_default();
        self.quarantine.keep(name, &bytes, why).map(|kept| Some(kept.display().to_string()))
    }

    fn written_anew(&self, table: &DeltaLog, file: &DataFile) -> Result<Vec<WrittenFile>> {
        let Place { runtime, node, .. } = &self.place;
        let rewriter = Rewriter {
            runtime: runtime.clone(),
            store: self.place.table.store.clone(),
            table: self.table_dir(),
            node: node.clone(),
            stop: Stop::default(),
        };
        // Its bytes are known to have changed, in the index only.
        let file = DataFile { crc: None, ..file.clone() };
        rewriter.without(&file, &Nothing, 0, &table.state().promoted)
    }

    fn replace(
        &self,
        table: &mut DeltaLog,
        removed: &Location,
        added: &[WrittenFile],
        why: &Replacement,
    ) -> Result<()> {
        let dir = self.table_dir();
        let replacing = try_replace(&dir, table, std::slice::from_ref(removed), added, why);
        let replaced = self.place.runtime.block_on(replacing).map_err(|NotReplaced { error, for_good }| {
            if for_good {
                dir.remove(added);
            }
            error
        });
        replaced.map(|_| ())
    }

    /// Puts into the table what of a damaged log can be read, and moves the damaged segments aside.
    fn repair_log(&self, table: &mut DeltaLog, findings: &[Finding]) -> Result<Vec<String>> {
        let why: BTreeMap<&str, &str> = findings
            .iter()
            .filter(|finding| finding.part == Part::Log)
            .map(|finding| (finding.path.as_str(), finding.what.as_str()))
            .collect();
        if why.is_empty() {
            return Ok(Vec::new());
        }
        let Place { disk, dir, .. } = &self.place;
        let log_dir = log_dir(dir);
        let begin = table.state().mark;
        let mut salvage = Salvage { work: self, table, begin, last: begin, parts: Vec::new(), rows: 0 };
        let segments = scan(disk.as_ref(), &log_dir, |_, piece| salvage.take(piece))?;
        salvage.flush()?;
        let mut quarantined = Vec::new();
        for segment in segments {
            let name = segment.path.file_name().map(|name| format!("wal/{}", name.to_string_lossy()));
            match name.and_then(|name| why.get(name.as_str())) {
                Some(why) => quarantined.push(self.quarantine.take(&segment.path, why)?.display().to_string()),
                None => disk.remove_file(&segment.path).map_err(|error| Error::io(segment.path.display(), error))?,
            }
        }
        disk.sync_dir(&log_dir).map_err(|error| Error::io(log_dir.display(), error))?;
        Ok(quarantined)
    }
}

/// The requests of a log on their way into the table.
struct Salvage<'a> {
    work: &'a Work,
    table: &'a mut DeltaLog,
    /// The last request that the table had before.
    begin: Lsn,
    /// The last one that is in the table, about to go there, or lost.
    last: Lsn,
    parts: Vec<Arc<fresh::Part>>,
    rows: usize,
}

impl Salvage<'_> {
    fn take(&mut self, piece: Piece) -> Result<()> {
        match piece {
            Piece::Record(record) if record.lsn > self.begin => {
                let Work { place, quarantine } = self.work;
                let read = (place.decode)(&record.payload)
                    .and_then(|batch| fresh::Part::new(record.lsn, batch, 0, record.received_unix_ms));
                match read {
                    Ok(part) => {
                        self.rows += part.batch.num_rows();
                        self.parts.push(Arc::new(part));
                    }
                    Err(error) => _ = quarantine.keep_request(record.lsn, &record.payload, &error.message)?,
                }
                self.last = self.last.max(record.lsn);
            }
            Piece::Damaged { lost, .. } | Piece::Missing(lost) if !lost.is_empty() => {
                self.last = self.last.max(Lsn(lost.end.0 - 1));
            }
            _ => {}
        }
        if self.rows >= PORTION_ROWS { self.flush() } else { Ok(()) }
    }

    /// Commits what has come.
    fn flush(&mut self) -> Result<()> {
        if self.last <= self.table.state().mark {
            return Ok(());
        }
        let Place { node, runtime, .. } = &self.work.place;
        let promoted = self.table.state().promoted.clone();
        let files = write_sorted(&self.work.table_dir(), &self.parts, &promoted, node, self.last)?;
        runtime.block_on(self.table.commit(&files, self.last))?;
        self.parts.clear();
        self.rows = 0;
        Ok(())
    }
}

/// Means no span.
#[derive(Debug)]
struct Nothing;

impl SpanFilter for Nothing {
    fn columns(&self) -> Vec<String> {
        Vec::new()
    }

    fn may_match(&self, files: &[DataFile]) -> Vec<bool> {
        vec![false; files.len()]
    }

    fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        Ok(BooleanArray::from(vec![false; batch.num_rows()]))
    }
}
