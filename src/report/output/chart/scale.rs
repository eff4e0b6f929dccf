//! Linear scales: from values to pixels, with ticks at round values.

use super::unit::{Measure, Unit, number};

/// The share of the greatest value within which all must lie for an axis not to begin at 0.
const ZOOM_BELOW: f64 = 0.1;

/// A linear axis over finite values.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    pub least: f64,
    pub greatest: f64,
    /// The values of ticks, with their labels.
    pub ticks: Vec<(f64, String)>,
}

impl Scale {
    /// An axis for values between `least` and `greatest`, with about `wanted` ticks.
    pub fn of(least: f64, greatest: f64, unit: &Unit, wanted: usize) -> Self {
        let (least, greatest) = widened(least, greatest);
        let measure = unit.measure(least.abs().max(greatest.abs()));
        let (low, high) = (least / measure.factor, greatest / measure.factor);
        let step = round_step((high / 2.0 - low / 2.0) * 2.0 / wanted.max(1) as f64);
        // Where a step is lost in rounding, the ends are all that can be told.
        let first = (low / step + 1e-9).floor();
        let last = (high / step - 1e-9).ceil();
        if !(step.is_finite() && first.is_finite() && last.is_finite()) || last - first > 100.0 || first + 1.0 == first
        {
            return Self { least, greatest, ticks: vec![(least, unit.show(least)), (greatest, unit.show(greatest))] };
        }
        let ticks: Vec<(f64, String)> = (0..=(last - first) as i64)
            .map(|at| (first + at as f64) * step)
            .map(|value| (finite(value * measure.factor), label(value, step, &measure)))
            .collect();
        let end = |at: f64| finite(at * step * measure.factor);
        Self { least: end(first), greatest: end(last), ticks }
    }

    /// The same with its end at a value, and without the ticks beyond.
    pub fn ending_at(mut self, greatest: f64) -> Self {
        if greatest > self.least {
            self.ticks.retain(|(value, _)| *value <= greatest);
            self.greatest = greatest;
        }
        self
    }

    /// Where a value lies, from 0 to 1. Differences of numbers near the ends of the type do not overflow.
    pub fn share(&self, value: f64) -> f64 {
        let span = self.greatest / 2.0 - self.least / 2.0;
        if span <= 0.0 {
            return 0.5;
        }
        ((value / 2.0 - self.least / 2.0) / span).clamp(0.0, 1.0)
    }

    /// Whether an axis of values that are all positive leaves 0 out.
    pub fn leaves_zero_out(&self) -> bool {
        self.least > 0.0 || self.greatest < 0.0
    }
}

/// The end of the numbers for what lies beyond them.
fn finite(value: f64) -> f64 {
    value.clamp(f64::MIN, f64::MAX)
}

/// The ends of an axis: with 0 in it unless all values lie close together, and never of no length.
fn widened(least: f64, greatest: f64) -> (f64, f64) {
    if least == 0.0 && greatest == 0.0 {
        return (0.0, 1.0);
    }
    let farthest = least.abs().max(greatest.abs());
    let together = (greatest / 2.0 - least / 2.0) < ZOOM_BELOW * farthest / 2.0;
    match together && least < greatest {
        true => (least, greatest),
        false => (least.min(0.0), greatest.max(0.0)),
    }
}

/// The least of 1, 2, 2.5, 5 and 10, times a power of ten, that is no less than `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let found = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|round| round * power >= step * (1.0 - 1e-9));
    found.unwrap_or(10.0) * power
}

fn label(value: f64, step: f64, measure: &Measure) -> String {
    let decimals = (0..=6).find(|&decimals| {
        let scaled = step * 10f64.powi(decimals);
        (scaled - scaled.round()).abs() < 1e-6 * scaled.max(1e-3)
    });
    let decimals = decimals.map_or(usize::MAX, |decimals| decimals as usize);
    if value.abs() < step / 2.0 {
        return "0".to_owned();
    }
    measure.with_name(&number(value, decimals))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(least: f64, greatest: f64, unit: &Unit) -> String {
        let ticks = Scale::of(least, greatest, unit, 5).ticks;
        ticks.into_iter().map(|(_, label)| label.replace('\u{a0}', " ")).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn ticks_are_round_in_the_unit_that_is_shown() {
        let plain = Unit::Other(String::new());
        let cases = [
            (0.0, 97.0, &plain, "0, 20, 40, 60, 80, 100"),
            (3.0, 97.0, &plain, "0, 20, 40, 60, 80, 100"),
            (-7.0, 12.0, &plain, "−10, −5, 0, 5, 10, 15"),
            (0.0, 1_450.0, &Unit::Time(1e6), "0, 0.5 s, 1.0 s, 1.5 s"),
            (0.0, 290_000.0, &Unit::Time(1e6), "0, 1 min, 2 min, 3 min, 4 min, 5 min"),
            (0.0, 0.05, &Unit::Share, "0, 1 %, 2 %, 3 %, 4 %, 5 %"),
            (0.991, 0.999, &Unit::Share, "99.0 %, 99.2 %, 99.4 %, 99.6 %, 99.8 %, 100.0 %"),
            (0.0, 5.0 * 1024.0 * 1024.0, &Unit::Bytes, "0, 1 MiB, 2 MiB, 3 MiB, 4 MiB, 5 MiB"),
            (0.0, 0.0, &plain, "0, 0.2, 0.4, 0.6, 0.8, 1.0"),
            (5.0, 5.0, &plain, "0, 1, 2, 3, 4, 5"),
            (0.0, 2_500_000.0, &plain, "0, 0.5M, 1.0M, 1.5M, 2.0M, 2.5M"),
        ];
        for (least, greatest, unit, shown) in cases {
            assert_eq!(labels(least, greatest, unit), shown, "{least} to {greatest}");
        }
    }

    #[test]
    fn no_numbers_are_too_large_too_small_or_too_close() {
        let ends = [f64::MIN, -1e300, -1.0, -f64::MIN_POSITIVE, 0.0, 5e-324, 1e-300, 1.0, 1e15, 1e15 + 2.0, f64::MAX];
        for (at, least) in ends.into_iter().enumerate() {
            for greatest in &ends[at..] {
                let scale = Scale::of(least, *greatest, &Unit::Other(String::new()), 5);
                assert!((2..=103).contains(&scale.ticks.len()), "{least} to {greatest}: {} ticks", scale.ticks.len());
                for value in [least, *greatest] {
                    let share = scale.share(value);
                    assert!((0.0..=1.0).contains(&share), "{value} lies at {share} of {least} to {greatest}");
                }
                assert!(scale.share(least) <= scale.share(*greatest));
            }
        }
    }
}
