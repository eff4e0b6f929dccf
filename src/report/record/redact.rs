//! Takes texts out of tables, wherever in a row they stand.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StringViewArray, StructArray,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;

use super::files::{NewFile, batches, columns, damaged, open};
use super::folder::TablesFolder;
use super::held::Held;
use super::manifest::{FileEntry, Manifest, sync_folder};
use crate::error::{Error, Result};
use crate::report::deadline::Deadline;

/// What becomes of a text; `None` leaves it.
pub(in crate::report) type Edit<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Puts what `edit` makes of texts in their place in all tables, each table whole or not at all, and gives how many texts that are. With
/// `dry_run` nothing is changed.
pub(in crate::report) fn redact(tables: &TablesFolder, edit: Edit<'_>, dry_run: bool) -> Result<u64> {
    tables.folders().iter().map(|table| redact_table(tables, table, edit, dry_run)).sum()
}

fn redact_table(tables: &TablesFolder, table: &str, edit: Edit<'_>, dry_run: bool) -> Result<u64> {
    if Manifest::read(&tables.folder_of(table))?.is_none() {
        return Ok(0);
    }
    let held = Held::take(tables, table, &Deadline::never())?;
    let Some(before) = Manifest::read(held.folder())? else { return Ok(0) };
    let (mut files, mut texts, mut written) = (Vec::new(), 0, 0);
    for file in &before.files {
        let found = count(&held, file, edit)?;
        texts += found;
        files.push(match found > 0 && !dry_run {
            true => rewrite(&held, file, before.next_file(written), edit)?,
            false => file.clone(),
        });
        written += usize::from(found > 0);
    }
    if files != before.files {
        sync_folder(held.folder()).map_err(|error| held.failed(error))?;
        before.next(files).write(held.folder())?;
    }
    Ok(texts)
}

fn count(held: &Held, file: &FileEntry, edit: Edit<'_>) -> Result<u64> {
    let mut texts = 0;
    for batch in batches(held.folder(), file, None)? {
        texts += redacted_rows(&batch?, edit)?.1;
    }
    Ok(texts)
}

fn rewrite(held: &Held, file: &FileEntry, name: String, edit: Edit<'_>) -> Result<FileEntry> {
    let folder = held.folder();
    let opened = open(folder, file)?.ok_or_else(|| damaged(&folder.join(&file.name), &"it is not there"))?;
    let mut into = NewFile::create(folder, name, columns(folder, file, &opened)?)?;
    for batch in batches(folder, file, None)? {
        into.write(&redacted_rows(&batch?, edit)?.0)?;
    }
    into.finish()
}

/// The rows, and how many of their texts are others.
fn redacted_rows(rows: &RecordBatch, edit: Edit<'_>) -> Result<(RecordBatch, u64)> {
    let mut texts = 0;
    let columns = rows.columns().iter().map(|column| redacted(column, edit, &mut texts));
    let columns = columns.collect::<std::result::Result<Vec<_>, ArrowError>>().map_err(wrong)?;
    Ok((RecordBatch::try_new(rows.schema(), columns).map_err(wrong)?, texts))
}

fn wrong(error: ArrowError) -> Error {
    Error::internal(format!("rows that cannot be redacted: {error}"))
}

/// The values, with texts edited within lists, structures and maps as well. Tables keep no other kinds of text.
fn redacted(values: &ArrayRef, edit: Edit<'_>, texts: &mut u64) -> std::result::Result<ArrayRef, ArrowError> {
    Ok(match values.data_type() {
        DataType::Utf8View => {
            let mut row = |text: Option<&str>| {
                let edited = edit(text?);
                *texts += u64::from(edited.is_some());
                edited.or_else(|| text.map(str::to_owned))
            };
            Arc::new(values.as_string_view().iter().map(&mut row).collect::<StringViewArray>())
        }
        DataType::List(field) => {
            let list = values.as_list::<i32>();
            let items = redacted(list.values(), edit, texts)?;
            Arc::new(ListArray::try_new(field.clone(), list.offsets().clone(), items, list.nulls().cloned())?)
        }
        DataType::Struct(_) => Arc::new(redacted_struct(values.as_struct(), edit, texts)?),
        DataType::Map(field, is_sorted) => {
            let map = values.as_map();
            let entries = redacted_struct(map.entries(), edit, texts)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, *is_sorted)?)
        }
        _ => values.clone(),
    })
}

fn redacted_struct(
    values: &StructArray,
    edit: Edit<'_>,
    texts: &mut u64,
) -> std::result::Result<StructArray, ArrowError> {
    let columns = values.columns().iter().map(|column| redacted(column, edit, texts));
    let columns = columns.collect::<std::result::Result<Vec<_>, ArrowError>>()?;
    StructArray::try_new(values.fields().clone(), columns, values.nulls().cloned())
}
