//! One record: a request's bytes behind a fixed head.
//!
//! ```text
//!  0        4        8                16               24               32                                48
//!  ┌────────┬────────┬────────────────┬────────────────┬────────────────┬────────────────────────────────┬───────────
//!  │ length │ crc    │ lsn            │ group          │ received       │ request hash                   │ payload …
//!  │ u32    │ u32    │ u64            │ u64            │ i64, unix ms   │ u128, xxh3 of the payload      │ length bytes
//!  └────────┴────────┴────────────────┴────────────────┴────────────────┴────────────────────────────────┴───────────
//! ```
//!
//! All numbers are little-endian. The CRC is CRC32C over the segment's id and everything of the record but the CRC itself: a record that was
//! left over from another segment does not pass. `group` is the LSN of the first record that was written and synced together with this one: it
//! tells a torn last group, which nobody was promised, from damage to something that was synced before later groups.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

/// A log sequence number: requests are numbered from 1 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Lsn(pub u64);

impl Lsn {
    /// No log comes so far, however fast and long it grows: what claims to be beyond was made by somebody else, and counting up ends nowhere.
    const MOST: u64 = 1 << 62;

    /// Whether a record can have it.
    pub(super) fn is_sound(self) -> bool {
        (1..=Self::MOST).contains(&self.0)
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The identity of a request's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RequestHash(pub u128);

impl RequestHash {
    pub(crate) fn of(payload: &[u8]) -> Self {
        Self(xxh3_128(payload))
    }
}

/// A record as replay gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub lsn: Lsn,
    pub group: Lsn,
    pub received_unix_ms: i64,
    pub hash: RequestHash,
    pub payload: Bytes,
}

pub(crate) const HEAD_BYTES: usize = 48;

impl Record {
    /// The record's size in the log.
    pub(crate) fn encoded_len(&self) -> usize {
        HEAD_BYTES + self.payload.len()
    }

    /// Appends the record to `out` as it lies in the segment `segment_id`.
    pub(crate) fn encode(&self, segment_id: u64, out: &mut Vec<u8>) {
        let mut head = [0; HEAD_BYTES];
        head[0..4].copy_from_slice(&(self.payload.len() as u32).to_le_bytes());
        head[8..16].copy_from_slice(&self.lsn.0.to_le_bytes());
        head[16..24].copy_from_slice(&self.group.0.to_le_bytes());
        head[24..32].copy_from_slice(&self.received_unix_ms.to_le_bytes());
        head[32..48].copy_from_slice(&self.hash.0.to_le_bytes());
        sum_record(segment_id, &mut head, &self.payload);
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.payload);
    }

    /// Reads the record at the start of `bytes`; `None` when no whole and valid one is there.
    pub(crate) fn decode(segment_id: u64, bytes: &Bytes) -> Option<Self> {
        let head: &[u8; HEAD_BYTES] = bytes.get(..HEAD_BYTES)?.try_into().ok()?;
        let end = HEAD_BYTES + u32_at(head, 0) as usize;
        let payload = bytes.get(HEAD_BYTES..end)?;
        if checksum(segment_id, head, payload) != u32_at(head, 4) {
            return None;
        }
        Some(Self {
            lsn: Lsn(u64_at(head, 8)),
            group: Lsn(u64_at(head, 16)),
            received_unix_ms: u64_at(head, 24) as i64,
            hash: RequestHash(u128::from(u64_at(head, 32)) | u128::from(u64_at(head, 40)) << 64),
            payload: bytes.slice(HEAD_BYTES..end),
        })
    }

    /// The LSN and group that a head claims, unchecked: a cheap filter before [`Self::decode`].
    pub(crate) fn claimed(bytes: &[u8]) -> Option<(Lsn, Lsn)> {
        (bytes.len() >= HEAD_BYTES).then(|| (Lsn(u64_at(bytes, 8)), Lsn(u64_at(bytes, 16))))
    }
}

/// Writes the checksum of a record into its head.
pub(super) fn sum_record(segment_id: u64, head: &mut [u8; HEAD_BYTES], payload: &[u8]) {
    let crc = checksum(segment_id, head, payload);
    head[4..8].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(segment_id: u64, head: &[u8; HEAD_BYTES], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&segment_id.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &head[0..4]);
    let crc = crc32c::crc32c_append(crc, &head[8..]);
    crc32c::crc32c_append(crc, payload)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        let payload = Bytes::from_static(b"spans");
        let hash = RequestHash::of(&payload);
        Record { lsn: Lsn(0x0102), group: Lsn(0x0101), received_unix_ms: 0x0304, hash, payload }
    }

    #[test]
    fn bytes_lie_as_drawn() {
        let record = sample();
        let mut bytes = Vec::new();
        record.encode(7, &mut bytes);
        assert_eq!(bytes.len(), record.encoded_len());
        assert_eq!(bytes[0..4], [5, 0, 0, 0]);
        assert_eq!(bytes[8..16], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[16..24], [1, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[24..32], [4, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[32..48], xxh3_128(b"spans").to_le_bytes());
        assert_eq!(bytes[48..], *b"spans");
        let mut covered = 7u64.to_le_bytes().to_vec();
        covered.extend_from_slice(&bytes[0..4]);
        covered.extend_from_slice(&bytes[8..]);
        assert_eq!(bytes[4..8], crc32c::crc32c(&covered).to_le_bytes());
        assert_eq!(Record::decode(7, &Bytes::from(bytes)), Some(record));
    }

    #[test]
    fn any_flipped_bit_a_short_record_and_another_segments_record_are_refused() {
        let mut bytes = Vec::new();
        sample().encode(7, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(7, &Bytes::from(flipped)), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Record::decode(7, &Bytes::copy_from_slice(&bytes[..len])), None, "length {len}");
        }
        assert_eq!(Record::decode(8, &Bytes::from(bytes)), None);
    }
}
