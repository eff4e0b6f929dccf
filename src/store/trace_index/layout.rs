//! The index's bytes: blocks of runs, and the head that finds a block.
//!
//! ```text
//!  blocks, one after the other         head
//!  ┌─────────┬─────────┬───┬─────────┬──────────┬────────┬───────────┬───────────┬─────────────┬──────────┐
//!  │ block 0 │ block 1 │ … │ block n │ spantrc2 │ counts │ directory │ filter    │ CRC32C      │ … footer │
//!  │         │         │   │         │ 8 bytes  │ 6 × u32│ 12 × n    │ 32 × k    │ u32, of head│          │
//!  └─────────┴─────────┴───┴─────────┴──────────┴────────┴───────────┴───────────┴─────────────┴──────────┘
//!  block:     256 runs, the last one the rest, in order of (hash, first row), as bits, the lowest of a byte first: hash less the one
//!             before (of the first run: less the block's first hash, which is 0), in Rice's code of log2((2^32 - 1) / runs) bits; first
//!             row, in as many bits as the file's rows need; rows less one, in Rice's code of log2(rows / runs) bits; logarithms rounded
//!             down. The hash is the upper half of xxh3-64 of the trace id.
//!  counts:    runs, traces, traces of more than one run, rows of the file, blocks n, filter bytes
//!  directory: of each block its first hash, where it ends, counted from block 0, and its CRC32C: u32 each
//!  filter:    a split block Bloom filter as Parquet defines it, over the 8 little-endian bytes of each xxh3-64
//! ```
//!
//! All numbers are little-endian. "Traces" are distinct hashes: two ids that share one count as one trace of two runs. In `spantrc1`, which
//! is read and not written any more, the numbers of a run are LEB128: hash less the one before, first row, rows.

use std::ops::Range;

use parquet::bloom_filter::Sbbf;
use xxhash_rust::xxh3::xxh3_64;

use super::bits::{BitReader, BitWriter};
use crate::error::{Error, Result};

/// Runs of a block, which the layout settles: what a lookup reads and decodes, some 1.5 KiB. Twice as many would halve the directory, which is a fifth of the head.
pub(super) const BLOCK_RUNS: usize = 256;
/// The filter's size: at 11 bits a trace it is wrong for about one file in a hundred, at the price of one needless small read.
const FILTER_BITS_PER_TRACE: usize = 11;
/// Bytes of a block of the filter.
const FILTER_BLOCK_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"spantrc2";
const MAGIC_OF_BYTES: &[u8; 8] = b"spantrc1";
const COUNTS: usize = 6;
const DIRECTORY_ENTRY_BYTES: usize = 12;
const CRC_BYTES: usize = 4;
const FIXED_BYTES: usize = MAGIC.len() + 4 * COUNTS + CRC_BYTES;

/// A trace id's 64-bit hash: the filter takes all of it, the blocks its upper half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TraceHash(pub u64);

impl TraceHash {
    pub(crate) fn of(trace_id: &[u8]) -> Self {
        Self(xxh3_64(trace_id))
    }

    /// The half that the blocks have.
    pub(crate) fn upper(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Neighbouring rows of one trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    pub hash: TraceHash,
    pub first_row: u32,
    pub rows: u32,
}

/// What of a file's index stays in memory.
#[derive(Clone)]
pub(crate) struct Head {
    pub runs: u32,
    pub traces: u32,
    /// Traces of more than one run.
    pub split_traces: u32,
    pub rows: u32,
    packing: Packing,
    directory: Vec<Block>,
    filter: Sbbf,
}

/// How the numbers of a run are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    /// Each in as many whole bytes as it needs, as the first version had them.
    Bytes,
    Bits(Widths),
}

/// The bits of a run's numbers, above which Rice's code goes on. A file's runs and rows settle them, so that what goes on above is
/// never more than two bits a run and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Widths {
    gap: u32,
    first_row: u32,
    rows: u32,
}

