//! Whether two samples differ by more than chance: shares of two samples, and numbers of two samples.
//!
//! All p-values are two-sided, and of observations that are independent of each other.

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// So many observations at most for [`fisher_exact`], which visits all counts that are not utterly unlikely.
pub const MAX_EXACT: u64 = 1_000_000_000;

/// Where an expected count is below this, Pearson's test is no good approximation (Cochran, *Biometrics* 10, 1954).
const LEAST_EXPECTED: f64 = 5.0;

/// Tables whose probabilities differ by no more than this are equally likely: they are sums of rounded numbers.
const RELATIVE_ERROR: f64 = 1e-7;

/// How many observations of a sample have some property. `with` is at most `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub with: u64,
    pub of: u64,
}

impl Share {
    fn without(self) -> u64 {
        self.of - self.with
    }
}

/// The p-value of two samples having the property equally often: [`fisher_exact`] where few are expected to have or to lack it,
/// [`chi_square`] else.
pub fn equal_shares(first: Share, second: Share) -> f64 {
    let all = (first.of + second.of) as f64;
    let smaller = first.of.min(second.of) as f64;
    let rarer = (first.with + second.with).min(first.without() + second.without()) as f64;
    match smaller * rarer / all < LEAST_EXPECTED && first.of + second.of <= MAX_EXACT {
        true => fisher_exact(first, second),
        false => chi_square(first, second),
    }
}

/// Fisher's exact test: the probability of all tables with these margins that are no more likely than this one (Fisher, *Statistical Methods
/// for Research Workers*, 1934). Both samples together have [`MAX_EXACT`] observations at most.
pub fn fisher_exact(first: Share, second: Share) -> f64 {
    let with = first.with + second.with;
    let (least, most) = (with.saturating_sub(second.of), with.min(first.of));
    let mode = (u128::from(first.of + 1) * u128::from(with + 1) / u128::from(first.of + second.of + 2)) as u64;
    // How much more likely one more with the property is in the first sample, and one less. The counts are exact as doubles.
    let up = |count: u64| {
        (first.of - count) as f64 * (with - count) as f64 / ((count + 1) as f64 * (second.of + count + 1 - with) as f64)
    };
    let down = |count: u64| up(count - 1).recip();
    let above = || walk(1.0, mode..most, up);
    let below = || walk(1.0, (least + 1..mode + 1).rev(), down);
    let far = first.with.abs_diff(mode) as usize;
    let seen = match first.with {
        with if with > mode => above().nth(far - 1),
        with if with < mode => below().nth(far - 1),
        _ => Some(1.0),
    };
    // A weight that no double holds with all its digits is as good as none.
    let Some(seen) = seen else { return 0.0 };
    let (mut all, mut tails) = (0.0, 0.0);
    for weight in below().chain(above()).chain([1.0]) {
        all += weight;
        if weight <= seen * (1.0 + RELATIVE_ERROR) {
            tails += weight;
        }
    }
    f64::min(tails / all, 1.0)
}

/// The weights of counts, each from that of the one before, as long as there are any.
fn walk(from: f64, counts: impl Iterator<Item = u64>, step: impl Fn(u64) -> f64) -> impl Iterator<Item = f64> {
    let weights = counts.scan(from, move |weight, count| {
        *weight *= step(count);
        Some(*weight)
    });
    weights.take_while(|weight| *weight >= f64::MIN_POSITIVE)
}

/// Pearson's chi-square test of a table of two by two, without a correction for continuity: the two-sided test of two proportions by the
/// normal distribution (Pearson, *Philosophical Magazine* 50, 1900).
pub fn chi_square(first: Share, second: Share) -> f64 {
    let (a, b) = (first.with as f64, first.without() as f64);
    let (c, d) = (second.with as f64, second.without() as f64);
    let margins = (a + b) * (c + d) * (a + c) * (b + d);
    if margins == 0.0 {
        return 1.0;
    }
    let statistic = (a + b + c + d) * (a * d - b * c).powi(2) / margins;
    beyond(statistic)
}

/// Cohen's h, the effect size of two proportions: 0.2 is small, 0.5 medium, 0.8 large, π the most (Cohen, *Statistical Power Analysis for
/// the Behavioral Sciences*, 1988, chapter 6).
pub fn cohens_h(first: f64, second: f64) -> f64 {
    2.0 * first.sqrt().asin() - 2.0 * second.sqrt().asin()
}

/// What the Mann–Whitney test says of two samples of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// The chance that a number of the first sample is above one of the second, with ties for one half (Vargha and Delaney's A, *Journal of
    /// Educational and Behavioral Statistics* 25, 2000).
    pub superiority: f64,
    pub p_value: f64,
}

/// The Mann–Whitney test (*Annals of Mathematical Statistics* 18, 1947) of two samples in bins, of which each is above the one before: how many
/// numbers each sample has in the bin. By the normal distribution, corrected for ties and continuity. `None` where a sample is empty.
pub fn mann_whitney(bins: impl IntoIterator<Item = [u64; 2]>) -> Option<Ranked> {
    let (mut first, mut second, mut above, mut ties) = (0.0, 0.0, 0.0, 0.0);
    for [of_first, of_second] in bins {
        let (of_first, of_second) = (of_first as f64, of_second as f64);
        above += of_first * (second + of_second / 2.0);
        first += of_first;
        second += of_second;
        let tied = of_first + of_second;
        ties += tied.powi(3) - tied;
    }
    let (pairs, all) = (first * second, first + second);
    if pairs == 0.0 {
        return None;
    }
    let deviation = (pairs / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)))).sqrt();
    let distance = ((above - pairs / 2.0).abs() - 0.5).max(0.0);
    // Without a deviation all numbers are in one bin.
    let p_value = if deviation > 0.0 { beyond((distance / deviation).powi(2)) } else { 1.0 };
    Some(Ranked { superiority: above / pairs, p_value })
}

