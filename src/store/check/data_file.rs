//! Checking a data file: that it is there, has the bytes that were written, and holds the rows that the table's log says.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::DateTime;
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::report::{Finding, Loss, Part, services};
use crate::error::{Error, Kind, Result};
use crate::model::schema::{DATE, SERVICE_NAME, START_NS, TRACE_ID};
use crate::store::compact::{FileInput, Input, is_whole_with};
use crate::store::order::DAY_NS;
use crate::store::trace_index::{IndexBuilder, Place, TraceHash};
use crate::store::{DataFile, FileRun};

/// What is said of a file that shows its damage by nothing else.
const CHANGED: &str = "its bytes are not those that were written, and any value in it may be wrong";
/// What is read of a file at a time.
const STEP_BYTES: u64 = 8 << 20;

/// What checking one file told.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub findings: Vec<Finding>,
    /// Whether its bytes are those whose sum was noted.
    pub is_summed: bool,
    /// Whether it has a trace index, which agrees with the rows.
    pub is_indexed: bool,
}

/// What the rows of a file tell.
#[derive(Debug, Default)]
struct Rows {
    count: u64,
    /// The least and the greatest start.
    starts_ns: Option<(i64, i64)>,
    runs: Vec<FileRun>,
    last_trace: Vec<u8>,
}

/// Checks a file. Blocks; may not run on a thread of the runtime.
///
/// # Errors
/// When the object store fails, which tells nothing about the file.
pub(super) fn check_data_file(runtime: &Handle, store: &Arc<dyn ObjectStore>, file: &DataFile) -> Result<Checked> {
    let mut checked = Checked::default();
    let wrong = |what: String| Finding::new(Part::DataFile, &file.location, what);
    match runtime.block_on(store.head(&file.location)) {
        Ok(found) if found.size == file.size_bytes => {}
        Ok(found) => {
            let what = format!("it has {} bytes, and the table's log says {}", found.size, file.size_bytes);
            checked.findings.push(wrong(what).losing(loss_of(runtime, store, file)));
            return Ok(checked);
        }
        Err(StoreError::NotFound { .. }) => {
            checked.findings.push(wrong("it is not there".to_owned()).losing(loss_of(runtime, store, file)));
            return Ok(checked);
        }
        Err(error) => return Err(failed(file, error)),
    }
    if let Some(noted) = file.crc {
        checked.is_summed = runtime.block_on(crc(store, file))? == noted;
    }
    // Where no sum tells, a page of any column may be damaged.
    let columns = checked.is_summed.then_some([START_NS.to_owned(), TRACE_ID.to_owned()]);
    let rows = match read_rows(runtime, store, file, columns.as_ref().map(<[String; 2]>::as_slice)) {
        Ok(rows) => rows,
        Err(error) => {
            let what = format!("its rows cannot be read: {error}");
            checked.findings.push(wrong(what).losing(loss_of(runtime, store, file)));
            return Ok(checked);
        }
    };
    let has_changed = file.crc.is_some() && !checked.is_summed;
    let index = check_index(runtime, store, file, &rows);
    checked.is_indexed = matches!(index, Ok(true));
    let wrongs = said_wrongly(file, &rows);
    if !wrongs.is_empty() {
        let lost = loss_of(runtime, store, file);
        checked.findings.extend(wrongs.into_iter().map(|what| wrong(what).losing(lost.clone())));
    }
    match index {
        Err(error) if error.kind == Kind::Corrupt => {
            checked.findings.push(Finding::new(Part::TraceIndex, &file.location, error.message.into_owned()));
            if has_changed && !is_only_index_changed(runtime, store, file)? {
                checked.findings.push(wrong(CHANGED.to_owned()).losing(loss_of(runtime, store, file)));
            }
        }
        Err(error) => return Err(error),
        Ok(_) if has_changed && checked.findings.is_empty() => {
            checked.findings.push(wrong(CHANGED.to_owned()).losing(loss_of(runtime, store, file)));
        }
        Ok(_) => {}
    }
    Ok(checked)
}

