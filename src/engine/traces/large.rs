//! A trace of more rows than should be in memory with all of their columns: what is needed of them is kept, each text once, and the rest is on disk.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewBuilder};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::SpillMetrics;
use datafusion::physical_plan::spill::SpillManager;
use datafusion::physical_plan::spill::spill_pool::{SpillPoolSink, spsc_channel};

use super::local::{batch, row_bytes};
use super::parts::Passing;

/// A trace is large when its rows take more than this share of the memory that a statement may have.
const LARGE_SHARE: usize = 16;

/// The most bytes of a trace that is held as it comes, where memory has no limit.
const LARGE_BYTES: usize = 64 << 20;

/// Where the rows of large traces go.
#[derive(Clone)]
pub(super) struct Disk {
    pub context: Arc<TaskContext>,
    pub metrics: SpillMetrics,
}

impl Disk {
    /// From how many bytes on a trace is large.
    pub fn large_bytes(&self) -> usize {
        match self.context.memory_pool().memory_limit() {
            MemoryLimit::Finite(bytes) => bytes / LARGE_SHARE,
            _ => LARGE_BYTES,
        }
    }

    /// A place for rows of the columns `schema`, and what reads them again in the order in which they went there.
    fn place(&self, schema: SchemaRef) -> (SpillPoolSink, SendableRecordBatchStream) {
        let options = &self.context.session_config().options().execution;
        let manager = SpillManager::new(self.context.runtime_env(), self.metrics.clone(), schema)
            .with_compression_type(options.spill_compression);
        spsc_channel(options.max_spill_file_size_bytes.get(), Arc::new(manager))
    }
}

/// The rows of a large trace as they come.
pub(super) struct Large {
    rows: usize,
    schema: SchemaRef,
    needed: Vec<Needed>,
    passing: SchemaRef,
    /// `None` where no column passes by.
    disk: Option<(SpillPoolSink, SendableRecordBatchStream)>,
}

/// A column that is needed of all rows.
enum Needed {
    /// Most texts of a trace are names, which come again and again.
    Texts(StringViewBuilder),
    Others {
        parts: Vec<ArrayRef>,
        bytes: usize,
    },
}

impl Large {
    /// No rows, of which `needed` is kept and `passing` goes to `disk`.
    pub fn new(needed: SchemaRef, passing: SchemaRef, disk: &Disk) -> Self {
        let column = |data_type: &DataType| match data_type {
            DataType::Utf8View => Needed::Texts(StringViewBuilder::new().with_deduplicate_strings()),
            _ => Needed::Others { parts: Vec::new(), bytes: 0 },
        };
        Self {
            rows: 0,
            needed: needed.fields().iter().map(|field| column(field.data_type())).collect(),
            schema: needed,
            disk: (!passing.fields().is_empty()).then(|| disk.place(passing.clone())),
            passing,
        }
    }

    pub fn push(&mut self, needed: &RecordBatch, passing: &RecordBatch) -> Result<()> {
        self.rows += needed.num_rows();
        for (column, rows) in self.needed.iter_mut().zip(needed.columns()) {
            match column {
                Needed::Texts(texts) => rows.as_string_view().iter().for_each(|text| texts.append_option(text)),
                Needed::Others { parts, bytes } => {
                    *bytes += row_bytes(std::slice::from_ref(rows));
                    parts.push(rows.clone());
                }
            }
        }
        match &self.disk {
            Some((disk, _)) => disk.push_batch(passing),
            None => Ok(()),
        }
    }

    /// What it holds in memory.
    pub fn bytes(&self) -> usize {
        let bytes = |column: &Needed| match column {
            Needed::Texts(texts) => texts.allocated_size(),
            Needed::Others { bytes, .. } => *bytes,
        };
        self.needed.iter().map(bytes).sum()
    }

    /// The rows, and what passes by of them. `reservation` counts what is there twice for a while.
    pub fn finish(self, reservation: &mut MemoryReservation) -> Result<(RecordBatch, Passing)> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        for column in self.needed {
            columns.push(match column {
                Needed::Texts(mut texts) => Arc::new(texts.finish()),
                Needed::Others { parts, bytes } => {
                    reservation.try_grow(bytes)?;
                    let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
                    let whole = concat(&parts)?;
                    reservation.shrink(bytes);
                    whole
                }
            });
        }
        let passing = match self.disk {
            // What wrote is gone before the first row is read: that there is no more is known then.
            Some((disk, rows)) => {
                drop(disk);
                Passing::streamed(self.passing, rows)
            }
            None => Passing::held(batch(self.passing, Vec::new(), self.rows)?),
        };
        Ok((batch(self.schema, columns, self.rows)?, passing))
    }
}
