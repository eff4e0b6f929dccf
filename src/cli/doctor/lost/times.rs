//! Times of spans beside the time that it is: what a question about the last hour misses, and why.

use chrono::DateTime;

use crate::cli::note::{Note, duration};

const HOUR_SECONDS: f64 = 3_600.0;
/// Clocks of senders that are kept by NTP agree with this one within less.
const MOST_AHEAD_SECONDS: f64 = 5.0;
/// What an exporter's queue and a Collector's batches may hold spans back by.
const USUAL_DELAY_SECONDS: f64 = 900.0;
/// A time that is off by whole hours, give or take this, was one of a zone.
const ZONE_SLACK_SECONDS: f64 = 180.0;

/// A time in nanoseconds since 1970, as SQL takes it.
pub(super) fn at(ns: i64) -> String {
    DateTime::from_timestamp_nanos(ns).format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// From when until when some spans start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Starts {
    pub first_ns: i64,
    pub last_ns: i64,
}

impl Starts {
    /// How long ago the last one started, in seconds; below zero for one of the future.
    pub fn ago_seconds(self, now_ns: i64) -> f64 {
        (now_ns as f64 - self.last_ns as f64) / 1e9
    }
}

/// What a question with `now()` makes of spans that start then. Fresh ones have arrived a short while ago: before `fresh_seconds` at most.
pub(super) fn seen_by_now(starts: Starts, fresh_seconds: Option<f64>, now_ns: i64) -> Option<Note> {
    let ago = starts.ago_seconds(now_ns);
    let range = format!(
        "ask for the time that the sender gave: timestamp BETWEEN '{}' AND '{}'",
        at(starts.first_ns),
        at(starts.last_ns)
    );
    if ago < -MOST_AHEAD_SECONDS {
        let text = format!("it starts {} from now: the sender's clock is ahead{}", duration(-ago), zone(-ago));
        let advice =
            format!("a range that ends with now() does not see it. Set the sender's clock; until then {range}");
        return Some(Note::warn("time", text, advice));
    }
    if let Some(fresh) = fresh_seconds.filter(|fresh| ago > fresh + USUAL_DELAY_SECONDS) {
        let text = format!(
            "it arrived within the last {} and says that it started {} ago: the sender's clock is behind{}, or the sender kept it so long",
            duration(fresh),
            duration(ago),
            zone(ago)
        );
        let advice =
            format!("a question about the last hour (timestamp > now() - INTERVAL '1 hour') does not see it; {range}");
        return Some(Note::warn("time", text, advice));
    }
    (ago > HOUR_SECONDS).then(|| {
        let text = format!("it started {} ago: a question about the last hour does not see it", duration(ago));
        Note::warn("time", text, range)
    })
}

fn zone(off_seconds: f64) -> &'static str {
    let hours = (off_seconds / HOUR_SECONDS).round();
    let is_whole = (1.0..=14.0).contains(&hours) && (off_seconds - hours * HOUR_SECONDS).abs() < ZONE_SLACK_SECONDS;
    if is_whole { " by whole hours, as when a local time is sent as UTC" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;
    const NOW: i64 = 1_900_000_000 * S;

    fn text(ago_s: i64, fresh_seconds: Option<f64>) -> Option<String> {
        let starts = Starts { first_ns: NOW - (ago_s + 1) * S, last_ns: NOW - ago_s * S };
        seen_by_now(starts, fresh_seconds, NOW).map(|note| note.text)
    }

    #[test]
    fn a_time_is_told_when_questions_miss_it() {
        assert_eq!(text(60, Some(60.0)), None);
        assert_eq!(text(-4, Some(60.0)), None);
        assert_eq!(text(3_000, None), None);
        assert_eq!(
            text(7_300, None).as_deref(),
            Some("it started 2 h ago: a question about the last hour does not see it")
        );
        assert_eq!(text(-600, None).as_deref(), Some("it starts 10 min from now: the sender's clock is ahead"));
        let whole = text(-7_205, Some(60.0)).expect("ahead");
        assert!(whole.ends_with("ahead by whole hours, as when a local time is sent as UTC"), "{whole}");
        let behind = text(7_100, Some(60.0)).expect("behind");
        assert!(behind.starts_with("it arrived within the last 60 s and says that it started 118 min ago: the sender's clock is behind by whole hours"), "{behind}");
        assert_eq!(text(5_400, Some(60.0)).map(|text| text.contains("whole hours")), Some(false));
        assert_eq!(at(NOW), "2030-03-17 17:46:40Z");
    }
}
