//! What the table's log says of columns and files, as Delta has it and as we have it. Reads and writes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::object_store::path::Path;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::{
    Action, Add, DataType, LogicalFileView, MetadataExt, PrimitiveType, StructField, StructType,
};
use deltalake_core::table::state::DeltaTableState;
use serde_json::{Value, json};

use super::WrittenFile;
use super::data_file::WrittenIndex;
use crate::error::{Error, Result};
use crate::model::promoted::{PromotedColumn, Scalar};
use crate::model::schema::{DATE, DURATION_NS, START_NS, physical_schema};
use crate::store::DataFile;
use crate::store::trace_index::{FileIndex, IndexMemory};

/// Under which key a file's statistics have the CRC32C of its bytes; other programs leave it aside.
const CRC_KEY: &str = "spanhouse.crc32c";

/// The table's columns as Delta has them: ids are `binary`, nanoseconds are `long`.
pub(super) fn table_schema() -> Result<StructType> {
    let schema: StructType = physical_schema()
        .as_ref()
        .try_into_kernel()
        .map_err(|error| Error::internal(format!("the span schema has no form in Delta: {error}")))?;
    let fields = schema.fields().cloned().chain([StructField::nullable(DATE, DataType::DATE)]);
    StructType::try_new(fields).map_err(|error| Error::internal(error.to_string()))
}

/// The change of the table's columns that adds these; `None` when there is nothing to add.
pub(super) fn columns_action(
    delta: &DeltaTableState,
    new: &[&PromotedColumn],
) -> Result<Option<Action>, DeltaTableError> {
    if new.is_empty() {
        return Ok(None);
    }
    let added = new.iter().map(|column| StructField::nullable(column.name(), promoted_type(column.scalar)));
    let schema = StructType::try_new(delta.schema().fields().cloned().chain(added))?;
    Ok(Some(Action::Metadata(delta.metadata().clone().with_schema(&schema)?)))
}

fn promoted_type(scalar: Scalar) -> DataType {
    DataType::Primitive(match scalar {
        Scalar::String => PrimitiveType::String,
        Scalar::Int => PrimitiveType::Long,
        Scalar::Double => PrimitiveType::Double,
        Scalar::Bool => PrimitiveType::Boolean,
    })
}

pub(super) fn add_action(file: &WrittenFile, data_change: bool) -> Action {
    let stats = json!({
        "numRecords": file.rows,
        "minValues": { START_NS: file.min_start_ns },
        "maxValues": { START_NS: file.max_start_ns },
        "nullCount": { START_NS: 0, DURATION_NS: 0 },
        CRC_KEY: file.crc,
    });
    Action::Add(Add {
        path: file.location.clone(),
        partition_values: HashMap::from([(DATE.to_owned(), Some(file.date.clone()))]),
        size: file.size_bytes as i64,
        modification_time: file.written_unix_ms,
        data_change,
        stats: Some(stats.to_string()),
        ..Default::default()
    })
}

pub(super) fn to_data_file(file: &WrittenFile, indexes: &Arc<IndexMemory>) -> Result<DataFile> {
    let WrittenIndex { place, head } = file.index.clone();
    Ok(DataFile {
        location: Path::parse(&file.location).map_err(|error| Error::internal(error.to_string()))?,
        size_bytes: file.size_bytes,
        crc: Some(file.crc),
        rows: file.rows,
        date: file.date.clone(),
        min_start_ns: file.min_start_ns,
        max_start_ns: file.max_start_ns,
        index: FileIndex::written(indexes.clone(), place, head),
        written_unix_ms: file.written_unix_ms,
    })
}

/// Reads an entry of the table's log. Bounds that another writer left out are the widest; a missing row count is an error, since
/// counts are answered from it, and so is a deletion vector.
pub(super) fn from_view(
    place: &str,
    view: &LogicalFileView,
    index_of: impl Fn(&Path) -> FileIndex,
) -> Result<DataFile> {
    let location = view.object_store_path();
    let stats: Value = view.stats().and_then(|stats| serde_json::from_str(&stats).ok()).unwrap_or_default();
    let bound = |side: &str, open: i64| stats[side][START_NS].as_i64().unwrap_or(open);
    let wrong = |what: &str| Error::corrupt(format!("the table {place} has a file {location} without {what}"));
    let date = view.partition_values_map().remove(DATE).flatten();
    if view.deletion_vector_descriptor().is_some() {
        // Its rows would come back: they are not left out here, and the next compaction would keep them.
        return Err(wrong("all of its rows: a deletion vector says which; a table is read without them only"));
    }
    Ok(DataFile {
        size_bytes: u64::try_from(view.size()).map_err(|_| wrong("a size"))?,
        crc: stats[CRC_KEY].as_u64().and_then(|crc| u32::try_from(crc).ok()),
        rows: stats["numRecords"].as_u64().ok_or_else(|| wrong("a row count"))?,
        date: date.ok_or_else(|| wrong("a date"))?,
        min_start_ns: bound("minValues", i64::MIN),
        max_start_ns: bound("maxValues", i64::MAX),
        index: index_of(&location),
        written_unix_ms: view.modification_time(),
        location,
    })
}
