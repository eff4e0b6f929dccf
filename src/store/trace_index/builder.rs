//! Noting the runs of a file while it is written.

use datafusion::arrow::array::{Array, FixedSizeBinaryArray};

use super::layout::{self, Head, Run, TraceHash};
use crate::error::{Error, Kind, Result};

/// The most rows of a file: the blocks of so many runs, at most 15 bytes each, can still be counted in 32 bits.
const MAX_ROWS: u64 = 1 << 28;

/// Collects the runs of one file: 16 bytes each, until the file is written.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    runs: Vec<Run>,
    last: Vec<u8>,
    rows: u64,
}

/// An index, ready to be put into its file.
#[derive(Debug)]
pub(crate) struct Built {
    /// The blocks, then the head.
    pub bytes: Vec<u8>,
    pub head: Head,
}

impl IndexBuilder {
    /// Notes the trace ids of the file's next rows.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] when the file has more than 2^28 rows.
    pub(crate) fn push(&mut self, trace_ids: &FixedSizeBinaryArray) -> Result<()> {
        let first = self.rows;
        self.rows += trace_ids.len() as u64;
        if self.rows > MAX_ROWS {
            return Err(Error::new(Kind::TooLarge, format!("a data file cannot have more than {MAX_ROWS} rows")));
        }
        for row in 0..trace_ids.len() {
            let id = trace_ids.value(row);
            match self.runs.last_mut() {
                Some(run) if self.last == id => run.rows += 1,
                _ => {
                    self.last.clear();
                    self.last.extend_from_slice(id);
                    self.runs.push(Run { hash: TraceHash::of(id), first_row: first as u32 + row as u32, rows: 1 });
                }
            }
        }
        Ok(())
    }

    /// The index of all rows so far.
    pub(crate) fn finish(mut self) -> Result<Built> {
        self.runs.sort_unstable();
        let (mut bytes, head) = layout::encode(&self.runs, self.rows as u32);
        bytes.extend(head.to_bytes()?);
        Ok(Built { bytes, head })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_rows_than_the_index_counts_are_refused() {
        let two = FixedSizeBinaryArray::try_from_iter([[1; 16], [1; 16]].into_iter()).expect("ids");
        let mut index = IndexBuilder { rows: MAX_ROWS - 2, ..IndexBuilder::default() };
        index.push(&two).expect("room");
        assert_eq!(index.push(&two).expect_err("full").kind, Kind::TooLarge);
    }
}
