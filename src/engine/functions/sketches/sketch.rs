//! A log-linear histogram: quantiles of any numbers within a stated relative error, mergeable in any order.
//!
//! A bucket is an octave's 64th: a double's exponent and the top 6 bits of its mantissa. Its middle is at most 1/128 (0.79 %) away from
//! any value in it, relative to that value. Zero and values under the smallest normal double share a bucket of their own, as do the
//! infinities. NaN is left out by whoever feeds the sketch.
//!
//! A sketch as bytes inside a statement, little-endian (what users keep is in `encoding`):
//!
//! | bytes | what |
//! |---|---|
//! | 8 | smallest value, a double |
//! | 8 | largest value, a double |
//! | 12 each | a bucket's key (i32) and count (u64), in order of key |

use std::cmp::Ordering;

/// Mantissa bits in a bucket's key.
const MANTISSA_BITS: u32 = 6;
/// Buckets an octave.
const PAGE: usize = 1 << MANTISSA_BITS;
/// Buckets that a sketch keeps as a sorted list; past this it keeps pages of an octave each.
const SPARSE_BUCKETS: usize = 32;
const HEADER_BYTES: usize = 16;
const BUCKET_BYTES: usize = 12;

/// The largest relative error of a quantile.
#[cfg(test)]
pub(super) const RELATIVE_ERROR: f64 = 1.0 / 128.0;

/// A histogram of one group's values.
#[derive(Debug, Clone, Default)]
pub(in crate::engine::functions) struct Sketch {
    min: f64,
    max: f64,
    /// Set once a value was taken out: from then on the smallest and largest are no longer known exactly.
    retracted: bool,
    buckets: Buckets,
}

#[derive(Debug, Clone)]
enum Buckets {
    /// Keys with counts, in order of key.
    Sparse(Vec<(i32, u64)>),
    Dense(Pages),
}

impl Default for Buckets {
    fn default() -> Self {
        Self::Sparse(Vec::new())
    }
}

/// Octaves from `first` on; those without a value take a pointer only.
#[derive(Debug, Clone, Default)]
struct Pages {
    first: i32,
    pages: Vec<Option<Box<[u64; PAGE]>>>,
    /// How many pages are there: counting them for each value would cost more than the value.
    used: usize,
}

impl Sketch {
    /// Adds a value that is not NaN.
    pub fn insert(&mut self, value: f64) {
        self.widen(value, value);
        self.add_many(key(value), 1);
    }

    /// Adds a value that is not NaN so many times.
    pub fn insert_many(&mut self, value: f64, count: u64) {
        if count > 0 {
            self.widen(value, value);
            self.add_many(key(value), count);
        }
    }

    /// Adds a value that is not NaN if that takes no more memory: most values are added so, and quickly.
    #[inline]
    #[must_use]
    pub fn insert_in_place(&mut self, value: f64) -> bool {
        let Buckets::Dense(pages) = &mut self.buckets else { return false };
        let Some(count) = pages.slot_in_place(key(value)) else { return false };
        *count += 1;
        // Seldom true: to write them each time would make each value wait for the one before.
        if value < self.min {
            self.min = value;
        }
        if value > self.max {
            self.max = value;
        }
        true
    }

    /// Takes out a value that was added before.
    pub fn retract(&mut self, value: f64) {
        self.retracted = true;
        let key = key(value);
        match &mut self.buckets {
            Buckets::Sparse(list) => {
                if let Ok(at) = list.binary_search_by_key(&key, |(key, _)| *key) {
                    list[at].1 = list[at].1.saturating_sub(1);
                }
            }
            Buckets::Dense(pages) => {
                let count = pages.slot(key);
                *count = count.saturating_sub(1);
            }
        }
    }

