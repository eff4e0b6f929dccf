//! A file's footer for pages that are unpacked before the Parquet reader gets them.
//!
//! The reader makes a compressor and a decompressor for each column that it opens, which costs more than the few pages of a trace. Of
//! columns that are said to be uncompressed it takes pages as they come.

use std::ops::Range;
use std::sync::Arc;

use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use datafusion::parquet::basic::Compression;
use datafusion::parquet::errors::Result;
use datafusion::parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataBuilder, RowGroupMetaData,
};

use super::wide::rows_of_all_columns;

/// What reading a few rows of a file takes. It has no statistics, and so is small beside the file's own footer.
#[derive(Debug)]
pub(super) struct PlainFile {
    /// Says of all columns that they are not compressed.
    pub footer: ArrowReaderMetadata,
    /// How many rows a batch of all columns may have.
    pub most_rows: usize,
    /// For each row group, whether the columns are compressed.
    is_packed: Vec<Vec<bool>>,
}

/// Where a page lies in its file, head included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PagePlace {
    pub bytes: Range<u64>,
    pub is_packed: bool,
}

impl PlainFile {
    /// `None` where columns are compressed by other than zstd, or the file does not tell where pages lie.
    pub(super) fn of(parquet: &ArrowReaderMetadata) -> Result<Option<Self>> {
        let metadata = parquet.metadata();
        let groups = metadata.row_groups();
        let is_known = |chunk: &ColumnChunkMetaData| {
            matches!(chunk.compression(), Compression::ZSTD(_) | Compression::UNCOMPRESSED)
        };
        let Some(places) = metadata.offset_index() else { return Ok(None) };
        let tells_places = groups.len() == places.len()
            && groups.iter().zip(places).all(|(group, places)| group.num_columns() == places.len());
        if !tells_places || !groups.iter().flat_map(RowGroupMetaData::columns).all(is_known) {
            return Ok(None);
        }
        let plain = ParquetMetaDataBuilder::new(plain_head(metadata))
            .set_row_groups(groups.iter().map(plain_group).collect::<Result<_>>()?)
            .set_offset_index(Some(places.clone()))
            .build();
        let options = ArrowReaderOptions::new().with_schema(parquet.schema().clone());
        let is_packed = |chunk: &ColumnChunkMetaData| chunk.compression() != Compression::UNCOMPRESSED;
        Ok(Some(Self {
            footer: ArrowReaderMetadata::try_new(Arc::new(plain), options)?,
            most_rows: rows_of_all_columns(groups),
            is_packed: groups.iter().map(|group| group.columns().iter().map(is_packed).collect()).collect(),
        }))
    }

    /// The pages in which `columns` have `rows` of a row group, with those columns' dictionaries.
    pub(super) fn pages(&self, row_group: usize, columns: &ProjectionMask, rows: &RowSelection) -> Vec<PagePlace> {
        let metadata = self.footer.metadata();
        let Some(places) = metadata.offset_index().and_then(|index| index.get(row_group)) else { return Vec::new() };
        let chunks = metadata.row_group(row_group).columns().iter().zip(places).zip(&self.is_packed[row_group]);
        let wanted = chunks.enumerate().filter(|(leaf, _)| columns.leaf_included(*leaf));
        let of_chunk = wanted.flat_map(|(_, ((chunk, places), is_packed))| {
            let places = places.page_locations();
            let (start, _) = chunk.byte_range();
            let first = places.first().map_or(start, |first| first.offset as u64);
            let dictionary = (start < first).then_some(start..first);
            let pages = dictionary.into_iter().chain(rows.scan_ranges(places));
            pages.map(move |bytes| PagePlace { bytes, is_packed: *is_packed })
        });
        of_chunk.collect()
    }
}

/// What the reader asks of a footer beside its row groups.
fn plain_head(metadata: &ParquetMetaData) -> FileMetaData {
    let of_file = metadata.file_metadata();
    FileMetaData::new(of_file.version(), of_file.num_rows(), None, None, of_file.schema_descr_ptr(), None)
}

fn plain_group(group: &RowGroupMetaData) -> Result<RowGroupMetaData> {
    RowGroupMetaData::builder(group.schema_descr_ptr())
        .set_num_rows(group.num_rows())
        .set_column_metadata(group.columns().iter().map(plain_chunk).collect::<Result<_>>()?)
        .build()
}

fn plain_chunk(chunk: &ColumnChunkMetaData) -> Result<ColumnChunkMetaData> {
    ColumnChunkMetaData::builder(chunk.column_descr_ptr())
        .set_compression(Compression::UNCOMPRESSED)
        .set_num_values(chunk.num_values())
        .set_data_page_offset(chunk.data_page_offset())
        .set_dictionary_page_offset(chunk.dictionary_page_offset())
        .set_total_compressed_size(chunk.compressed_size())
        .build()
}
