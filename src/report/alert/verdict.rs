//! Whether a value is bad, from a rule's test and from what earlier runs had.

use crate::report::definition::Test;

/// What one run says about a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Bad,
    /// Not bad enough to begin to fire, and not good enough to cease.
    Between,
    Good,
    /// There is nothing to judge by: the state stays as it is.
    Unknown,
}

/// The verdict on a value that is there.
pub(super) fn of_value(test: &Test, value: f64, earlier: &[f64]) -> Verdict {
    if value.is_nan() {
        return Verdict::Unknown;
    }
    match *test {
        Test::Above { limit, clear, .. } => threshold(value > limit, value <= clear),
        Test::Below { limit, clear, .. } => threshold(value < limit, value >= clear),
        Test::Change { ratio, least, .. } => match baseline(test, earlier) {
            None => Verdict::Unknown,
            Some(mean) => {
                let change = (value - mean).abs();
                let is_bad = change > ratio * mean.abs() && change >= least;
                threshold(is_bad, !is_bad)
            }
        },
        // Whoever has a value is there.
        Test::Absent => Verdict::Good,
    }
}

fn threshold(is_bad: bool, is_good: bool) -> Verdict {
    match (is_bad, is_good) {
        (true, _) => Verdict::Bad,
        (false, true) => Verdict::Good,
        (false, false) => Verdict::Between,
    }
}

/// What a value is compared with: the mean of earlier runs, once there are as many as the rule wants.
pub(super) fn baseline(test: &Test, earlier: &[f64]) -> Option<f64> {
    let Test::Change { baseline_runs, .. } = test else { return None };
    let wanted = (*baseline_runs).max(1) as usize;
    let last = &earlier[earlier.len().checked_sub(wanted)?..];
    // Parts of a mean cannot overflow where their sum would.
    Some(last.iter().map(|value| value / last.len() as f64).sum())
}

/// How many values of earlier runs a rule needs.
pub(super) fn values_kept(test: &Test) -> usize {
    match test {
        Test::Change { baseline_runs, .. } => (*baseline_runs).max(1) as usize,
        _ => 0,
    }
}

/// The value of a group that has several rows: the worst of them for a limit, their mean for a change.
pub(super) fn of_rows(test: &Test, rows: &[f64]) -> Option<f64> {
    let known = rows.iter().copied().filter(|value| !value.is_nan());
    match test {
        Test::Above { .. } => known.reduce(f64::max),
        Test::Below { .. } => known.reduce(f64::min),
        Test::Change { .. } => {
            let count = known.clone().count();
            let mean: f64 = known.map(|value| value / count as f64).sum();
            // The mean of +∞ and −∞ is no value either.
            (count > 0 && !mean.is_nan()).then_some(mean)
        }
        Test::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    fn above() -> Test {
        Test::Above { column: "v".to_owned(), limit: 5.0, clear: 2.0 }
    }

    fn below() -> Test {
        Test::Below { column: "v".to_owned(), limit: 2.0, clear: 5.0 }
    }

    fn change(ratio: f64, baseline_runs: u32, least: f64) -> Test {
        Test::Change { column: "v".to_owned(), ratio, baseline_runs, least }
    }

    #[test]
    fn limits_have_a_zone_between_bad_and_good() {
        use Verdict::*;
        for (test, value, expected) in [
            (above(), 5.1, Bad),
            (above(), 5.0, Between),
            (above(), 2.1, Between),
            (above(), 2.0, Good),
            (above(), f64::INFINITY, Bad),
            (above(), f64::NEG_INFINITY, Good),
            (above(), NAN, Unknown),
            (below(), 1.9, Bad),
            (below(), 2.0, Between),
            (below(), 4.9, Between),
            (below(), 5.0, Good),
            (below(), NAN, Unknown),
        ] {
            assert_eq!(of_value(&test, value, &[]), expected, "{test:?} {value}");
        }
    }

    #[test]
    fn a_limit_without_hysteresis_has_nothing_between() {
        let test = Test::Above { column: "v".to_owned(), limit: 5.0, clear: 5.0 };
        assert_eq!(of_value(&test, 5.0, &[]), Verdict::Good);
        assert_eq!(of_value(&test, 5.0 + 1e-9, &[]), Verdict::Bad);
    }

    #[test]
    fn a_change_is_against_the_mean_of_the_last_runs() {
        use Verdict::*;
        for (test, value, earlier, expected) in [
            (change(0.5, 2, 0.0), 10.0, &[][..], Unknown),
            (change(0.5, 2, 0.0), 10.0, &[10.0][..], Unknown),
            (change(0.5, 2, 0.0), 15.0, &[10.0, 10.0][..], Good),
            (change(0.5, 2, 0.0), 15.1, &[10.0, 10.0][..], Bad),
            (change(0.5, 2, 0.0), 4.9, &[10.0, 10.0][..], Bad),
            (change(0.5, 2, 0.0), 15.1, &[1000.0, 10.0, 10.0][..], Bad),
            // Small numbers change much and mean little.
            (change(0.5, 2, 5.0), 4.0, &[1.0, 1.0][..], Good),
            (change(0.5, 2, 5.0), 6.0, &[1.0, 1.0][..], Bad),
            // From nothing, any change is more than any part of nothing.
            (change(0.5, 1, 0.0), 0.0, &[0.0][..], Good),
            (change(0.5, 1, 0.0), 0.1, &[0.0][..], Bad),
            (change(0.5, 1, 0.0), -16.0, &[-10.0][..], Bad),
            (change(0.5, 1, 0.0), f64::INFINITY, &[1.0][..], Bad),
            (change(0.5, 2, 0.0), f64::MAX, &[f64::MAX, f64::MAX][..], Good),
        ] {
            assert_eq!(of_value(&test, value, earlier), expected, "{test:?} {value} {earlier:?}");
        }
    }

    #[test]
    fn several_rows_are_one_value() {
        for (test, rows, expected) in [
            (above(), &[1.0, 7.0, NAN][..], Some(7.0)),
            (below(), &[1.0, 7.0, NAN][..], Some(1.0)),
            (change(0.1, 1, 0.0), &[1.0, 7.0, NAN][..], Some(4.0)),
            (change(0.1, 1, 0.0), &[f64::INFINITY, f64::NEG_INFINITY][..], None),
            (above(), &[NAN][..], None),
            (change(0.1, 1, 0.0), &[][..], None),
            (Test::Absent, &[1.0][..], None),
        ] {
            assert_eq!(of_rows(&test, rows), expected, "{test:?} {rows:?}");
        }
    }
}
