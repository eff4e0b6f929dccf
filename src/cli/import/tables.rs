//! Tables of spans, as Parquet files and as Delta tables of them.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use deltalake_core::open_table;
use indicatif::ProgressBar;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message;
use tokio::runtime::Handle;
use url::Url;

use super::form::Format;
use super::record::{Content, Item, Place, Record};
use super::records::{Reading, Sink};
use crate::error::{Error, Result};
use crate::formats::columns::{Mapping, SpanTable, known_mapping};
use crate::formats::{is_span_table, rows_to_request};

/// Rows that become a request.
const ROWS_TOGETHER: usize = 1_000;

/// Reads a Parquet file's rows into `sink`, many a record.
pub(super) fn read_parquet(path: &Path, reading: &Reading, bar: &ProgressBar, sink: Sink<'_>) -> Result<()> {
    if path.as_os_str() == "-" {
        return Err(Error::bad_input("a Parquet file cannot be read from standard input: its end comes first"));
    }
    let before = bar.position();
    let size_bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    read_file(path, &HashMap::new(), reading, sink, &|part| {
        bar.set_position(before + (size_bytes as f64 * part) as u64)
    })?;
    bar.set_position(before + size_bytes);
    Ok(())
}

/// Reads the rows of a Delta table in the file system. Must run beside a Tokio runtime, and not on it.
pub(super) fn read_delta(
    path: &Path,
    reading: &Reading,
    bar: &ProgressBar,
    runtime: &Handle,
    sink: Sink<'_>,
) -> Result<()> {
    let wrong = |why: String| Error::bad_input(format!("it cannot be read as a Delta table: {why}"));
    let root = path.canonicalize().map_err(|error| wrong(error.to_string()))?;
    let url = Url::from_directory_path(&root).map_err(|()| wrong("its path is no URL".to_owned()))?;
    let table = runtime.block_on(open_table(url)).map_err(|error| wrong(error.to_string()))?;
    let state = table.snapshot().map_err(|error| wrong(error.to_string()))?;
    if state.metadata().configuration().get("delta.columnMapping.mode").is_some_and(|mode| mode != "none") {
        return Err(wrong("its columns have other names in its files (delta.columnMapping.mode)".to_owned()));
    }
    let mut files = Vec::new();
    for view in state.log_data() {
        if view.deletion_vector_descriptor().is_some() {
            let hint = "rewrite the table without them (REORG TABLE … APPLY (PURGE))";
            return Err(wrong(format!("{} has a deletion vector", view.path())).with_hint(hint));
        }
        files.push((
            root.join(view.object_store_path().as_ref()),
            view.size().unsigned_abs(),
            view.partition_values_map(),
        ));
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    bar.inc_length(files.iter().map(|(_, size_bytes, _)| size_bytes).sum());
    for (file, size_bytes, partition) in files {
        let named = |error: Error| Error::bad_input(format!("{}: {error}", file.display()));
        read_file(&file, &partition, reading, sink, &|_| {}).map_err(|error| match error.kind {
            crate::error::Kind::BadInput => named(error),
            _ => error,
        })?;
        bar.inc(size_bytes);
    }
    Ok(())
}

/// Reads a file's rows, to which `constants` are added as columns.
fn read_file(
    path: &Path,
    constants: &HashMap<String, Option<String>>,
    reading: &Reading,
    sink: Sink<'_>,
    progress: &dyn Fn(f64),
) -> Result<()> {
    let wrong = |error: &dyn std::fmt::Display| Error::bad_input(format!("it cannot be read as Parquet: {error}"));
    let file = File::open(path).map_err(|error| Error::bad_input(format!("it cannot be read: {error}")))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| wrong(&error))?;
    let rows_in_all = builder.metadata().file_metadata().num_rows().max(1);
    let schema = with_columns(builder.schema(), constants);
    let table = Table::of(&schema, reading)?;
    let batches = builder.with_batch_size(ROWS_TOGETHER).build().map_err(|error| wrong(&error))?;
    let (mut first_row, mut record) = (1, 0);
    for batch in batches {
        record += 1;
        let place = Place { record, row: Some(first_row), ..Place::default() };
        let batch = batch.map_err(|error| wrong(&error)).and_then(|batch| with_values(&batch, &schema, constants))?;
        let rows = batch.num_rows() as u64;
        let payload = match table.convert(&batch, first_row, path, sink) {
            Ok(payload) => payload,
            Err(error) => {
                sink(Item::Broken { file: path.to_owned(), place, why: format!("{rows} rows from here: {error}") })?;
                Bytes::new()
            }
        };
        if !payload.is_empty() {
            sink(Item::Record(Record { file: path.to_owned(), place, content: Content::Protobuf, payload }))?;
        }
        first_row += rows;
        progress(first_row as f64 / rows_in_all as f64);
    }
    Ok(())
}

/// What a table is read as.
enum Table {
    /// The relation `traces.spans`, which loses nothing.
    Ours,
    Mapped(SpanTable),
}

impl Table {
    fn of(schema: &Schema, reading: &Reading) -> Result<Self> {
        let mapped = |mapping: &Mapping| SpanTable::new(mapping, schema).map(Self::Mapped);
        if let Some(mapping) = &reading.mapping {
            return mapped(mapping);
        }
        match (reading.format, known_mapping(schema)) {
            (Some(Format::Clickhouse), _) => mapped(&Mapping::clickhouse()),
            (Some(Format::Greptimedb), _) => mapped(&Mapping::greptime()),
            (None | Some(Format::Spanhouse), _) if is_span_table(schema) => Ok(Self::Ours),
            (None, Some((mapping, _))) => mapped(&mapping),
            (Some(Format::Spanhouse), _) => Err(Error::bad_input("it has not the columns of traces.spans")),
            _ => {
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                let what = format!("it is a table with columns that are not known: {}", names.join(", "));
                Err(Error::bad_input(what).with_hint("say what they are with --map COLUMN=FIELD,… or --map-file FILE"))
            }
        }
    }

    /// The rows as a request; those that are no spans go into `sink` as refused.
    fn convert(&self, batch: &RecordBatch, first_row: u64, path: &Path, sink: Sink<'_>) -> Result<Bytes> {
        match self {
            Self::Ours => rows_to_request(batch).map(Bytes::from),
            Self::Mapped(table) => {
                let converted = table.convert(batch, first_row)?;
                for refused in converted.refused {
                    let row = refused.place.trim_start_matches("row ").parse().ok();
                    let place = Place { row, ..Place::default() };
                    sink(Item::Refused { file: path.to_owned(), place, why: refused.why })?;
                }
                Ok(Bytes::from(converted.request.encode_to_vec()))
            }
        }
    }
}

/// The columns of a partition are in a table's log and not in its files.
fn with_columns(schema: &Arc<Schema>, constants: &HashMap<String, Option<String>>) -> Arc<Schema> {
    let mut fields = schema.fields().to_vec();
    let mut names: Vec<&String> = constants.keys().filter(|name| schema.column_with_name(name).is_none()).collect();
    names.sort();
    fields.extend(names.into_iter().map(|name| Arc::new(Field::new(name, DataType::Utf8, true))));
    Arc::new(Schema::new(fields))
}

fn with_values(
    batch: &RecordBatch,
    schema: &Arc<Schema>,
    constants: &HashMap<String, Option<String>>,
) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    for field in schema.fields().iter().skip(columns.len()) {
        let value = constants.get(field.name()).cloned().flatten();
        columns.push(Arc::new(StringArray::from(vec![value; batch.num_rows()])) as ArrayRef);
    }
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| Error::bad_input(error.to_string()))
}