    /// Adds another's values, given as bytes. `None` when the bytes are not a sketch.
    #[must_use]
    pub fn merge_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        let (header, buckets) = bytes.split_at_checked(HEADER_BYTES)?;
        let min = f64::from_le_bytes(header[..8].try_into().ok()?);
        let max = f64::from_le_bytes(header[8..].try_into().ok()?);
        self.widen(min, max);
        if buckets.len() % BUCKET_BYTES != 0 {
            return None;
        }
        for bucket in buckets.chunks_exact(BUCKET_BYTES) {
            let key = i32::from_le_bytes(bucket[..4].try_into().ok()?);
            let count = u64::from_le_bytes(bucket[4..].try_into().ok()?);
            self.add_many(key, count);
        }
        Some(())
    }

    /// Appends the sketch as bytes; nothing for an empty one.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.count() == 0 {
            return;
        }
        out.extend_from_slice(&self.min.to_le_bytes());
        out.extend_from_slice(&self.max.to_le_bytes());
        self.for_each(|key, count| {
            out.extend_from_slice(&key.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
            true
        });
    }

    /// The smallest value that at least `level` of all values do not exceed, within the relative error; `None` without values.
    pub fn quantile(&self, level: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = nearest_rank(level, count);
        if !self.retracted && rank == 1 {
            return Some(self.min);
        }
        if !self.retracted && rank == count {
            return Some(self.max);
        }
        let mut seen = 0;
        let mut found = None;
        self.for_each(|key, count| {
            seen = count.saturating_add(seen);
            if seen >= rank {
                found = Some(middle(key));
            }
            found.is_none()
        });
        let value = found?;
        Some(if self.retracted { value } else { value.clamp(self.min, self.max) })
    }

    /// The share of values that are at most this one, to the bucket; `None` without values.
    pub fn share(&self, value: f64) -> Option<f64> {
        let (mut below, mut all) = (0_u64, 0_u64);
        self.for_each(|of_bucket, count| {
            all = all.saturating_add(count);
            below = below.saturating_add(if of_bucket <= key(value) { count } else { 0 });
            true
        });
        (all > 0).then(|| below as f64 / all as f64)
    }

    /// Whether no value was added.
    fn is_empty(&self) -> bool {
        matches!(&self.buckets, Buckets::Sparse(list) if list.is_empty())
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        let mut sum = 0;
        self.for_each(|_, count| {
            sum = count.saturating_add(sum);
            true
        });
        sum
    }

    /// The smallest and the largest value, as the quantiles 0 and 1 give them; `None` without values.
    pub fn ends(&self) -> Option<(f64, f64)> {
        self.quantile(0.0).zip(self.quantile(1.0))
    }

    /// Takes in the smallest and the largest of values that are about to be added.
    #[inline]
    pub fn widen(&mut self, min: f64, max: f64) {
        (self.min, self.max) = match self.is_empty() {
            true => (min, max),
            false => (self.min.min(min), self.max.max(max)),
        };
    }

    /// Heap bytes.
    pub fn heap_bytes(&self) -> usize {
        match &self.buckets {
            Buckets::Sparse(list) => list.capacity() * size_of::<(i32, u64)>(),
            Buckets::Dense(pages) => pages.heap_bytes(),
        }
    }

    /// Adds so many values of a bucket.
    pub fn add_many(&mut self, key: i32, count: u64) {
        match &mut self.buckets {
            Buckets::Sparse(list) => match list.binary_search_by_key(&key, |(key, _)| *key) {
                Ok(at) => list[at].1 = list[at].1.saturating_add(count),
                Err(at) if list.len() < SPARSE_BUCKETS => list.insert(at, (key, count)),
                Err(_) => {
                    let mut pages = Pages::default();
                    for (key, count) in list.drain(..).chain([(key, count)]) {
                        *pages.slot(key) = count;
                    }
                    self.buckets = Buckets::Dense(pages);
                }
            },
            Buckets::Dense(pages) => {
                let slot = pages.slot(key);
                *slot = slot.saturating_add(count);
            }
        }
    }

    /// Visits the buckets that hold something in order, until told to stop.
    pub fn for_each(&self, mut visit: impl FnMut(i32, u64) -> bool) {
        match &self.buckets {
            Buckets::Sparse(list) => {
                list.iter().filter(|(_, count)| *count > 0).all(|(key, count)| visit(*key, *count));
            }
            Buckets::Dense(pages) => pages.for_each(visit),
        }
    }
}

