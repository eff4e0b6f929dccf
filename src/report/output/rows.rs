//! Every row of a result, for programs: CSV, NDJSON, Parquet.

use bytes::Bytes;

use super::page::Page;
use crate::error::Result;
use crate::render::{Format, RenderOptions, Writer};

/// Writes the rows with times in the zone of the page, where the format has no instants.
pub(super) fn render(format: Format, page: &Page<'_>) -> Result<Bytes> {
    let options = RenderOptions { zone: page.zone.name().to_owned(), ..RenderOptions::default() };
    let mut writer = Writer::new(format, page.frame.schema.clone(), &options, Vec::new())?;
    for batch in &page.frame.batches {
        writer.batch(batch)?;
    }
    let (_, bytes) = writer.finish()?;
    Ok(Bytes::from(bytes))
}