/// Whether with the trace index that its rows give, in the place of the one that it has, the file has the bytes that were written.
fn is_only_index_changed(runtime: &Handle, store: &Arc<dyn ObjectStore>, file: &DataFile) -> Result<bool> {
    let rebuilt = || {
        let place = runtime.block_on(Place::of_file(store.as_ref(), &file.location, file.size_bytes))?;
        let mut input = FileInput::open_columns(runtime, store, file, &[TRACE_ID.to_owned()])?;
        let mut index = IndexBuilder::default();
        while let Some(batch) = input.next()? {
            let traces = batch.column_by_name(TRACE_ID).and_then(|column| column.as_fixed_size_binary_opt());
            index.push(traces.ok_or_else(|| Error::internal("a batch of spans lacks its trace ids"))?)?;
        }
        Ok::<_, Error>(place.map(|(place, _)| place.blocks.start).zip(Some(index.finish()?.bytes)))
    };
    match rebuilt() {
        Ok(Some((start, bytes))) => is_whole_with(runtime, store, file, (start, &bytes)),
        Ok(None) => Ok(false),
        Err(error) if error.kind == Kind::Corrupt => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the table's log says of a file that is not so.
fn said_wrongly(file: &DataFile, rows: &Rows) -> Vec<String> {
    let mut wrongs = Vec::new();
    if rows.count != file.rows {
        wrongs.push(format!("it has {} rows, and the table's log says {}", rows.count, file.rows));
    }
    let Some((least, most)) = rows.starts_ns else { return wrongs };
    if least < file.min_start_ns || most > file.max_start_ns {
        wrongs.push("it has spans outside of the times that the table's log says".to_owned());
    }
    let day = |ns: i64| {
        let day = DateTime::from_timestamp_nanos(ns.div_euclid(DAY_NS).saturating_mul(DAY_NS));
        day.format("%Y-%m-%d").to_string()
    };
    let days = BTreeSet::from([day(least), day(most)]);
    if !days.contains(&file.date) || days.len() > 1 {
        let days = days.into_iter().collect::<Vec<_>>().join(" to ");
        wrongs.push(format!("it has spans of {days}, and the table's log says {DATE}={}", file.date));
    }
    wrongs
}

/// Whether the file has a trace index.
///
/// # Errors
/// [`Kind::Corrupt`] when it does not agree with the rows.
fn check_index(runtime: &Handle, store: &Arc<dyn ObjectStore>, file: &DataFile, rows: &Rows) -> Result<bool> {
    let found = file.index.try_runs(store, &file.location, file.size_bytes);
    match runtime.block_on(found)? {
        None => Ok(false),
        Some(runs) if runs == rows.runs => Ok(true),
        Some(_) => Err(Error::corrupt("the trace index does not agree with the rows")),
    }
}

async fn crc(store: &Arc<dyn ObjectStore>, file: &DataFile) -> Result<u32> {
    let mut crc = 0;
    let mut at = 0;
    while at < file.size_bytes {
        let step = at..file.size_bytes.min(at + STEP_BYTES);
        let bytes = store.get_range(&file.location, step.clone()).await.map_err(|error| failed(file, error))?;
        crc = crc32c::crc32c_append(crc, &bytes);
        at = step.end;
    }
    Ok(crc)
}

fn read_rows(
    runtime: &Handle,
    store: &Arc<dyn ObjectStore>,
    file: &DataFile,
    columns: Option<&[String]>,
) -> Result<Rows> {
    let mut input = match columns {
        Some(columns) => FileInput::open_columns(runtime, store, file, columns)?,
        None => FileInput::open(runtime, store, file)?,
    };
    let mut rows = Rows::default();
    while let Some(batch) = input.next()? {
        rows.add(&batch)?;
    }
    Ok(rows)
}

impl Rows {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let starts = batch.column_by_name(START_NS).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let traces = batch.column_by_name(TRACE_ID).and_then(|column| column.as_fixed_size_binary_opt());
        let (Some(starts), Some(traces)) = (starts, traces) else {
            return Err(Error::internal("a batch of spans lacks its start times or trace ids"));
        };
        for (row, start) in starts.values().iter().enumerate() {
            let (least, most) = self.starts_ns.unwrap_or((*start, *start));
            self.starts_ns = Some((least.min(*start), most.max(*start)));
            let number = u32::try_from(self.count + row as u64).unwrap_or(u32::MAX);
            let trace = traces.value(row);
            match self.runs.last_mut() {
                Some(run) if self.last_trace == trace => run.rows.end = number + 1,
                _ => {
                    self.last_trace = trace.to_vec();
                    self.runs.push(FileRun { hash: TraceHash::of(trace).upper(), rows: number..number + 1 });
                }
            }
        }
        self.count += batch.num_rows() as u64;
        Ok(())
    }
}

/// What is lost with a file: all of it, with the services that can still be read.
pub(super) fn loss_of(runtime: &Handle, store: &Arc<dyn ObjectStore>, file: &DataFile) -> Loss {
    let lost = Loss { spans: Some(file.rows), ..Loss::default() };
    let mut lost = lost.between((file.min_start_ns, file.max_start_ns));
    let opened = FileInput::open_columns(runtime, store, file, &[SERVICE_NAME.to_owned()]);
    let Ok(mut input) = opened else { return lost };
    // Whatever comes before the damage.
    while let Ok(Some(batch)) = input.next() {
        lost.add_services(services(&batch));
    }
    lost
}

fn failed(file: &DataFile, error: StoreError) -> Error {
    Error::new(Kind::Io, format!("cannot read {}: {error}", file.location)).with_source(error)
}
