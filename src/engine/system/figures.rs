//! A row is a figure of the store, by name.

use std::sync::Arc;

use datafusion::arrow::array::{Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;

use crate::store::{Snapshot, StoreStatus};

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8View, false),
        Field::new("value", DataType::Int64, true),
        Field::new("description", DataType::Utf8View, false),
    ]))
}

/// Name, value, description.
pub(super) type Figure = (&'static str, Option<u64>, &'static str);

pub(super) fn rows(schema: SchemaRef, snapshot: &Snapshot) -> Result<RecordBatch> {
    let mut figures = of_snapshot(snapshot);
    figures.extend(snapshot.status.iter().flat_map(|status| of_process(status)));
    batch(schema, &figures)
}

pub(super) fn batch(schema: SchemaRef, figures: &[Figure]) -> Result<RecordBatch> {
    let names = StringViewArray::from_iter_values(figures.iter().map(|(name, ..)| name));
    let values: Int64Array = figures.iter().map(|(_, value, _)| value.map(|value| value as i64)).collect();
    let descriptions = StringViewArray::from_iter_values(figures.iter().map(|(.., description)| description));
    Ok(RecordBatch::try_new(schema, vec![Arc::new(names), Arc::new(values), Arc::new(descriptions)])?)
}

/// What everybody knows who can read the data directory.
fn of_snapshot(snapshot: &Snapshot) -> Vec<Figure> {
    let files = &snapshot.files;
    let backlog = snapshot.backlog();
    let fresh_rows = snapshot.fresh.iter().map(|batch| batch.num_rows() as u64).sum();
    vec![
        ("table_version", snapshot.table_version, "the table's version; NULL before its first commit"),
        ("table_files", Some(files.len() as u64), "data files in the table"),
        ("table_rows", Some(files.iter().map(|file| file.rows).sum()), "spans in the table"),
        ("table_bytes", Some(files.iter().map(|file| file.size_bytes).sum()), "bytes of the data files"),
        ("fresh_rows", Some(fresh_rows), "spans in the log that are not in the table yet"),
        ("fresh_batches", Some(snapshot.fresh.len() as u64), "batches of such spans in memory"),
        ("backlog_files", Some(backlog.files), "data files that compaction is to merge now"),
        ("backlog_rows", Some(backlog.rows), "spans in such files"),
        (
            "waiting_files",
            Some(backlog.waiting_files),
            "further data files that compaction merges when no file has come into their day for ten minutes",
        ),
        ("waiting_rows", Some(backlog.waiting_rows), "spans in such files"),
        (
            "quarantined_files",
            Some(snapshot.quarantined_files),
            "requests that cannot be stored and damaged files, in the directory quarantine",
        ),
    ]
}

/// What the process knows that writes the data directory, since it opened it.
fn of_process(status: &StoreStatus) -> Vec<Figure> {
    vec![
        ("last_request", Some(status.last_lsn), "the number of the last export in the log"),
        ("sealed_request", Some(status.sealed_lsn), "the number of the last export in the table"),
        ("fresh_bytes", Some(status.fresh_bytes), "memory that fresh spans and exports under way take of its budget"),
        ("log_bytes", Some(status.log_bytes), "bytes of the write-ahead log"),
        ("log_segments", Some(status.log_segments as u64), "files of the write-ahead log"),
        (
            "oldest_fresh_ms",
            status.oldest_fresh_ms,
            "how long the oldest span has waited for the table, in ms; NULL when none waits",
        ),
        ("sealings", Some(status.sealings), "sealings since the start"),
        ("sealed_rows", Some(status.sealed_rows), "spans sealed since the start"),
        ("retries", Some(status.retries), "exports that came again and were not stored twice, since the start"),
        (
            "refused_for_memory",
            Some(status.refused_for_memory),
            "exports refused because memory was full, since the start",
        ),
        ("compactions", Some(status.compactions), "commits of compaction since the start"),
        ("compacted_rows", Some(status.compacted_rows), "spans that compaction wrote since the start"),
        ("compaction_failures", Some(status.compaction_failures), "merges that failed since the start"),
        ("removed_files", Some(status.removed_files), "files that left the table and are not deleted yet"),
        (
            "expired_files",
            Some(status.expired_files),
            "files dropped since the start because all their spans had expired",
        ),
        ("expired_rows", Some(status.expired_rows), "spans that retention rules took out of files since the start"),
        ("deleted_files", Some(status.deleted_files), "files that left the table and were deleted since the start"),
        ("quarantined_requests", Some(status.quarantined_requests), "requests put into quarantine since the start"),
        ("replayed_bytes", Some(status.replayed_bytes), "bytes of the log that the start read"),
        ("replay_ms", Some(status.replay_ms), "milliseconds that this took"),
        ("trace_index_bytes", Some(status.trace_index_bytes), "memory that trace indexes take"),
        (
            "trace_index_failures",
            Some(status.trace_index_failures),
            "lookups that did without a trace index since the start",
        ),
        (
            "cache_bytes",
            status.cache.map(|cache| cache.bytes),
            "disk that parts of a remote table take; NULL for a local one",
        ),
        ("cache_hits", status.cache.map(|cache| cache.hits), "blocks read from the cache since the start"),
        (
            "cache_misses",
            status.cache.map(|cache| cache.misses),
            "blocks fetched from the object store since the start",
        ),
        ("cache_fetched_bytes", status.cache.map(|cache| cache.fetched_bytes), "bytes of such blocks"),
        (
            "cache_damaged",
            status.cache.map(|cache| cache.damaged),
            "damaged blocks that were fetched again since the start",
        ),
    ]
}
