//! Points in time as people type them in flags.

use chrono::{DateTime, TimeDelta, Utc};

use crate::engine::instant_of_text;
use crate::typed::parse_duration;

/// Nanoseconds since 1970 of a time that is typed: `now`, a duration ago such as `-2h`, RFC 3339, or what SQL reads as a time, in UTC unless it
/// names a zone.
pub(super) fn instant_ns(text: &str, now: DateTime<Utc>) -> Result<i64, String> {
    let time = match text.strip_prefix('-') {
        _ if text == "now" => now.timestamp_nanos_opt(),
        Some(ago) => parse_duration(ago).ok().and_then(|ago| {
            now.checked_sub_signed(TimeDelta::from_std(ago).ok()?).and_then(|time| time.timestamp_nanos_opt())
        }),
        None => instant_of_text(text, "UTC"),
    };
    time.ok_or_else(|| format!("\"{text}\" is not a time: write 2026-01-05T09:00:00Z, now, or -2h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_now_a_while_ago_or_a_date() {
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        assert_eq!(instant_ns("now", now), Ok(1_000_000_000_000_000));
        assert_eq!(instant_ns("-1h", now), Ok(996_400_000_000_000));
        for text in ["2026-01-05T09:00:00Z", "2026-01-05 09:00", "2026-01-05T10:00:00+01:00"] {
            assert_eq!(instant_ns(text, now), Ok(1_767_603_600_000_000_000), "{text}");
        }
        for text in ["", "soon", "-soon", "2026-13-01"] {
            instant_ns(text, now).expect_err(text);
        }
    }
}
