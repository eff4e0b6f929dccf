//! Columns of 64-bit numbers that are packed plane by plane.
//!
//! A page of such a column is `BYTE_STREAM_SPLIT`: eight planes, the first bytes of all values, then the second ones, and so on. The low
//! planes of a time are random and the high ones hardly change, so that one table of codes for all of them serves none. Here each plane
//! becomes a zstd block of its own, with a table of its own, in one frame: what any reader of Parquet unpacks. The Parquet library
//! compresses a page as it sees fit, so it gets the column uncompressed, and its pages are packed on their way into the chunk.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::column::writer::{ColumnCloseResult, ColumnWriter, ColumnWriterImpl, get_column_writer};
use parquet::data_type::Int64Type;
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::zstd_safe::{
    CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, SafeResult, compress_bound, get_error_name,
};

/// The planes of a page: one for each byte of a value.
const PLANES: usize = size_of::<i64>();
/// What a block adds to what zstd reckons for a page as a whole, and more: a head of three bytes.
const BLOCK_HEAD_BYTES: usize = 8;

/// Writes one chunk of a column of numbers that are never null.
pub(super) struct PlaneColumn {
    writer: ColumnWriterImpl<'static, Int64Type>,
    chunk: Chunk,
}

/// A finished chunk and what the file's metadata says of it.
pub(super) struct PlaneChunk {
    pub bytes: Bytes,
    pub close: ColumnCloseResult,
}

/// What has been written of a chunk: the column's writer owns its pages' writer and does not give it back.
type Chunk = Arc<Mutex<TrackedWrite<Vec<u8>>>>;

impl PlaneColumn {
    /// Begins a chunk, packed at a level of zstd. The properties must leave the column uncompressed and `BYTE_STREAM_SPLIT`.
    pub(super) fn new(column: ColumnDescPtr, properties: WriterPropertiesPtr, level: i32) -> Result<Self> {
        let chunk = Chunk::new(Mutex::new(TrackedWrite::new(Vec::new())));
        let pages = PlanePages { chunk: chunk.clone(), packer: Packer::new(level)? };
        match get_column_writer(column, properties, Box::new(pages)) {
            ColumnWriter::Int64ColumnWriter(writer) => Ok(Self { writer, chunk }),
            _ => Err(ParquetError::General("only 64-bit numbers have eight planes".to_owned())),
        }
    }

    pub(super) fn write(&mut self, values: &[i64]) -> Result<()> {
        self.writer.write_batch(values, None, None).map(|_| ())
    }

    /// The bytes of the pages that are finished.
    pub(super) fn written_bytes(&self) -> usize {
        usize::try_from(self.writer.get_total_bytes_written()).unwrap_or(usize::MAX)
    }

    pub(super) fn close(self) -> Result<PlaneChunk> {
        let mut close = self.writer.close()?;
        close.metadata =
            close.metadata.into_builder().set_compression(Compression::ZSTD(Default::default())).build()?;
        let chunk = Arc::into_inner(self.chunk)
            .ok_or_else(|| ParquetError::General("a closed column still writes pages".to_owned()))?;
        let bytes = chunk.into_inner().unwrap_or_else(PoisonError::into_inner).into_inner()?;
        Ok(PlaneChunk { bytes: bytes.into(), close })
    }
}

/// Packs pages and puts them into the chunk.
struct PlanePages {
    chunk: Chunk,
    packer: Packer,
}