/// The probability that the square of a number from the normal distribution is as large or larger. The library's own normal distribution has ten digits.
fn beyond(square: f64) -> f64 {
    ChiSquared::new(1.0).map_or(f64::NAN, |distribution| distribution.sf(square))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(with: u64, of: u64) -> Share {
        Share { with, of }
    }

    fn close(got: f64, wanted: f64) -> bool {
        (got - wanted).abs() <= wanted.abs() * 1e-9
    }

    /// Wanted are scipy's `fisher_exact` and `chi2_contingency(correction=False)` of 1.17.
    #[test]
    fn shares_are_as_another_library_finds_them() {
        for (first, second, exact, approximate) in CASES {
            let (first, second) = (share(first.0, first.1), share(second.0, second.1));
            let (got_exact, got) = (fisher_exact(first, second), chi_square(first, second));
            assert!(close(got_exact, *exact), "{first:?} {second:?}: {got_exact}, not {exact}");
            assert!(close(got, *approximate), "{first:?} {second:?}: {got}, not {approximate}");
            assert!(close(fisher_exact(second, first), got_exact), "{first:?} {second:?}");
        }
    }

    /// Two shares, and both p-values.
    type Case = ((u64, u64), (u64, u64), f64, f64);

    const CASES: &[Case] = &[
        ((3, 8), (4, 54), 0.039707492465292815, 0.012074452482188277),
        ((0, 10), (5, 20), 0.14003620900172625, 0.08326451666355042),
        ((1, 2), (1, 2), 1.0, 1.0),
        ((10, 10), (0, 10), 1.082508822446903e-05, 7.744216431044088e-06),
        ((5, 100), (20, 2_000_000), 1.498455571983231e-17, 0.0),
        ((3, 1_500), (4_000, 2_000_000), 1.0, 1.0),
        ((40, 100), (30, 100), 0.1819324149014409, 0.1382076669740215),
        ((0, 7), (7, 7), 0.0005827505827505828, 0.00018281063298183515),
        ((999, 1_000), (1_999_000, 2_000_000), 0.3937725424347417, 0.4796097709972882),
        ((1, 3), (0, 4), 0.4285714285714286, 0.2123171607729613),
    ];

    /// What is utterly unlikely is still ranked. scipy's `chi2_contingency(correction=False)` and `mannwhitneyu(method="asymptotic")` of 1.17.
    #[test]
    fn tails_are_right_as_far_as_doubles_go() {
        let cases = [
            ((700, 1_000), (300, 1_000), 1.4484424372736818e-71),
            ((900, 1_000), (80, 1_000), 1.5875883410913555e-294),
            ((910, 1_000), (82, 1_000), 3.703903713855049e-300),
        ];
        for (first, second, wanted) in cases {
            let got = chi_square(share(first.0, first.1), share(second.0, second.1));
            assert!(close(got, wanted), "{first:?} {second:?}: {got}, not {wanted}");
        }
        let said = mann_whitney([[100, 920], [900, 80]]).expect("numbers");
        assert!(close(said.superiority, 0.91) && close(said.p_value, 2.226523447167557e-294), "{said:?}");
    }

    #[test]
    fn few_that_are_expected_are_counted_exactly() {
        let (rare, second) = (share(3, 8), share(4, 54));
        assert_eq!(equal_shares(rare, second), fisher_exact(rare, second));
        let (often, second) = (share(40, 100), share(30, 100));
        assert_eq!(equal_shares(often, second), chi_square(often, second));
        for (first, second) in [((0, 0), (3, 9)), ((0, 5), (0, 9)), ((5, 5), (9, 9)), ((0, 0), (0, 0))] {
            assert_eq!(equal_shares(share(first.0, first.1), share(second.0, second.1)), 1.0, "{first:?} {second:?}");
        }
        let half = MAX_EXACT / 2;
        assert_eq!(fisher_exact(share(half / 2, half), share(half / 2, half)), 1.0);
        assert_eq!(fisher_exact(share(half, half), share(0, half)), 0.0);
    }

    #[test]
    fn effects_have_their_scale() {
        assert!(close(cohens_h(1.0, 0.0), std::f64::consts::PI) && close(cohens_h(0.0, 1.0), -std::f64::consts::PI));
        assert_eq!(cohens_h(0.3, 0.3), 0.0);
        // The table of Cohen's book has h of 0.21 here.
        assert!((cohens_h(0.4, 0.3) - 0.21).abs() < 0.005);
    }

    /// scipy's `mannwhitneyu([1, 2, 2, 3, 3, 3, 4], [2, 3, 3, 4, 4, 5, 5, 9], method="asymptotic")` of 1.17: U is 11.
    #[test]
    fn ranks_are_as_another_library_finds_them() {
        let said = mann_whitney([[1, 0], [2, 1], [3, 2], [1, 2], [0, 2], [0, 1]]).expect("numbers");
        assert!(close(said.superiority, 11.0 / 56.0) && (said.p_value - 0.04988443697992588).abs() < 1e-15, "{said:?}");
        let alike = mann_whitney([[5, 7]]).expect("numbers");
        assert_eq!(alike, Ranked { superiority: 0.5, p_value: 1.0 });
        assert_eq!(mann_whitney([[5, 0], [1, 0]]), None);
    }
}
