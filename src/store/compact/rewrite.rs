//! Writing the rows of some data files anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::RecordBatch;
use datafusion::object_store::ObjectStore;
use tokio::runtime::Handle;

use super::cut::Cut;
use super::input::FileInput;
use super::merge::Merge;
use crate::error::{Error, Kind, Result};
use crate::model::promoted::{Promoted, Promotion};
use crate::store::DataFile;
use crate::store::table::{FileName, NewFile, TableDir, WrittenFile, write_new_file};

/// Ends work under way, from another thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// [`Kind::Closed`] once it is set.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Error::new(Kind::Closed, "the store is closing")),
            false => Ok(()),
        }
    }
}

/// What rewriting needs of the store.
#[derive(Debug, Clone)]
pub(crate) struct Rewriter {
    pub runtime: Handle,
    pub store: Arc<dyn ObjectStore>,
    pub table: TableDir,
    pub node: String,
    pub stop: Stop,
}

impl Rewriter {
    /// Merges files of one date into files of about `goal_rows`, which are synced and not yet in the table that has the columns `promoted`.
    /// What an error leaves is removed. Blocks.
    pub(crate) fn merge(&self, files: &[DataFile], goal_rows: u64, promoted: &Promoted) -> Result<Vec<WrittenFile>> {
        let Some(first) = files.first() else { return Ok(Vec::new()) };
        let inputs = files.iter().map(|file| FileInput::open(&self.runtime, &self.store, file));
        let mut merge = Merge::begin(inputs.collect::<Result<_>>()?)?;
        let mut written = Vec::new();
        while !merge.is_done() {
            let name = FileName::rewritten(&self.node, written.len());
            let rows = Rows { merge: &mut merge, cut: Cut { goal_rows }, rows: 0, stop: &self.stop };
            // Which keys are promoted is for sealing to choose: it sees all that comes.
            let promotion = Promotion { known: promoted.clone(), may_grow: false };
            match write_new_file(&self.table, NewFile { date: first.date.clone(), name, promotion }, rows) {
                Ok(file) => written.push(file),
                Err(error) => {
                    self.table.remove(&written);
                    return Err(error);
                }
            }
        }
        self.verify(files, written)
    }

    /// Refuses an output that has not as many rows as its inputs: no defect or damage may lose a span.
    fn verify(&self, files: &[DataFile], written: Vec<WrittenFile>) -> Result<Vec<WrittenFile>> {
        let (read, wrote): (u64, u64) =
            (files.iter().map(|file| file.rows).sum(), written.iter().map(|file| file.rows).sum());
        if read == wrote {
            return Ok(written);
        }
        self.table.remove(&written);
        Err(Error::corrupt(format!("{} files that should hold {read} rows hold {wrote}", files.len())))
    }
}

/// The rows of one output.
struct Rows<'a> {
    merge: &'a mut Merge<FileInput>,
    cut: Cut,
    rows: u64,
    stop: &'a Stop,
}

impl Iterator for Rows<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.stop.check().and_then(|()| self.merge.next_batch(self.cut, self.rows)).transpose()?;
        Some(next.inspect(|batch| self.rows += batch.num_rows() as u64))
    }
}
