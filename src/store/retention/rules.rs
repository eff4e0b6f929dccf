//! What a user says about how long spans are kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::store::order::DAY_NS;

pub(super) const SLACK_NS: i64 = SLACK.as_nanos() as i64;

/// More rules than anybody needs, and few enough that a trace's matches fit a word.
pub const MOST_RULES: usize = 16;

/// How long spans stay on disk after they have expired, where there are rules. What decides about a span starts on the day before or after it, less than two
/// days away; until then it must be there to decide. A span that itself matches a rule stays as long again, so that the spans that it decides about go
/// before it: without it, those of a rule that keeps them shorter would be seen again.
pub(super) const SLACK: Duration = Duration::from_secs(2 * 86_400);

/// How long spans are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// For spans that no rule is about; they are kept for ever without one.
    pub age: Option<Duration>,
    /// At most [`MOST_RULES`].
    pub rules: Vec<RetentionRule>,
}

/// A rule about traces: one that has a span for which all conditions hold is kept for `keep`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// The span's service.
    pub service: Option<String>,
    /// The span is an error.
    pub errors: bool,
    /// The span takes longer.
    pub slower_than: Option<Duration>,
    pub keep: Duration,
}

impl Retention {
    /// Whether everything is kept for ever.
    pub fn is_off(&self) -> bool {
        self.age.is_none() && self.rules.is_empty()
    }

    /// The time at which to look when room is made on disk.
    pub(crate) fn reclaim_ms(&self, now_unix_ms: i64) -> i64 {
        let slack_ms = if self.rules.is_empty() { 0 } else { SLACK.as_millis() as i64 };
        now_unix_ms.saturating_sub(slack_ms)
    }

    pub(crate) fn cutoffs(&self, now_unix_ms: i64) -> Cutoffs {
        let cutoff_ns = |keep: Duration| {
            let before_ns = i128::from(now_unix_ms) * 1_000_000 - keep.as_nanos() as i128;
            before_ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
        };
        Cutoffs {
            otherwise_ns: self.age.map_or(i64::MIN, cutoff_ns),
            rules_ns: self.rules.iter().map(|rule| cutoff_ns(rule.keep)).collect(),
        }
    }
}

/// Before which start spans have expired, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cutoffs {
    /// Spans that no rule is about.
    pub otherwise_ns: i64,
    /// Spans of traces that match, by rule.
    pub rules_ns: Vec<i64>,
}

impl Cutoffs {
    fn all(&self) -> impl Iterator<Item = i64> {
        self.rules_ns.iter().copied().chain([self.otherwise_ns])
    }

    /// A span that starts at this or later is seen, whatever its trace is.
    pub fn all_from_ns(&self) -> i64 {
        self.all().max().unwrap_or(i64::MIN)
    }

    /// A span that starts before this is not seen, whatever its trace is.
    pub fn none_before_ns(&self) -> i64 {
        self.all().min().unwrap_or(i64::MIN)
    }

    /// How many of the times at which something may go a start lies before: the cutoffs, and those of spans that match rules.
    pub fn passed(&self, start_ns: i64) -> usize {
        let of_matching = self.rules_ns.iter().map(|cutoff_ns| cutoff_ns.saturating_sub(SLACK_NS));
        let mut passed: Vec<i64> = self.all().chain(of_matching).filter(|cutoff_ns| start_ns < *cutoff_ns).collect();
        passed.sort_unstable();
        passed.dedup();
        passed.len()
    }

    /// The cutoff for a trace that matches the rules of `mask`.
    pub fn of_mask(&self, mask: u16) -> i64 {
        let of_rules = self.rules_ns.iter().enumerate().filter(|(rule, _)| mask & 1 << rule != 0);
        of_rules.map(|(_, cutoff_ns)| *cutoff_ns).min().unwrap_or(self.otherwise_ns)
    }
}

/// The days, counted from 1970, whose matches decide about a span that starts then.
pub(crate) fn deciding_days(start_ns: i64) -> std::ops::RangeInclusive<i64> {
    let day = start_ns.div_euclid(DAY_NS);
    day.saturating_sub(1)..=day.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(keep_s: u64) -> RetentionRule {
        RetentionRule { service: None, errors: true, slower_than: None, keep: Duration::from_secs(keep_s) }
    }

    #[test]
    fn the_cutoff_is_exact_and_never_wraps() {
        for (age_s, now_ms, before_ns) in [
            (1, 1_000, 0),
            (1, 1_500, 500_000_000),
            (0, 7, 7_000_000),
            (u64::MAX, 0, i64::MIN),
            (0, i64::MAX, i64::MAX),
        ] {
            let retention = Retention { age: Some(Duration::from_secs(age_s)), rules: Vec::new() };
            let cutoffs = retention.cutoffs(now_ms);
            let both = (cutoffs.all_from_ns(), cutoffs.none_before_ns());
            assert_eq!(both, (before_ns, before_ns), "{age_s} {now_ms}");
        }
    }

    #[test]
    fn the_longest_rule_that_matches_wins_over_the_age_whether_longer_or_shorter() {
        let age = Some(Duration::from_secs(100));
        let cutoffs = Retention { age, rules: vec![rule(10), rule(1000)] }.cutoffs(2_000_000);
        let s = |seconds: i64| seconds * 1_000_000_000;
        for (mask, cutoff_s) in [(0b00, 1900), (0b01, 1990), (0b10, 1000), (0b11, 1000)] {
            assert_eq!(cutoffs.of_mask(mask), s(cutoff_s), "{mask:b}");
        }
        assert_eq!((cutoffs.all_from_ns(), cutoffs.none_before_ns()), (s(1990), s(1000)));
        let slack_s = SLACK.as_secs() as i64;
        let passed =
            [(1995, 0), (1990, 0), (1989, 1), (1900, 1), (1899, 2), (999, 3), (1989 - slack_s, 4), (999 - slack_s, 5)];
        for (start_s, passed) in passed {
            assert_eq!(cutoffs.passed(s(start_s)), passed, "{start_s}");
        }
        let for_ever = Retention { age: None, rules: vec![rule(10)] }.cutoffs(2_000_000);
        assert_eq!((for_ever.of_mask(0), for_ever.none_before_ns()), (i64::MIN, i64::MIN));
    }
}
