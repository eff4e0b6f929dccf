//! Random numbers that are the same on every machine and with every version of the crates below.
//!
//! Only ChaCha's raw output is used; ranges and distributions are made here from additions, multiplications and table-free
//! polynomials, which IEEE 754 fixes to the last bit, unlike a platform's `exp` or `ln`.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A stream of random numbers from a seed.
pub(super) struct Random(ChaCha8Rng);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(bytes))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `permille` of 1,000 cases.
    pub(super) fn chance(&mut self, permille: u32) -> bool {
        self.below(1000) < permille
    }

    /// One of `options`, which are not empty.
    pub(super) fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(options.len() as u32) as usize]
    }

    /// A lognormal number of nanoseconds with this median; `spread` is the standard deviation of its logarithm, in percent.
    pub(super) fn lognormal_ns(&mut self, median_us: u32, spread: u32) -> u64 {
        // LOG2_E turns a power of e into a power of two.
        let exponent = self.normal() * f64::from(spread) / 100.0 * std::f64::consts::LOG2_E;
        (f64::from(median_us) * 1000.0 * exp2(exponent)) as u64
    }

    /// A nearly normal number in -6..6: twelve uniform numbers summed have variance 1.
    fn normal(&mut self) -> f64 {
        let mut sum = 0;
        for _ in 0..3 {
            let bits = self.0.next_u64();
            sum += (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
        }
        sum as f64 / 65536.0 - 6.0
    }

    pub(super) fn trace_id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        self.0.fill_bytes(&mut id);
        // All zero is no id; 2^-128 is rare and still not worth an invalid span.
        id[0] |= u8::from(id == [0; 16]);
        id
    }

    pub(super) fn span_id(&mut self) -> [u8; 8] {
        self.0.next_u64().max(1).to_le_bytes()
    }
}

/// 2 to the power of `x`, for |x| < 1000, to about 1e-7 of the value.
fn exp2(x: f64) -> f64 {
    let whole = x.floor();
    let y = (x - whole) * std::f64::consts::LN_2;
    // The Taylor series of e^y for y in 0..ln 2.
    let mut sum = 1.0;
    for term in (1..=9).rev() {
        sum = 1.0 + sum * y / f64::from(term);
    }
    sum * f64::from_bits(((1023 + whole as i64) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_close() {
        for step in -400..400 {
            let x = f64::from(step) / 40.0;
            assert!((exp2(x) / x.exp2() - 1.0).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn a_lognormal_sample_has_its_median_and_a_tail() {
        let mut random = Random::new(1);
        let mut sample: Vec<u64> = (0..10_001).map(|_| random.lognormal_ns(1000, 50)).collect();
        sample.sort_unstable();
        let (median, p99) = (sample[5000] as f64, sample[9900] as f64);
        assert!((median / 1e6 - 1.0).abs() < 0.03, "{median}");
        // e^(0.5 · 2.326) = 3.2
        assert!((p99 / median - 3.2).abs() < 0.3, "{}", p99 / median);
    }

    #[test]
    fn ranges_hold() {
        let mut random = Random::new(2);
        assert!((0..1000).all(|_| (3..=5).contains(&random.between(3, 5))));
        assert_eq!(random.below(0), 0);
        assert_eq!(random.between(7, 7), 7);
    }
}
