//! Where in a data file its index lies, as the file's footer says it.

use std::ops::{Range, RangeInclusive};

use bytes::Bytes;
use datafusion::object_store::{ObjectStore, ObjectStoreExt, path::Path};
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::ParquetMetaDataReader;
use serde::{Deserialize, Serialize};

use super::layout::Head;
use crate::error::{Error, Kind, Result};

/// The key in the footer's key-value metadata.
pub(crate) const KEY: &str = "spanhouse.trace_index";
/// The layout's version.
const VERSION: u32 = 2;
/// The versions that are read. An index of another version is as good as none.
const READ_VERSIONS: RangeInclusive<u32> = 1..=VERSION;
/// What is read of a file's end in the hope that the footer is in it: that of a row group takes some 10 KiB.
const FOOTER_GUESS_BYTES: usize = 64 << 10;

/// Byte positions in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub blocks: Range<u64>,
    pub head: Range<u64>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    offset: u64,
    blocks_bytes: u64,
    head_bytes: u64,
}

impl Place {
    /// The place of an index that begins at `offset`.
    pub(crate) fn at(offset: u64, head: &Head) -> Self {
        let blocks = offset..offset + head.blocks_bytes();
        let head = blocks.end..blocks.end + head.size_bytes() as u64;
        Self { blocks, head }
    }

    /// The place of a file's index and the file's rows, from its footer; `None` when there is no index that this program reads.
    pub(crate) async fn of_file(
        store: &dyn ObjectStore,
        location: &Path,
        size_bytes: u64,
    ) -> Result<Option<(Self, i64)>> {
        let footer = ParquetMetaDataReader::new()
            .with_prefetch_hint(Some(FOOTER_GUESS_BYTES))
            .load_and_finish(FileRead { store, location }, size_bytes)
            .await
            .map_err(|error| Error::new(Kind::Io, format!("cannot read the footer of {location}: {error}")))?;
        let file = footer.file_metadata();
        let entry = file.key_value_metadata().into_iter().flatten().find(|entry| entry.key == KEY);
        let place = entry.and_then(|entry| entry.value.as_deref()).and_then(|text| Self::parse(text, size_bytes));
        Ok(place.map(|place| (place, file.num_rows())))
    }

    /// The value of the footer's entry.
    pub(crate) fn to_text(&self) -> String {
        let Self { blocks, head } = self;
        let entry = Entry {
            version: VERSION,
            offset: blocks.start,
            blocks_bytes: blocks.end - blocks.start,
            head_bytes: head.end - head.start,
        };
        serde_json::to_string(&entry).unwrap_or_default()
    }

    /// Reads the footer's entry in a file of `file_bytes`; `None` for what is no place in it, or of another version.
    pub(crate) fn parse(text: &str, file_bytes: u64) -> Option<Self> {
        let entry: Entry =
            serde_json::from_str(text).ok().filter(|entry: &Entry| READ_VERSIONS.contains(&entry.version))?;
        let head_start = entry.offset.checked_add(entry.blocks_bytes)?;
        let end = head_start.checked_add(entry.head_bytes).filter(|end| *end <= file_bytes)?;
        Some(Self { blocks: entry.offset..head_start, head: head_start..end })
    }

    /// What the index takes of the file.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.head.end - self.blocks.start
    }
}

/// Reads of one file, as the Parquet library asks for them.
struct FileRead<'a> {
    store: &'a dyn ObjectStore,
    location: &'a Path,
}

impl MetadataFetch for FileRead<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move { Ok(self.store.get_range(self.location, range).await?) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_and_what_is_outside_the_file_is_none() {
        let place = Place { blocks: 100..150, head: 150..170 };
        let text = place.to_text();
        assert_eq!(text, r#"{"version":2,"offset":100,"blocks_bytes":50,"head_bytes":20}"#);
        assert_eq!(Place::parse(&text, 170), Some(place.clone()));
        assert_eq!(Place::parse(&text.replace("2,", "1,"), 170), Some(place));
        assert_eq!(Place::parse(&text, 169), None);
        for bad in [
            "",
            "{}",
            r#"{"version":3,"offset":100,"blocks_bytes":50,"head_bytes":20}"#,
            r#"{"version":1,"offset":18446744073709551615,"blocks_bytes":50,"head_bytes":20}"#,
            r#"{"version":1,"offset":-1,"blocks_bytes":50,"head_bytes":20}"#,
        ] {
            assert_eq!(Place::parse(bad, u64::MAX), None, "{bad}");
        }
    }
}
