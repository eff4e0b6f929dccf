//! A sketch as a value that users keep: compact, the same bytes for the same values in any order, and checked when it is read.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | `qs` |
//! | 1 | the version of this layout, 1 |
//! | 8 | smallest value, a little-endian double |
//! | 8 | largest value |
//! | 1 to 10 | the first bucket's key, zigzag and in groups of seven bits, lowest first |
//! | 1 to 10 | how many values the bucket has, in such groups |
//! | | for each further bucket the same, with how far its key is above the one before, at least 1 |

use super::sketch::{Sketch, key};
use crate::error::Error;

const MAGIC: [u8; 2] = *b"qs";
const VERSION: u8 = 1;

/// The most values of a sketch: what a bigint counts.
const MAX_VALUES: u64 = i64::MAX.unsigned_abs();

impl Sketch {
    /// The sketch as a value; `None` without values.
    pub fn to_value(&self) -> Option<Vec<u8>> {
        let (min, max) = self.ends()?;
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        for end in [min, max] {
            // The two zeros are one.
            out.extend_from_slice(&(end + 0.0).to_le_bytes());
        }
        let mut before = None;
        self.for_each(|key, count| {
            match before {
                None => write_number(&mut out, zigzag(key)),
                Some(before) => write_number(&mut out, u64::from(key.abs_diff(before))),
            }
            write_number(&mut out, count);
            before = Some(key);
            true
        });
        Some(out)
    }

    /// Adds the values of a sketch that [`Sketch::to_value`] made.
    ///
    /// # Errors
    /// SQLSTATE 22P03 for bytes that are none.
    pub(super) fn merge_value(&mut self, value: &[u8]) -> Result<(), Error> {
        let (buckets, [min, max]) = ends_of(value)?;
        let mut rest = buckets;
        let (mut before, mut values) = (None, 0_u64);
        self.widen(min, max);
        while !rest.is_empty() {
            let (step, count) = (read_number(&mut rest)?, read_number(&mut rest)?);
            let next = before.map_or_else(|| unzigzag(step), |before| key_above(before, step));
            let Some(next) = next else { return Err(malformed("its buckets are out of order")) };
            values = values.saturating_add(count);
            if count == 0 || values > MAX_VALUES {
                return Err(malformed("a bucket has an impossible number of values"));
            }
            if before.is_none() && key(min) != next {
                return Err(malformed("its smallest value is in no bucket"));
            }
            self.add_many(next, count);
            before = Some(next);
        }
        if before != Some(key(max)) {
            return Err(malformed("it ends early, or its largest value is in no bucket"));
        }
        Ok(())
    }
}

/// What stands before the buckets.
fn ends_of(value: &[u8]) -> Result<(&[u8], [f64; 2]), Error> {
    let rest = value.strip_prefix(&MAGIC).ok_or_else(|| malformed("it does not begin as one"))?;
    let (version, rest) = rest.split_first().ok_or_else(|| malformed("it ends early"))?;
    if *version != VERSION {
        return Err(malformed(format!("it is of version {version}, and this release knows version {VERSION}")));
    }
    let (min, rest) = rest.split_first_chunk().ok_or_else(|| malformed("it ends early"))?;
    let (max, rest) = rest.split_first_chunk().ok_or_else(|| malformed("it ends early"))?;
    let ends = [f64::from_le_bytes(*min), f64::from_le_bytes(*max)];
    match ends[0] <= ends[1] {
        true => Ok((rest, ends)),
        false => Err(malformed("its smallest value is above its largest")),
    }
}

fn malformed(why: impl std::fmt::Display) -> Error {
    Error::bad_input(format!("these bytes are no quantile sketch: {why}"))
        .with_sqlstate("22P03")
        .with_hint("give what quantile_sketch or sketch_merge made, as bytea")
}

fn zigzag(key: i32) -> u64 {
    let key = i64::from(key);
    ((key << 1) ^ (key >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> Option<i32> {
    i32::try_from((number >> 1).cast_signed() ^ -((number & 1).cast_signed())).ok()
}

fn key_above(before: i32, step: u64) -> Option<i32> {
    let next = i64::from(before).checked_add_unsigned(step)?;
    (step > 0).then(|| i32::try_from(next).ok()).flatten()
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Result<u64, Error> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or_else(|| malformed("it ends early"))?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if (part << shift) >> shift != part {
            break;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(malformed("a number in it is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.insert(*value));
        sketch
    }

    #[test]
    fn the_bytes_are_those_of_the_layout() {
        // 1.0 is 0x3ff0…: its key is 1023 × 64, and 2.0 is an octave above.
        let mut bytes = b"qs\x01".to_vec();
        bytes.extend_from_slice(&1.0_f64.to_le_bytes());
        bytes.extend_from_slice(&2.0_f64.to_le_bytes());
        bytes.extend_from_slice(&[0x80, 0xff, 0x07, 2, 64, 1]);
        assert_eq!(of(&[2.0, 1.0, 1.0]).to_value(), Some(bytes));
        assert_eq!(Sketch::default().to_value(), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let ends = [f64::NEG_INFINITY, f64::MIN, -1.0, -f64::MIN_POSITIVE, 0.0, 3.0, f64::MAX, f64::INFINITY];
        let many: Vec<f64> = (0..5_000).map(|n| f64::from(n - 2_000) * 0.37).collect();
        for values in [&ends[..], &many, &[-0.0, 0.0], &[7.0]] {
            let value = of(values).to_value().expect("values");
            let mut read = Sketch::default();
            read.merge_value(&value).expect("a sketch");
            assert_eq!(read.to_value().as_ref(), Some(&value));
            assert_eq!(read.count(), values.len() as u64);
            let halves = values.split_at(values.len() / 2);
            let mut merged = of(halves.1);
            if let Some(half) = of(halves.0).to_value() {
                merged.merge_value(&half).expect("a sketch");
            }
            assert_eq!(merged.to_value(), Some(value));
        }
    }

    #[test]
    fn what_was_taken_out_leaves_ends_that_are_read_again() {
        let mut sketch = of(&[1.0, 5.0, 9.0]);
        sketch.retract(1.0);
        let value = sketch.to_value().expect("values");
        let mut read = Sketch::default();
        read.merge_value(&value).expect("a sketch");
        assert_eq!((read.count(), read.to_value()), (2, Some(value)));
    }

    #[test]
    fn bytes_that_are_cut_or_changed_are_refused_or_are_another_sketch() {
        let value = of(&[0.5, 1.0, 2.0, 1e9]).to_value().expect("values");
        for length in 0..value.len() {
            let error = Sketch::default().merge_value(&value[..length]).expect_err("cut");
            assert_eq!(error.sqlstate(), "22P03", "{length}");
        }
        for at in 0..value.len() {
            for bit in 0..8 {
                let mut changed = value.clone();
                changed[at] ^= 1 << bit;
                let mut sketch = Sketch::default();
                if sketch.merge_value(&changed).is_ok() {
                    assert_ne!(sketch.to_value(), Some(value.clone()), "byte {at}");
                }
            }
        }
        let too_many = [&value[..19], &[0x80, 0xff, 0x07], &[0xff; 9], &[0x01]].concat();
        assert!(Sketch::default().merge_value(&too_many).is_err());
        let error = Sketch::default().merge_value(b"qs\x02").expect_err("a later version");
        assert!(error.to_string().contains("version 2"), "{error}");
    }
}