impl Widths {
    fn of(runs: u32, rows: u32) -> Self {
        let runs = runs.max(1);
        Self {
            gap: (u32::MAX / runs).max(1).ilog2(),
            first_row: u32::BITS - rows.leading_zeros(),
            rows: (rows / runs).max(1).ilog2(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    first: u32,
    end: u32,
    crc: u32,
}

/// Blocks to read for a lookup: neighbours, by number, and their bytes counted from the first block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BlockRange {
    pub blocks: Range<usize>,
    pub bytes: Range<u64>,
}

/// Encodes the runs of a file of `rows` rows; gives the blocks' bytes and the head. `runs` must be in order.
pub(super) fn encode(runs: &[Run], rows: u32) -> (Vec<u8>, Head) {
    debug_assert!(runs.is_sorted());
    let widths = Widths::of(runs.len() as u32, rows);
    let mut bytes = Vec::with_capacity(runs.len() * 6);
    let mut directory = Vec::with_capacity(runs.len().div_ceil(BLOCK_RUNS));
    for block in runs.chunks(BLOCK_RUNS) {
        let start = bytes.len();
        let first = block[0].hash.upper();
        let mut before = first;
        let mut bits = BitWriter::new(&mut bytes);
        for run in block {
            bits.put_rice(run.hash.upper() - before, widths.gap);
            bits.put(run.first_row, widths.first_row);
            bits.put_rice(run.rows - 1, widths.rows);
            before = run.hash.upper();
        }
        bits.finish();
        directory.push(Block { first, end: bytes.len() as u32, crc: crc32c::crc32c(&bytes[start..]) });
    }
    let (mut traces, mut split_traces) = (0, 0);
    for trace in runs.chunk_by(|a, b| a.hash.upper() == b.hash.upper()) {
        traces += 1;
        split_traces += u32::from(trace.len() > 1);
    }
    let filter_bytes = (traces as usize * FILTER_BITS_PER_TRACE).div_ceil(8).next_multiple_of(FILTER_BLOCK_BYTES);
    let mut filter = Sbbf::new(&vec![0; filter_bytes.max(FILTER_BLOCK_BYTES)]);
    for run in runs {
        filter.insert(run.hash.0.to_le_bytes().as_slice());
    }
    let packing = Packing::Bits(widths);
    (bytes, Head { runs: runs.len() as u32, traces, split_traces, rows, packing, directory, filter })
}

/// Decodes blocks that [`Head::blocks_of`] named.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`] when the bytes are not what was written.
pub(super) fn decode_blocks(
    head: &Head,
    range: &BlockRange,
    bytes: &[u8],
    mut each: impl FnMut(u32, Range<u32>),
) -> Result<()> {
    let corrupt = || Error::corrupt("a block of the trace index is damaged");
    for number in range.blocks.clone() {
        let Block { first, crc, .. } = head.directory[number];
        let place = head.bytes_of(number);
        let (from, to) = (place.start - range.bytes.start, place.end - range.bytes.start);
        let block = bytes.get(from as usize..to as usize).ok_or_else(corrupt)?;
        if crc32c::crc32c(block) != crc {
            return Err(corrupt());
        }
        let mut hash = first;
        let mut each = |(gap, first_row, rows): (u32, u32, u32)| {
            hash = hash.checked_add(gap)?;
            let end = first_row.checked_add(rows).filter(|end| *end <= head.rows)?;
            each(hash, first_row..end);
            Some(())
        };
        match head.packing {
            Packing::Bits(widths) => unpack_bits(block, head.runs_of(number), widths, &mut each),
            Packing::Bytes => unpack_bytes(block, &mut each),
        }
        .ok_or_else(corrupt)?;
    }
    Ok(())
}

/// Gives each run's hash less the one before, first row and rows; `None` when the bytes are no such runs.
fn unpack_bits(
    block: &[u8],
    runs: usize,
    widths: Widths,
    each: &mut impl FnMut((u32, u32, u32)) -> Option<()>,
) -> Option<()> {
    let mut bits = BitReader::new(block);
    for _ in 0..runs {
        let (gap, first_row) = (bits.take_rice(widths.gap)?, bits.take(widths.first_row)?);
        each((gap, first_row, bits.take_rice(widths.rows)?.checked_add(1)?))?;
    }
    bits.is_at_end().then_some(())
}

/// The same of the first version.
fn unpack_bytes(mut block: &[u8], each: &mut impl FnMut((u32, u32, u32)) -> Option<()>) -> Option<()> {
    while !block.is_empty() {
        let mut next = || take_varint(&mut block);
        each((next()?, next()?, next()?))?;
    }
    Some(())
}

impl Head {
    /// Whether a trace may be in the file.
    pub(super) fn may_have(&self, hash: TraceHash) -> bool {
        self.filter.check(hash.0.to_le_bytes().as_slice())
    }

    /// The blocks in which a trace's runs are, if it is in the file.
    pub(super) fn blocks_of(&self, hash: TraceHash) -> BlockRange {
        let upper = hash.upper();
        // The run before the first block that begins with the hash may have it too.
        let start = self.directory.partition_point(|block| block.first < upper).saturating_sub(1);
        let end = self.directory.partition_point(|block| block.first <= upper).max(start);
        self.range(start..end)
    }

    /// All blocks.
    pub(super) fn all_blocks(&self) -> BlockRange {
        self.range(0..self.directory.len())
    }

    fn range(&self, blocks: Range<usize>) -> BlockRange {
        let bytes = match blocks.is_empty() {
            true => 0..0,
            false => self.bytes_of(blocks.start).start..self.bytes_of(blocks.end - 1).end,
        };
        BlockRange { blocks, bytes }
    }

    fn runs_of(&self, block: usize) -> usize {
        (self.runs as usize).saturating_sub(block * BLOCK_RUNS).min(BLOCK_RUNS)
    }

    fn bytes_of(&self, block: usize) -> Range<u64> {
        let start = block.checked_sub(1).map_or(0, |before| self.directory[before].end);
        u64::from(start)..u64::from(self.directory[block].end)
    }

    /// The head as it is in the file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let filter_bytes = self.filter.num_blocks() * FILTER_BLOCK_BYTES;
        let mut bytes = Vec::with_capacity(self.size_bytes());
        bytes.extend_from_slice(match self.packing {
            Packing::Bits(_) => MAGIC,
            Packing::Bytes => MAGIC_OF_BYTES,
        });
        let counts = [self.runs, self.traces, self.split_traces, self.rows];
        for count in counts.into_iter().chain([self.directory.len() as u32, filter_bytes as u32]) {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        for Block { first, end, crc } in &self.directory {
            for number in [first, end, crc] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        self.filter.write_bitset(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        Ok(bytes)
    }

    /// Reads what [`Self::to_bytes`] gave.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] when the bytes are not what was written.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let corrupt = || Error::corrupt("the head of the trace index is damaged");
        let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or_else(corrupt)?;
        let (magic, numbers) = content
            .split_first_chunk::<{ MAGIC.len() }>()
            .filter(|_| crc32c::crc32c(content).to_le_bytes() == *crc)
            .ok_or_else(corrupt)?;
        let mut numbers = numbers.chunks_exact(4).map(u32_of);
        let mut next = || numbers.next().ok_or_else(corrupt);
        let [runs, traces, split_traces, rows, blocks, filter_bytes] =
            [next()?, next()?, next()?, next()?, next()?, next()?];
        let packing = match magic {
            MAGIC => Packing::Bits(Widths::of(runs, rows)),
            MAGIC_OF_BYTES => Packing::Bytes,
            _ => return Err(corrupt()),
        };
        let filter_at = FIXED_BYTES - CRC_BYTES + blocks as usize * DIRECTORY_ENTRY_BYTES;
        let is_whole = filter_bytes > 0
            && (filter_bytes as usize).is_multiple_of(FILTER_BLOCK_BYTES)
            && bytes.len() == filter_at + filter_bytes as usize + CRC_BYTES;
        if !is_whole {
            return Err(corrupt());
        }
        let directory = bytes[FIXED_BYTES - CRC_BYTES..filter_at]
            .chunks_exact(DIRECTORY_ENTRY_BYTES)
            .map(|entry| Block { first: u32_of(&entry[..4]), end: u32_of(&entry[4..8]), crc: u32_of(&entry[8..]) });
        let directory: Vec<Block> = directory.collect();
        if !directory.is_sorted_by_key(|block| block.first) || !directory.is_sorted_by_key(|block| block.end) {
            return Err(corrupt());
        }
        let filter = Sbbf::new(&bytes[filter_at..bytes.len() - CRC_BYTES]);
        Ok(Self { runs, traces, split_traces, rows, packing, directory, filter })
    }

    /// What the head takes, in the file and in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        FIXED_BYTES + self.directory.len() * DIRECTORY_ENTRY_BYTES + self.filter.num_blocks() * FILTER_BLOCK_BYTES
    }

    /// What the blocks take in the file.
    pub(crate) fn blocks_bytes(&self) -> u64 {
        self.directory.last().map_or(0, |block| u64::from(block.end))
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head")
            .field("runs", &self.runs)
            .field("traces", &self.traces)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

fn u32_of(bytes: &[u8]) -> u32 {
    bytes.try_into().map(u32::from_le_bytes).unwrap_or_default()
}

/// Takes a number off the front; `None` when there is none, or one of more than 32 bits.
fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return u32::try_from(number).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(upper: u32, first_row: u32, rows: u32) -> Run {
        Run { hash: TraceHash(u64::from(upper) << 32 | 7), first_row, rows }
    }

    fn all(head: &Head, blocks: &[u8]) -> Vec<(u32, Range<u32>)> {
        let mut found = Vec::new();
        decode_blocks(head, &head.all_blocks(), blocks, |hash, rows| found.push((hash, rows))).expect("whole");
        found
    }

    #[test]
    fn the_drawing_is_what_is_written() {
        let (blocks, head) = encode(&[run(5, 300, 2), run(5, 700, 1), run(0x105, 0, 300)], 701);
        // Each run: a zero and 30 bits of hash, 10 of the first row, ones for what is above 7 bits of rows less one, a zero, and these.
        let numbers: [[(u32, u32); 6]; 3] = [
            [(0, 1), (0, 30), (300, 10), (0, 0), (0, 1), (1, 7)],
            [(0, 1), (0, 30), (700, 10), (0, 0), (0, 1), (0, 7)],
            [(0, 1), (0x100, 30), (0, 10), (0b11, 2), (0, 1), (299 - 2 * 128, 7)],
        ];
        let of_number = |(number, bits): &(u32, u32)| (0..*bits).map(|bit| number >> bit & 1).collect::<Vec<_>>();
        let bits: Vec<u32> = numbers.as_flattened().iter().flat_map(of_number).collect();
        let to_byte = |bits: &[u32]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | *bit as u8);
        let expected: Vec<u8> = bits.chunks(8).map(to_byte).collect();
        assert_eq!(blocks, expected);
        let bytes = head.to_bytes().expect("bytes");
        assert_eq!(&bytes[..8], b"spantrc2");
        let numbers: Vec<u32> = bytes[8..44].chunks(4).map(u32_of).collect();
        assert_eq!(numbers, [3, 2, 1, 701, 1, 32, 5, 19, crc32c::crc32c(&blocks)]);
        assert_eq!(bytes.len(), 44 + 32 + 4);
        assert_eq!(bytes[76..], crc32c::crc32c(&bytes[..76]).to_le_bytes());
        assert_eq!((head.size_bytes(), head.blocks_bytes()), (80, 19));
        assert_eq!(all(&head, &blocks), [(5, 300..302), (5, 700..701), (0x105, 0..300)]);
    }

    #[test]
    fn an_index_of_the_first_version_is_read() {
        let runs = [run(5, 300, 2), run(5, 700, 1), run(0x105, 0, 300)];
        let blocks = [0, 0xac, 2, 2, 0, 0xbc, 5, 1, 0x80, 2, 0, 0xac, 2];
        let (_, mut head) = encode(&runs, 701);
        head.packing = Packing::Bytes;
        head.directory = vec![Block { first: 5, end: 13, crc: crc32c::crc32c(&blocks) }];
        let bytes = head.to_bytes().expect("bytes");
        assert_eq!(&bytes[..8], b"spantrc1");
        let again = Head::parse(&bytes).expect("whole");
        assert_eq!(all(&again, &blocks), [(5, 300..302), (5, 700..701), (0x105, 0..300)]);
        assert!(runs.iter().all(|run| again.may_have(run.hash)));
    }

    #[test]
    fn a_head_reads_back_and_a_flipped_bit_anywhere_is_noticed() {
        let runs: Vec<Run> = (0..600).map(|n| run(n * 3, n, 1)).collect();
        let (blocks, head) = encode(&runs, 600);
        let bytes = head.to_bytes().expect("bytes");
        let again = Head::parse(&bytes).expect("whole");
        assert_eq!(again.to_bytes().expect("bytes"), bytes);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Head::parse(&bad).is_err(), "byte {at}");
        }
        for len in 0..bytes.len() {
            assert!(Head::parse(&bytes[..len]).is_err(), "{len} bytes");
        }
        for at in 0..blocks.len() {
            let mut bad = blocks.clone();
            bad[at] ^= 0x10;
            assert!(decode_blocks(&head, &head.all_blocks(), &bad, |_, _| ()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn equal_hashes_are_found_in_whichever_blocks_they_lie() {
        let mut runs: Vec<Run> = (0..BLOCK_RUNS as u32 - 3).map(|n| run(n, n, 1)).collect();
        runs.extend((0..700).map(|n| run(1_000, 10_000 + n, 1)));
        runs.push(run(2_000, 20_000, 1));
        let (blocks, head) = encode(&runs, 20_001);
        for (upper, expected) in [(0, 1), (252, 1), (253, 0), (1_000, 700), (1_500, 0), (2_000, 1), (2_001, 0)] {
            let range = head.blocks_of(run(upper, 0, 0).hash);
            let bytes = &blocks[range.bytes.start as usize..range.bytes.end as usize];
            let mut found = 0;
            decode_blocks(&head, &range, bytes, |hash, _| found += u32::from(hash == upper)).expect("whole");
            assert_eq!(found, expected, "{upper}");
        }
        assert_eq!((head.runs, head.traces, head.split_traces), (954, 255, 1));
    }

    #[test]
    fn the_filter_is_seldom_wrong_and_never_misses() {
        let hash = |n: u64| TraceHash::of(&n.to_le_bytes());
        let mut runs: Vec<Run> = (0..20_000).map(|n| Run { hash: hash(n), first_row: n as u32, rows: 1 }).collect();
        runs.sort_unstable();
        let (_, head) = encode(&runs, 20_000);
        assert!((0..20_000).all(|n| head.may_have(hash(n))));
        let wrong = (20_000..220_000).filter(|n| head.may_have(hash(*n))).count();
        assert!((200..3_000).contains(&wrong), "{wrong} of 200,000");
    }

    #[test]
    fn an_empty_index_has_nothing() {
        let (blocks, head) = encode(&[], 0);
        let head = Head::parse(&head.to_bytes().expect("bytes")).expect("whole");
        assert!(!head.may_have(TraceHash(1)));
        assert!(head.blocks_of(TraceHash(1)).bytes.is_empty() && blocks.is_empty());
    }
}
