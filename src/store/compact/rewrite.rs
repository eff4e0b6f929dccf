//! Writing the rows of some data files anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::{Array, BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::object_store::ObjectStore;
use tokio::runtime::Handle;

use super::cut::Cut;
use super::input::FileInput;
use super::merge::{Input, Merge};
use super::sum::FileSum;
use crate::error::{Error, Kind, Result};
use crate::model::SpanBatch;
use crate::model::promoted::{Promoted, Promotion};
use crate::store::DataFile;
use crate::store::redact::SpanFilter;
use crate::store::table::{Effort, FileName, NewFile, TableDir, WrittenFile, write_new_file};

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
        let inputs: Vec<FileInput> = inputs.collect::<Result<_>>()?;
        let sums = inputs.iter().filter_map(FileInput::sum).collect();
        let written = self.write(inputs, &first.date, goal_rows, promoted)?;
        self.verify(files.iter().map(|file| file.rows).sum(), sums, written)
    }

    /// Writes a file without the spans that the filter means, of which it has `matching`: one file, or none when no row is left.
    pub(crate) fn without(
        &self,
        file: &DataFile,
        filter: &dyn SpanFilter,
        matching: u64,
        promoted: &Promoted,
    ) -> Result<Vec<WrittenFile>> {
        let input = FileInput::open(&self.runtime, &self.store, file)?;
        let sums = input.sum().into_iter().collect();
        let written = self.write(vec![Without { input, filter }], &file.date, u64::MAX, promoted)?;
        self.verify(file.rows.saturating_sub(matching), sums, written)
    }

    fn write<I: Input>(
        &self,
        inputs: Vec<I>,
        date: &str,
        goal_rows: u64,
        promoted: &Promoted,
    ) -> Result<Vec<WrittenFile>> {
        let mut merge = Merge::begin(inputs)?;
        let mut written = Vec::new();
        while !merge.is_done() {
            let name = FileName::rewritten(&self.node, written.len());
            let rows = Rows { merge: &mut merge, cut: Cut { goal_rows }, rows: 0, stop: &self.stop };
            // Which keys are promoted is for sealing to choose: it sees all that comes.
            let promotion = Promotion { known: promoted.clone(), may_grow: false };
            let file = NewFile { date: date.to_owned(), name, promotion, effort: Effort::Thorough };
            match write_new_file(&self.table, file, rows) {
                Ok(file) => written.push(file),
                Err(error) => {
                    self.table.remove(&written);
                    return Err(error);
                }
            }
        }
        Ok(written)
    }

    /// Refuses an output of inputs that are not as they were written, or that has not as many rows as they should give: no defect or damage may
    /// change or lose a span.
    fn verify(&self, rows: u64, inputs: Vec<FileSum>, written: Vec<WrittenFile>) -> Result<Vec<WrittenFile>> {
        let wrote: u64 = written.iter().map(|file| file.rows).sum();
        let verified = inputs.iter().try_for_each(FileSum::verify).and_then(|()| match rows == wrote {
            true => Ok(()),
            false => {
                let inputs = inputs.len();
                Err(Error::corrupt(format!("{inputs} files that should give {rows} rows gave {wrote}")))
            }
        });
        verified.inspect_err(|_| self.table.remove(&written))?;
        Ok(written)
    }
}

/// A file without the spans that a filter means.
struct Without<'a> {
    input: FileInput,
    filter: &'a dyn SpanFilter,
}

impl Input for Without<'_> {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.input.next()? else { return Ok(None) };
        let meant = self.filter.matches(&batch)?;
        let stays: BooleanArray = (0..meant.len()).map(|row| Some(!meant.is_valid(row) || !meant.value(row))).collect();
        let rest = filter_record_batch(&batch, &stays);
        rest.map(Some).map_err(|error| Error::internal(format!("cannot take spans out of a batch: {error}")))
    }

    fn name(&self) -> &str {
        self.input.name()
    }

    fn row_bytes(&self) -> u64 {
        self.input.row_bytes()
    }
}

/// The rows of one output.
struct Rows<'a, I> {
    merge: &'a mut Merge<I>,
    cut: Cut,
    rows: u64,
    stop: &'a Stop,
}

impl<I: Input> Iterator for Rows<'_, I> {
    type Item = Result<SpanBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.stop.check().and_then(|()| self.merge.next_batch(self.cut, self.rows)).transpose()?;
        Some(next.inspect(|batch| self.rows += batch.num_rows() as u64).and_then(|batch| SpanBatch::try_from(&batch)))
    }
}