impl Pages {
    #[inline]
    fn slot(&mut self, key: i32) -> &mut u64 {
        let page = key.div_euclid(PAGE as i32);
        let at = page.wrapping_sub(self.first) as usize;
        if !matches!(self.pages.get(at), Some(Some(_))) {
            self.make_page(page);
        }
        let at = (page - self.first) as usize;
        &mut self.pages[at].get_or_insert_with(|| Box::new([0; PAGE]))[key.rem_euclid(PAGE as i32) as usize]
    }

    /// The count of a key whose page is there.
    #[inline]
    fn slot_in_place(&mut self, key: i32) -> Option<&mut u64> {
        let page = key.div_euclid(PAGE as i32);
        let page = self.pages.get_mut(page.wrapping_sub(self.first) as usize)?.as_mut()?;
        Some(&mut page[key.rem_euclid(PAGE as i32) as usize])
    }

    #[cold]
    fn make_page(&mut self, page: i32) {
        if self.pages.is_empty() {
            self.first = page;
        }
        if page < self.first {
            let missing = (self.first - page) as usize;
            self.pages.splice(0..0, std::iter::repeat_n(None, missing));
            self.first = page;
        }
        let at = (page - self.first) as usize;
        if at >= self.pages.len() {
            self.pages.resize(at + 1, None);
        }
        self.pages[at] = Some(Box::new([0; PAGE]));
        self.used += 1;
    }

