//! A new data file: written under a new name, described, and not yet in the table.

use datafusion::arrow::compute::{max, min};

use super::data_file::{WrittenContent, WrittenIndex, write_data_file};
use super::encoding::Effort;
use super::table_dir::{FileName, TableDir};
use crate::error::Result;
use crate::model::SpanBatch;
use crate::model::promoted::{PromotedColumn, Promotion};

/// A data file that is on disk and not yet in the table.
#[derive(Debug, Clone)]
pub(crate) struct WrittenFile {
    /// Below the table's root.
    pub location: String,
    pub date: String,
    pub size_bytes: u64,
    /// CRC32C of all its bytes.
    pub crc: u32,
    pub rows: u64,
    pub min_start_ns: i64,
    pub max_start_ns: i64,
    pub written_unix_ms: i64,
    pub index: WrittenIndex,
    /// The columns of promoted attributes that the table should have with this file in it.
    pub columns: Vec<PromotedColumn>,
}

/// A data file to be written.
#[derive(Debug, Clone)]
pub(crate) struct NewFile {
    /// The day on which all its spans start.
    pub date: String,
    pub name: FileName,
    pub promotion: Promotion,
    pub effort: Effort,
}

/// Writes batches as a new file, durable under its name. What an error leaves is removed. Blocks.
pub(crate) fn write_new_file(
    table: &TableDir,
    file: NewFile,
    batches: impl IntoIterator<Item = Result<SpanBatch>>,
) -> Result<WrittenFile> {
    let path = table.new_path(&file.date, &file.name)?;
    let mut counted = Counted::default();
    let batches = batches.into_iter().inspect(|batch| counted.count(batch));
    let written = write_data_file(table.disk.as_ref(), &path.local, &file.promotion, file.effort, batches);
    let written = written.and_then(|content| {
        table.settle(&path, content.size_bytes)?;
        Ok(content)
    });
    let WrittenContent { size_bytes, crc, index, columns } = written.inspect_err(|_| table.abandon(&path))?;
    let (min_start_ns, max_start_ns) = counted.starts_ns.unwrap_or((i64::MAX, i64::MIN));
    Ok(WrittenFile {
        location: path.location.to_string(),
        date: file.date,
        size_bytes,
        crc,
        rows: counted.rows,
        min_start_ns,
        max_start_ns,
        written_unix_ms: table.clock.unix_ms(),
        index,
        columns,
    })
}

/// What a file's description needs of the rows that go by.
#[derive(Default)]
struct Counted {
    rows: u64,
    /// The least and the greatest start.
    starts_ns: Option<(i64, i64)>,
}

impl Counted {
    fn count(&mut self, batch: &Result<SpanBatch>) {
        let Ok(batch) = batch else { return };
        self.rows += batch.num_rows() as u64;
        let Ok(starts) = batch.starts() else { return };
        let Some((least, most)) = min(starts).zip(max(starts)) else { return };
        let (least_before, most_before) = self.starts_ns.unwrap_or((least, most));
        self.starts_ns = Some((least.min(least_before), most.max(most_before)));
    }
}
