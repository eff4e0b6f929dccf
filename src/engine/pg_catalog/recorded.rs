//! What describes the tables that reports keep: they come while the engine runs, so that their rows are made for each statement, like those
//! of the relations that are always there.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int16Array, Int32Array, RecordBatch, StringArray, UInt32Array,
};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::UInt32Type;
use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use xxhash_rust::xxh3::xxh3_64;

use super::reg::Objects;
use super::relations::replace;
use crate::engine::catalog::{REPORTS, SYSTEM};
use crate::engine::computed::Computed;
use crate::pg::PgType;

/// A relation that is always there and is like those of reports.
const LIKE: (&str, &str) = (SYSTEM, "files");

/// A table's OID: a number that its name always gives, above those of relations that are always there and below those of roles.
pub(super) fn oid(name: &str) -> u32 {
    const ABOVE: u32 = 0x2000_0000;
    (xxh3_64(name.as_bytes()) as u32 & (ABOVE - 1)) | ABOVE
}

/// `pg_attribute` and `pg_tables`, which have `fixed` rows, with those of recorded tables.
pub(super) fn tables(
    objects: &Arc<Objects>,
    fixed: impl Fn(&str) -> Option<RecordBatch>,
) -> Vec<(&'static str, Arc<dyn TableProvider>)> {
    let with = |name: &'static str, more: fn(&RecordBatch, &Objects) -> Result<Option<RecordBatch>>| {
        let (batch, objects) = (fixed(name)?, objects.clone());
        let table = Computed::table(batch.schema(), move |_, _| joined(&batch, more(&batch, &objects)?));
        Some((name, table))
    };
    with("pg_attribute", attributes).into_iter().chain(with("pg_tables", listed)).collect()
}

/// The batch with more rows.
fn joined(batch: &RecordBatch, more: Option<RecordBatch>) -> Result<RecordBatch> {
    Ok(match more {
        Some(more) => concat_batches(&batch.schema(), [batch, &more])?,
        None => batch.clone(),
    })
}

/// `pg_class` with the rows of recorded tables.
pub(super) fn with_classes(classes: &RecordBatch, objects: &Objects) -> Result<RecordBatch> {
    let tables = objects.recorded.listed();
    let known = classes.column_by_name("oid").map(|oids| oids.as_primitive::<UInt32Type>().values().to_vec());
    let like = objects.relation(LIKE.0, LIKE.1);
    let row = known.unwrap_or_default().iter().position(|oid| Some(*oid) == like);
    let (false, Some(row)) = (tables.is_empty(), row) else { return Ok(classes.clone()) };
    let oids: UInt32Array = tables.iter().map(|(name, _)| Some(oid(name))).collect();
    let counts = tables.iter().map(|(_, columns)| i16::try_from(columns.fields().len()).unwrap_or(i16::MAX));
    let values: [(&str, ArrayRef); 4] = [
        ("oid", Arc::new(oids)),
        ("relname", Arc::new(StringArray::from_iter_values(tables.iter().map(|(name, _)| name)))),
        ("relnamespace", Arc::new(UInt32Array::from(vec![objects.namespace(REPORTS); tables.len()]))),
        ("relnatts", Arc::new(counts.collect::<Int16Array>())),
    ];
    joined(classes, Some(like_row(classes, &vec![row; tables.len()], &values)?))
}

/// The columns of recorded tables as `pg_attribute` has them.
fn attributes(fixed: &RecordBatch, objects: &Objects) -> Result<Option<RecordBatch>> {
    let Some(types) = fixed.column_by_name("atttypid").map(|types| types.as_primitive::<UInt32Type>().values()) else {
        return Ok(None);
    };
    let (mut rows, mut relations, mut names, mut numbers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut type_oids, mut modifiers) = (Vec::new(), Vec::new());
    for (table, columns) in objects.recorded.listed() {
        for (number, field) in (1_i16..).zip(columns.fields()) {
            let pg_type = PgType::of(field.data_type());
            // Another column of the type says how long its values are, and how they lie.
            rows.push(types.iter().position(|known| *known == pg_type.oid()).unwrap_or_default());
            relations.push(oid(&table));
            names.push(field.name().clone());
            numbers.push(number);
            type_oids.push(pg_type.oid());
            modifiers.push(pg_type.modifier());
        }
    }
    if rows.is_empty() || fixed.num_rows() == 0 {
        return Ok(None);
    }
    let values: [(&str, ArrayRef); 6] = [
        ("attrelid", Arc::new(UInt32Array::from(relations))),
        ("attname", Arc::new(StringArray::from(names))),
        ("attnum", Arc::new(Int16Array::from(numbers))),
        ("atttypid", Arc::new(UInt32Array::from(type_oids))),
        ("atttypmod", Arc::new(Int32Array::from(modifiers))),
        ("attnotnull", Arc::new(BooleanArray::from(vec![false; rows.len()]))),
    ];
    like_row(fixed, &rows, &values).map(Some)
}

/// The recorded tables as `pg_tables` has them.
fn listed(fixed: &RecordBatch, objects: &Objects) -> Result<Option<RecordBatch>> {
    let tables = objects.recorded.listed();
    if tables.is_empty() || fixed.num_rows() == 0 {
        return Ok(None);
    }
    let values: [(&str, ArrayRef); 2] = [
        ("schemaname", Arc::new(StringArray::from(vec![REPORTS; tables.len()]))),
        ("tablename", Arc::new(StringArray::from_iter_values(tables.iter().map(|(name, _)| name)))),
    ];
    like_row(fixed, &vec![0; tables.len()], &values).map(Some)
}

/// Copies of rows, with other values in some columns.
fn like_row(batch: &RecordBatch, rows: &[usize], values: &[(&str, ArrayRef)]) -> Result<RecordBatch> {
    let rows: UInt32Array = rows.iter().map(|row| u32::try_from(*row).ok()).collect();
    replace(&take_record_batch(batch, &rows)?, values)
}

/// The name of the table with an OID.
pub(super) fn of_oid(objects: &Objects, wanted: u32) -> Option<String> {
    objects.recorded.listed().into_iter().map(|(name, _)| name).find(|name| oid(name) == wanted)
}
