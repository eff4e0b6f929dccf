//! The pages that the Parquet reader takes out of a row group, unpacked by us and kept in memory.
//!
//!     page:  head (Thrift, compact)                                    values and levels
//!            15 kind │ 15 unpacked bytes │ 15 packed bytes │ …         one zstd frame
//!
//! Numbers of a head are 32 bits, zigzag, as varints. An unpacked page is the same head with the values and levels behind it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Cursor, Empty};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::parquet::errors::{ParquetError, Result};
use datafusion::parquet::file::reader::{ChunkReader, Length};
use zstd::bulk::Decompressor;

use super::cache::{ColumnCache, PageKey};

/// A page with its head.
#[derive(Debug, Clone)]
pub(super) enum Page {
    Packed(Bytes),
    Plain(Bytes),
}

/// Pages of a file, by where they begin. All that is taken of them must be among them.
#[derive(Debug)]
pub(super) struct Pages {
    pub file: Arc<str>,
    pub file_bytes: u64,
    pub by_start: HashMap<u64, Page>,
    pub cache: Arc<ColumnCache>,
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Pages {
    type T = Empty;

    /// Reads from a place to wherever: what is asked of files that do not tell where pages lie.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        Err(ParquetError::General(format!("{}: no page is known at byte {start}", self.file)))
    }

    fn get_bytes(&self, start: u64, _length: usize) -> Result<Bytes> {
        match self.by_start.get(&start) {
            Some(Page::Plain(page)) => Ok(page.clone()),
            Some(Page::Packed(page)) => {
                let page = unpacked(page)?;
                self.cache.insert_page(PageKey { file: self.file.clone(), start }, page.clone());
                Ok(page)
            }
            None => Err(ParquetError::General(format!("{}: the page at byte {start} was not read", self.file))),
        }
    }
}

thread_local! {
    /// Making one costs as much as unpacking a page.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn unpacked(page: &[u8]) -> Result<Bytes> {
    let head = Head::of(page).ok_or_else(|| ParquetError::General("a page without a head".to_owned()))?;
    let (head_bytes, packed) = page.split_at(page.len() - head.packed_bytes);
    let size_bytes = head_bytes.len() + head.unpacked_bytes;
    let mut whole = Vec::with_capacity(size_bytes);
    whole.extend_from_slice(head_bytes);
    // A page of NULLs may have no bytes at all.
    if head.unpacked_bytes > 0 {
        let mut behind_head = Cursor::new(&mut whole);
        behind_head.set_position(head_bytes.len() as u64);
        DECOMPRESSOR.with_borrow_mut(|decompressor| -> Result<()> {
            let decompressor = match decompressor {
                Some(known) => known,
                None => decompressor.insert(Decompressor::new()?),
            };
            decompressor.decompress_to_buffer(packed, &mut behind_head)?;
            Ok(())
        })?;
    }
    match whole.len() == size_bytes {
        true => Ok(whole.into()),
        false => Err(ParquetError::General(format!("a page has {} bytes instead of {size_bytes}", whole.len()))),
    }
}

/// What the beginning of a page's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    unpacked_bytes: usize,
    packed_bytes: usize,
}

/// The number before a field: one more than that of the field before, and 32 bits.
const NEXT_I32: u8 = 0x15;
/// The most bytes that a page may unpack to: the largest of ours are far below, and a damaged number must not reserve memory.
const MOST_BYTES: usize = 1 << 30;
/// Kinds of pages that are packed whole: data of the first version, and dictionaries.
const PACKED_WHOLE: [i32; 2] = [0, 2];

impl Head {
    fn of(page: &[u8]) -> Option<Self> {
        let mut rest = page;
        let kind = next_i32(&mut rest)?;
        let mut bytes = || usize::try_from(next_i32(&mut rest)?).ok();
        let head = Self { unpacked_bytes: bytes()?, packed_bytes: bytes()? };
        let fits = head.packed_bytes <= rest.len() && head.unpacked_bytes <= MOST_BYTES;
        (fits && PACKED_WHOLE.contains(&kind)).then_some(head)
    }
}

fn next_i32(bytes: &mut &[u8]) -> Option<i32> {
    let (NEXT_I32, rest) = bytes.split_first().map(|(first, rest)| (*first, rest))? else { return None };
    let mut value = 0_u32;
    for (at, byte) in rest.iter().enumerate().take(5) {
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *bytes = &rest[at + 1..];
            return Some((value >> 1) as i32 ^ -((value & 1) as i32));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(out: &mut Vec<u8>, value: i32) {
        let mut value = ((value << 1) ^ (value >> 31)) as u32;
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn page(kind: i32, unpacked_bytes: usize, packed: &[u8]) -> Vec<u8> {
        let mut page = Vec::new();
        for number in [kind, unpacked_bytes as i32, packed.len() as i32] {
            page.push(NEXT_I32);
            varint(&mut page, number);
        }
        page.extend([0x2c, 0x15, 0x02, 0]);
        page.extend(packed);
        page
    }

    #[test]
    fn an_unpacked_page_is_the_same_head_and_the_content() {
        for bytes in [1_usize, 100, 70_000] {
            let content: Vec<u8> = (0..bytes).map(|n| (n / 3) as u8).collect();
            let packed = zstd::bulk::compress(&content, 1).expect("packed");
            for kind in PACKED_WHOLE {
                let page = page(kind, bytes, &packed);
                let head_bytes = page.len() - packed.len();
                let whole = unpacked(&page).expect("unpacked");
                assert_eq!(whole[..head_bytes], page[..head_bytes]);
                assert_eq!(whole[head_bytes..], content);
            }
        }
        assert_eq!(unpacked(&page(0, 0, &[])).expect("no content"), page(0, 0, &[]));
    }

    #[test]
    fn damaged_pages_are_errors() {
        let content = vec![7; 1000];
        let packed = zstd::bulk::compress(&content, 1).expect("packed");
        let good = page(0, 1000, &packed);
        for cut in 0..good.len() {
            assert!(unpacked(&good[..cut]).is_err(), "cut at {cut}");
        }
        for (kind, bytes) in [(3, 1000), (1, 1000), (0, 999), (0, 1001), (0, MOST_BYTES + 1)] {
            assert!(unpacked(&page(kind, bytes, &packed)).is_err(), "{kind}, {bytes} bytes");
        }
        assert!(unpacked(&page(0, 1000, &[1, 2, 3])).is_err());
    }
}
