//! Ranges of numbers for a histogram: of one width, or doubling where most numbers are far below the largest.

use chrono::DateTime;

use super::charts::Bar;

const SECOND_NS: i64 = 1_000_000_000;

/// The ranges that a histogram is to have.
const WANTED: f64 = 16.0;
/// The largest number is so many times the middle one: then ranges of one width would put nearly all into the first.
const SKEWED: f64 = 12.0;
/// Ranges that double are at most so many; what lies below is one.
const MAX_OCTAVES: i32 = 24;

/// How numbers are put into ranges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bins {
    /// Ranges of one width from a number on.
    Even { from: f64, width: f64, count: i64 },
    /// Ranges that double: a range ends with a power of two, and has it. What is at most the least power is one.
    Doubling { low: i32, high: i32 },
    /// Intervals of time.
    Times { start_ns: i64, interval_ns: i64, count: usize },
}

impl Bins {
    /// Ranges for numbers between two with a middle one.
    pub fn over(low: f64, high: f64, middle: f64) -> Self {
        if low >= 0.0 && middle > 0.0 && high / middle >= SKEWED {
            let top = high.log2().ceil() as i32;
            let bottom = if low > 0.0 { low.log2().ceil() as i32 } else { top - MAX_OCTAVES };
            return Self::Doubling { low: bottom.max(top - MAX_OCTAVES), high: top };
        }
        let width = nice((high - low) / WANTED);
        let from = (low / width).floor() * width;
        // The greatest number may stand at the end of the last range.
        let count = ((high - from) / width).floor() as i64 + 1;
        Self::Even { from, width, count: count.max(1) }
    }

    /// The number of the range of x, as SQL.
    pub fn sql(self) -> String {
        match self {
            Self::Even { from, width, .. } => format!("floor((x - ({from:e})) / {width:e})"),
            Self::Times { start_ns, interval_ns, .. } => format!("floor((x - ({start_ns})) / {interval_ns})"),
            Self::Doubling { low, high } => {
                format!("CASE WHEN x > 0 THEN greatest({low}, least({high}, ceil(log2(x)))) ELSE {low} END")
            }
        }
    }

    /// A bar for every range, also for those that nothing is in.
    pub fn bars(self, counted: impl Iterator<Item = (i64, u64)>) -> Vec<Bar> {
        let (first, last) = match self {
            Self::Even { count, .. } => (0, count - 1),
            Self::Doubling { low, high } => (i64::from(low), i64::from(high)),
            Self::Times { count, .. } => (0, i64::try_from(count).unwrap_or(i64::MAX) - 1),
        };
        let mut bars: Vec<Bar> = (first..=last).map(|bin| Bar { label: self.label(bin), count: 0 }).collect();
        for (bin, count) in counted {
            // A number may fall out of its range by its last digit.
            let at = usize::try_from(bin.clamp(first, last) - first).unwrap_or(0);
            bars[at].count += count;
        }
        let end = bars.iter().rposition(|bar| bar.count > 0).map_or(0, |last| last + 1);
        bars.truncate(end);
        bars
    }

    fn label(self, bin: i64) -> String {
        match self {
            Self::Even { from, width, .. } => {
                let at = |bin: i64| from + width * bin as f64;
                format!("{} to {}", number(at(bin)), number(at(bin + 1)))
            }
            Self::Times { start_ns, interval_ns, .. } => {
                let at = DateTime::from_timestamp_nanos(start_ns.saturating_add(interval_ns.saturating_mul(bin)));
                at.format(if interval_ns % SECOND_NS == 0 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S%.3f" })
                    .to_string()
            }
            Self::Doubling { low, .. } => {
                let at = |bin: i64| 2_f64.powi(i32::try_from(bin).unwrap_or(0));
                match bin == i64::from(low) {
                    true => format!("up to {}", number(at(bin))),
                    false => format!("{} to {}", number(at(bin - 1)), number(at(bin))),
                }
            }
        }
    }
}

/// The least of 1, 2, 2.5 and 5 times a power of ten that is not less.
fn nice(width: f64) -> f64 {
    if width <= 0.0 || !width.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(width.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|nice| *nice >= width * 0.999_999).unwrap_or(10.0 * power)
}

/// A number with four digits that count.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.abs() >= 1e7 || value.abs() < 1e-4 {
        return format!("{value:.2e}");
    }
    let decimals = usize::try_from((3 - value.abs().log10().floor() as i64).clamp(0, 6)).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_even_or_double() {
        assert_eq!(Bins::over(0.0, 160.0, 80.0), Bins::Even { from: 0.0, width: 10.0, count: 17 });
        assert_eq!(Bins::over(-3.0, 37.0, 10.0), Bins::Even { from: -5.0, width: 2.5, count: 17 });
        assert_eq!(Bins::over(0.3, 900.0, 4.0), Bins::Doubling { low: -1, high: 10 });
        assert_eq!(Bins::over(0.0, 1e12, 1.0), Bins::Doubling { low: 16, high: 40 });
        assert_eq!(Bins::over(5.0, 5.0, 5.0), Bins::Even { from: 5.0, width: 1.0, count: 1 });
    }

    #[test]
    fn every_range_has_a_bar_up_to_the_last_that_has_any() {
        let bars = Bins::over(0.3, 900.0, 4.0).bars([(-1, 2), (2, 5), (99, 1)].into_iter());
        assert_eq!(bars.len(), 12);
        let shown: Vec<(&str, u64)> = bars.iter().map(|bar| (bar.label.as_str(), bar.count)).collect();
        assert_eq!(shown[..4], [("up to 0.5", 2), ("0.5 to 1", 0), ("1 to 2", 0), ("2 to 4", 5)]);
        assert_eq!(shown[11], ("512 to 1024", 1));
        let even = Bins::over(0.0, 160.0, 80.0).bars([(0, 1), (15, 1)].into_iter());
        assert_eq!((even.len(), even[15].label.as_str()), (16, "150 to 160"));
    }

    #[test]
    fn the_sql_says_the_same() {
        assert_eq!(Bins::over(-3.0, 37.0, 10.0).sql(), "floor((x - (-5e0)) / 2.5e0)");
        assert!(Bins::over(0.3, 900.0, 4.0).sql().contains("greatest(-1, least(10, ceil(log2(x))))"));
    }
}