impl PageWriter for PlanePages {
    fn write_page(&mut self, page: CompressedPage) -> Result<PageWriteSpec> {
        let uncompressed_bytes = page.uncompressed_size();
        let mut packed = page.compressed_page().clone();
        match &mut packed {
            Page::DataPage { buf, .. } => *buf = self.packer.pack(page.data())?.into(),
            // Both have parts that must stay as they are, and such a column has neither.
            Page::DataPageV2 { .. } | Page::DictionaryPage { .. } => {
                return Err(ParquetError::General("a column of planes has only plain data pages".to_owned()));
            }
        }
        let mut chunk = self.chunk.lock().unwrap_or_else(PoisonError::into_inner);
        SerializedPageWriter::new(&mut chunk).write_page(CompressedPage::new(packed, uncompressed_bytes))
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Compresses pages, each as a frame of a block for each plane.
struct Packer {
    context: CCtx<'static>,
}

impl Packer {
    fn new(level: i32) -> Result<Self> {
        let mut context =
            CCtx::try_create().ok_or_else(|| ParquetError::General("no memory for a compressor".to_owned()))?;
        checked(context.set_parameter(CParameter::CompressionLevel(level)))?;
        Ok(Self { context })
    }

    fn pack(&mut self, page: &[u8]) -> Result<Vec<u8>> {
        checked(self.context.reset(ResetDirective::SessionOnly))?;
        // With the length known, the frame says it, and tables are no larger than a page needs.
        checked(self.context.set_pledged_src_size(Some(page.len() as u64)))?;
        let mut packed = Vec::with_capacity(compress_bound(page.len()) + PLANES * BLOCK_HEAD_BYTES);
        let mut out = OutBuffer::around(&mut packed);
        for plane in page.chunks(page.len().div_ceil(PLANES).max(1)) {
            let mut input = InBuffer::around(plane);
            checked(self.context.compress_stream(&mut out, &mut input))?;
            let left = checked(self.context.flush_stream(&mut out))?;
            if left > 0 || input.pos() < plane.len() {
                return Err(ParquetError::General(format!("{left} bytes of a page found no room")));
            }
        }
        match checked(self.context.end_stream(&mut out))? {
            0 => Ok(packed),
            left => Err(ParquetError::General(format!("{left} bytes of a page found no room"))),
        }
    }
}

fn checked(result: SafeResult) -> Result<usize> {
    result.map_err(|code| ParquetError::General(format!("cannot compress a page: {}", get_error_name(code))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planes like those of times, one after the other: random, repeating and constant bytes.
    fn page(rows: usize) -> Vec<u8> {
        let mixed = |row: usize| (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let byte = |plane: usize, row: usize| match plane {
            0..3 => (mixed(row) >> (56 - 8 * plane)) as u8,
            3 => (mixed(row / 5) >> 32) as u8 & 0x3f,
            _ => plane as u8,
        };
        (0..PLANES).flat_map(|plane| (0..rows).map(move |row| byte(plane, row))).collect()
    }

    #[test]
    fn a_page_is_one_frame_that_says_its_length_and_unpacks_at_once() {
        for level in [1, 12] {
            let mut packer = Packer::new(level).expect("a packer");
            for rows in [8 * 1024, 1, 7, 100, 64 * 1024] {
                let page = page(rows);
                let packed = packer.pack(&page).expect("packed");
                assert_eq!(zstd::zstd_safe::get_frame_content_size(&packed).expect("a frame"), Some(page.len() as u64));
                assert_eq!(zstd::zstd_safe::find_frame_compressed_size(&packed).expect("a frame"), packed.len());
                assert_eq!(
                    zstd::bulk::decompress(&packed, page.len()).expect("unpacked"),
                    page,
                    "level {level}, {rows} rows"
                );
            }
        }
    }

    #[test]
    fn planes_apart_are_smaller_than_a_page_as_one() {
        let page = page(8 * 1024);
        for level in [1, 12] {
            let packed = Packer::new(level).and_then(|mut packer| packer.pack(&page)).expect("packed");
            let whole = zstd::bulk::compress(&page, level).expect("compressed");
            assert!(packed.len() < whole.len(), "level {level}: {} bytes, whole {}", packed.len(), whole.len());
        }
    }

    #[test]
    fn what_cannot_be_compressed_finds_room() {
        let random: Vec<u8> = (0..64 * 1024_u64).map(|n| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()) as u8).collect();
        let packed = Packer::new(12).and_then(|mut packer| packer.pack(&random)).expect("packed");
        assert_eq!(zstd::bulk::decompress(&packed, random.len()).expect("unpacked"), random);
    }
}
