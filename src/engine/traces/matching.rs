//! Which spans of one chunk belong together: an equality join of two sides within each trace.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer};
use datafusion::arrow::compute::SortOptions;
use datafusion::common::NullEquality;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::Result;
use datafusion::physical_plan::joins::utils::JoinKeyComparator;

use crate::model::SpanId;
use crate::model::schema::SPAN_ID_TYPE;

/// The keys of one side: a hash a row, and which rows have a key at all.
struct Keys {
    hashes: Vec<u64>,
    present: Option<NullBuffer>,
}

/// One side's rows: the number of each row's trace, and its keys beside the trace.
#[derive(Debug, Clone)]
pub(super) struct Side {
    pub traces: Arc<[u32]>,
    pub keys: Vec<ArrayRef>,
}

/// A side's rows by trace and keys, to be probed as often as is needed.
pub(super) struct Table {
    side: Side,
    keys: Keys,
    /// For each slot the first row, one up; and for each row the next of its slot.
    heads: Vec<u32>,
    nexts: Vec<u32>,
    shift: u32,
}

/// Goes through all pairs of a row that probes and a row of a table, of one trace and with equal keys. NULL equals nothing.
pub(super) struct Matching {
    probe: (Arc<[u32]>, Keys),
    table: Arc<Table>,
    /// Tells whether keys are equal when their hashes are; `None` when the hash is the key.
    equal: Option<JoinKeyComparator>,
    at: usize,
    chain: Chain,
    first_only: bool,
}

/// Where the search for the current row's partners stands.
#[derive(Clone, Copy)]
enum Chain {
    Begin,
    At(u32),
}

/// Ends a chain.
const NO_ROW: u32 = 0;

impl Table {
    pub fn new(side: Side) -> Result<Self> {
        let slots = (side.traces.len() * 2).next_power_of_two();
        let mut table = Self {
            keys: Keys::of(&side)?,
            heads: vec![NO_ROW; slots],
            nexts: vec![NO_ROW; side.traces.len()],
            shift: u64::BITS - slots.trailing_zeros(),
            side,
        };
        // From the last to the first, so that chains go forward.
        for row in (0..table.nexts.len()).rev() {
            if table.keys.is_present(row) {
                let slot = table.slot(table.side.traces[row], table.keys.hashes[row]);
                table.nexts[row] = table.heads[slot];
                table.heads[slot] = row as u32 + 1;
            }
        }
        Ok(table)
    }

    fn slot(&self, trace: u32, hash: u64) -> usize {
        // Fibonacci hashing: the upper bits of a product with an odd constant depend on all bits.
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
        let mixed = (hash ^ u64::from(trace).wrapping_mul(ODD)).wrapping_mul(ODD);
        mixed.checked_shr(self.shift).unwrap_or(0) as usize
    }
}

impl Matching {
    /// Of `probe` with `table`. With `first_only`, a row that probes has one partner at most.
    pub fn new(probe: Side, table: Arc<Table>, first_only: bool) -> Result<Self> {
        let is_id = |keys: &[ArrayRef]| keys.len() == 1 && *keys[0].data_type() == SPAN_ID_TYPE;
        let exact = probe.keys.is_empty() || is_id(&probe.keys) && is_id(&table.side.keys);
        let equal = match exact {
            true => None,
            false => {
                let options = vec![SortOptions::default(); probe.keys.len()];
                let nulls = NullEquality::NullEqualsNothing;
                Some(JoinKeyComparator::new(&probe.keys, &table.side.keys, &options, nulls)?)
            }
        };
        let keys = Keys::of(&probe)?;
        Ok(Self { probe: (probe.traces, keys), table, equal, at: 0, chain: Chain::Begin, first_only })
    }

    /// What it holds for so many rows of both sides together, in bytes.
    pub fn bytes(rows: usize) -> usize {
        // A hash and a link a row, two to four slots, and the number of the trace.
        rows * (size_of::<u64>() + 6 * size_of::<u32>())
    }

    /// Adds up to `limit` pairs, and tells whether there may be more. Rows that `skip` names have no more partners.
    pub fn next_pairs(
        &mut self,
        limit: usize,
        skip: impl Fn(usize) -> bool,
        probe: &mut Vec<u32>,
        build: &mut Vec<u32>,
    ) -> bool {
        while self.at < self.probe.0.len() {
            let (trace, row) = (self.probe.0[self.at], self.at);
            let mut next = match self.chain {
                Chain::At(next) => next,
                Chain::Begin if !self.probe.1.is_present(row) => NO_ROW,
                Chain::Begin => self.table.heads[self.table.slot(trace, self.probe.1.hashes[row])],
            };
            if skip(row) {
                next = NO_ROW;
            }
            while next != NO_ROW {
                let partner = next as usize - 1;
                next = self.table.nexts[partner];
                if !self.are_partners(row, partner) {
                    continue;
                }
                probe.push(row as u32);
                build.push(partner as u32);
                if self.first_only {
                    break;
                }
                if probe.len() >= limit {
                    self.chain = Chain::At(next);
                    return true;
                }
            }
            self.at += 1;
            self.chain = Chain::Begin;
            if probe.len() >= limit {
                return true;
            }
        }
        false
    }

    fn are_partners(&self, probe: usize, build: usize) -> bool {
        self.probe.0[probe] == self.table.side.traces[build]
            && self.probe.1.hashes[probe] == self.table.keys.hashes[build]
            && self.equal.as_ref().is_none_or(|equal| equal.is_equal(probe, build))
    }
}

impl Keys {
    fn of(side: &Side) -> Result<Self> {
        let rows = side.traces.len();
        let present =
            side.keys.iter().fold(None, |all, key| NullBuffer::union(all.as_ref(), key.logical_nulls().as_ref()));
        let hashes = match side.keys.as_slice() {
            [] => vec![0; rows],
            [id] if *id.data_type() == SPAN_ID_TYPE => {
                let (ids, _) = id.as_fixed_size_binary().value_data().as_chunks::<{ SpanId::LEN }>();
                ids.iter().map(|id| u64::from_ne_bytes(*id)).collect()
            }
            keys => {
                let mut hashes = vec![0; rows];
                create_hashes(keys, &RandomState::default(), &mut hashes)?;
                hashes
            }
        };
        Ok(Self { hashes, present })
    }

    fn is_present(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|present| present.is_valid(row))
    }
}

/// Which rows have found a partner.
pub(super) struct Matched(BooleanBufferBuilder);

impl Matched {
    pub fn new(rows: usize) -> Self {
        let mut matched = BooleanBufferBuilder::new(rows);
        matched.append_n(rows, false);
        Self(matched)
    }

    pub fn set(&mut self, row: u32) {
        self.0.set_bit(row as usize, true);
    }

    pub fn get(&self, row: usize) -> bool {
        self.0.get_bit(row)
    }

    pub fn finish(mut self) -> BooleanBuffer {
        self.0.finish()
    }
}
