//! A cached block as it lies on disk.
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | `spanblk\n` |
//! | 8–11 | CRC32C of all that follows |
//! | 12–15 | length of the payload |
//! | 16–31 | xxh3-128 of the file's path in the table |
//! | 32–39 | number of the block in the file |
//! | 40–47 | size of the file |
//! | 48–55 | when the file was written, in ms since 1970 |
//! | 56– | payload |
//!
//! All numbers are little-endian. The file is named after path and number, and both are checked again: a file in another's place is damage.

use bytes::Bytes;
use datafusion::object_store::path::Path;
use xxhash_rust::xxh3::xxh3_128;

/// The size of a block: large enough that a request to the store pays, small enough that a lookup of one trace does not keep much else.
pub(super) const BLOCK_BYTES: u64 = 1 << 20;

const MAGIC: &[u8; 8] = b"spanblk\n";
const HEAD_BYTES: usize = 56;
const CHECKED_FROM: usize = 12;
const SUFFIX: &str = ".block";

/// Which block of which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct BlockKey {
    pub file: FileKey,
    pub number: u64,
}

/// A file of the table, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileKey(u128);

/// A block and what is known of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub bytes: Bytes,
    pub file_bytes: u64,
    pub written_unix_ms: i64,
}

impl FileKey {
    pub(super) fn of(location: &Path) -> Self {
        Self(xxh3_128(location.as_ref().as_bytes()))
    }

    pub(super) fn block(self, number: u64) -> BlockKey {
        BlockKey { file: self, number }
    }
}

impl BlockKey {
    pub(super) fn file_name(&self) -> String {
        format!("{:032x}-{:x}{SUFFIX}", self.file.0, self.number)
    }

    /// Reads a name that [`Self::file_name`] gave.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (file, number) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let key =
            Self { file: FileKey(u128::from_str_radix(file, 16).ok()?), number: u64::from_str_radix(number, 16).ok()? };
        (key.file_name() == name).then_some(key)
    }
}

impl Block {
    /// The bytes of the block's file, in front of its payload.
    pub(super) fn head(&self, key: &BlockKey) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(MAGIC);
        head[12..16].copy_from_slice(&(self.bytes.len() as u32).to_le_bytes());
        head[16..32].copy_from_slice(&key.file.0.to_le_bytes());
        head[32..40].copy_from_slice(&key.number.to_le_bytes());
        head[40..48].copy_from_slice(&self.file_bytes.to_le_bytes());
        head[48..56].copy_from_slice(&self.written_unix_ms.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[CHECKED_FROM..]), &self.bytes);
        head[8..12].copy_from_slice(&checksum.to_le_bytes());
        head
    }

    /// Reads a block's file; `None` for anything but what was written for `key`.
    pub(super) fn parse(key: &BlockKey, file: Vec<u8>) -> Option<Self> {
        let file = Bytes::from(file);
        let head = file.get(..HEAD_BYTES)?;
        let word = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
        let block = Self { bytes: file.slice(HEAD_BYTES..), file_bytes: word(40)?, written_unix_ms: word(48)? as i64 };
        (block.head(key) == head).then_some(block)
    }

    /// What a block's file takes of the disk.
    pub(super) fn stored_bytes(&self) -> u64 {
        (HEAD_BYTES + self.bytes.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reads_back_and_no_flipped_bit_or_cut_does() {
        let key = FileKey::of(&Path::from("date=2026-01-01/a.parquet")).block(3);
        let block = Block { bytes: Bytes::from_static(b"payload"), file_bytes: 1 << 40, written_unix_ms: -7 };
        let file = [&block.head(&key)[..], &block.bytes].concat();
        assert_eq!(file.len() as u64, block.stored_bytes());
        assert_eq!(Block::parse(&key, file.clone()), Some(block));
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Block::parse(&key, damaged), None, "bit {bit}");
        }
        for len in 0..file.len() {
            assert_eq!(Block::parse(&key, file[..len].to_vec()), None, "{len} bytes");
        }
        assert_eq!(Block::parse(&key.file.block(4), file), None, "another block's file");
    }

    #[test]
    fn names_read_back_and_others_do_not() {
        let key = FileKey::of(&Path::from("a")).block(u64::MAX);
        assert_eq!(BlockKey::parse(&key.file_name()), Some(key));
        for foreign in ["", "x.block", "0-0.block", ".tmp", &key.file_name().to_uppercase()] {
            assert_eq!(BlockKey::parse(foreign), None, "{foreign}");
        }
    }
}