    fn for_each(&self, mut visit: impl FnMut(i32, u64) -> bool) {
        for (page, counts) in (self.first..).zip(&self.pages) {
            let Some(counts) = counts else { continue };
            for (at, count) in (0..).zip(counts.iter()) {
                if *count > 0 && !visit(page * PAGE as i32 + at, *count) {
                    return;
                }
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        self.pages.capacity() * size_of::<Option<Box<[u64; PAGE]>>>() + self.used * size_of::<[u64; PAGE]>()
    }
}

/// The rank, from 1, of the smallest value that at least `level` of `count` values do not exceed.
///
/// `level × count` is meant exactly: where the product in doubles misses a whole number by rounding, the whole number counts.
pub(in crate::engine::functions) fn nearest_rank(level: f64, count: u64) -> u64 {
    let product = level * count as f64;
    let whole = product.round();
    let rank = if (product - whole).abs() <= product * 1e-12 { whole } else { product.ceil() };
    (rank as u64).clamp(1, count)
}

/// A total order of doubles that puts them as numbers; the two zeros are one.
pub(in crate::engine::functions) fn by_number(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}

/// The bucket of a value that is not NaN.
#[inline]
pub(super) fn key(value: f64) -> i32 {
    let size = value.abs();
    if size < f64::MIN_POSITIVE {
        return 0;
    }
    // At most 2,047 × 64 + 1, so it fits.
    let key = (size.to_bits() >> (f64::MANTISSA_DIGITS - 1 - MANTISSA_BITS)) as i32;
    if value < 0.0 { -key } else { key }
}

fn middle(key: i32) -> f64 {
    if key == 0 {
        return 0.0;
    }
    let shift = f64::MANTISSA_DIGITS - 1 - MANTISSA_BITS;
    let low = f64::from_bits(u64::from(key.unsigned_abs()) << shift);
    let high = f64::from_bits((u64::from(key.unsigned_abs()) + 1) << shift);
    let size = match high.is_finite() {
        true => low + (high - low) / 2.0,
        // The last bucket before infinity ends at infinity, and infinity's own has no end: its value is itself.
        false if low.is_finite() => low + low / (2.0 * PAGE as f64),
        false => low,
    };
    if key < 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_distr::{Distribution, LogNormal, Pareto};

    const LEVELS: [f64; 11] = [0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0];

    fn exact(sorted: &[f64], level: f64) -> f64 {
        sorted[nearest_rank(level, sorted.len() as u64) as usize - 1]
    }

    fn check(values: &mut [f64], sketch: &Sketch) {
        values.sort_by(f64::total_cmp);
        for level in LEVELS {
            let (exact, got) = (exact(values, level), sketch.quantile(level).expect("values"));
            let error = if exact == got { 0.0 } else { ((got - exact) / exact).abs() };
            assert!(
                error <= RELATIVE_ERROR,
                "level {level}: {got} for {exact}, error {error}, {} values",
                values.len()
            );
        }
    }

    fn heavy_tailed(random: &mut rand_chacha::ChaCha8Rng, n: usize) -> Vec<f64> {
        let lognormal =
            LogNormal::new(random.random_range(-20.0..20.0), random.random_range(0.01..4.0)).expect("valid");
        let pareto = Pareto::new(1e-3, random.random_range(0.2..3.0)).expect("valid");
        let kind = random.random_range(0..4);
        (0..n)
            .map(|_| match kind {
                0 => lognormal.sample(random),
                1 => pareto.sample(random),
                2 => -pareto.sample(random),
                _ => match random.random_range(0..4) {
                    0 => lognormal.sample(random),
                    1 => -pareto.sample(random),
                    2 => 0.0,
                    _ => f64::from(random.random_range(-3..3_i8)),
                },
            })
            .collect()
    }

    #[test]
    fn any_quantile_is_within_the_bound_however_the_parts_are_merged() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        for round in 0..300 {
            let n = [1, 2, 3, 10, 100, 3_000][round % 6];
            let mut values = heavy_tailed(&mut random, n);
            let mut parts = vec![Sketch::default(); random.random_range(1..6)];
            for value in &values {
                let part = random.random_range(0..parts.len());
                if !parts[part].insert_in_place(*value) {
                    parts[part].insert(*value);
                }
            }
            let mut merged = Sketch::default();
            while !parts.is_empty() {
                let mut bytes = Vec::new();
                parts.swap_remove(random.random_range(0..parts.len())).write(&mut bytes);
                merged.merge_bytes(&bytes).expect("a sketch");
            }
            check(&mut values, &merged);
        }
    }

    #[test]
    fn the_ends_of_the_range_are_kept() {
        let mut values =
            vec![f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -f64::MIN_POSITIVE, 0.0, 1.0];
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.insert(*value));
        check(&mut values, &sketch);
        assert_eq!(Sketch::default().quantile(0.5), None);
        assert_eq!(Sketch::default().merge_bytes(&[1, 2, 3]), None);
    }

    #[test]
    fn shares_are_those_of_the_values_up_to_one() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.share(1.0), None);
        (-500..500).for_each(|n| sketch.insert(f64::from(n)));
        for (value, share) in
            [(-501.0, 0.0), (0.0, 0.501), (7.5, 0.508), (400.0, 0.901), (1e9, 1.0), (f64::INFINITY, 1.0)]
        {
            let got = sketch.share(value).expect("values");
            // A bucket of 400 holds four values.
            assert!((got - share).abs() <= 0.004, "{value}: {got}");
        }
    }

    #[test]
    fn what_is_taken_out_no_longer_counts() {
        let mut sketch = Sketch::default();
        (1..=1_000).for_each(|n| sketch.insert(f64::from(n)));
        (1..=900).for_each(|n| sketch.retract(f64::from(n)));
        let median = sketch.quantile(0.5).expect("values");
        assert!((median - 950.0).abs() / 950.0 <= RELATIVE_ERROR, "{median}");
    }

    #[test]
    fn ranks_are_those_of_exact_arithmetic() {
        for (level, count, rank) in
            [(0.07, 100, 7), (0.95, 20, 19), (0.5, 3, 2), (0.0, 5, 1), (1.0, 5, 5), (0.29, 100, 29), (0.5, 4, 2)]
        {
            assert_eq!(nearest_rank(level, count), rank, "{level} of {count}");
        }
    }
}
