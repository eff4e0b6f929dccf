//! Dates, times, timestamps and intervals: PostgreSQL's ISO text, and its binary counts from 2000-01-01.

use bytes::{BufMut, BytesMut};

use super::numbers::{put_integer, put_padded};

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's day zero.
pub(crate) const POSTGRES_EPOCH_DAYS: i64 = 10_957;
/// Seconds in a day.
pub(crate) const DAY_SECONDS: i64 = 86_400;

/// A point in time as whole seconds from 1970-01-01 and nanoseconds (0‥999,999,999) after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instant {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
}

impl Instant {
    /// Splits a count of units, of which `per_second` make a second.
    pub(super) fn from_units(value: i64, per_second: i64) -> Self {
        let rest = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        Self { seconds: value.div_euclid(per_second), nanos: rest as u32 }
    }

    /// Returns microseconds from 2000-01-01, rounded down; saturates at the ends of PostgreSQL's range.
    pub(super) fn postgres_micros(self) -> i64 {
        let seconds = self.seconds - POSTGRES_EPOCH_DAYS * DAY_SECONDS;
        seconds.saturating_mul(1_000_000).saturating_add(i64::from(self.nanos / 1_000))
    }
}

/// Returns year, month and day of a count of days from 1970-01-01 in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, u32, u32) {
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_index + 2) / 5 + 1) as u32;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Writes a date, with ` BC` after a year below 1.
pub(super) fn put_date(out: &mut BytesMut, days: i64) {
    if put_day(out, days) {
        out.put_slice(b" BC");
    }
}

/// Writes `YYYY-MM-DD` and returns whether the year is before Christ.
fn put_day(out: &mut BytesMut, days: i64) -> bool {
    let (year, month, day) = civil(days);
    let before_christ = year <= 0;
    let shown = if before_christ { 1 - year } else { year };
    if shown < 10_000 {
        put_padded(out, shown as u32, 4);
    } else {
        put_integer(out, i128::from(shown));
    }
    out.put_u8(b'-');
    put_padded(out, month, 2);
    out.put_u8(b'-');
    put_padded(out, day, 2);
    before_christ
}

/// Writes `HH:MM:SS` with as many decimals as the value needs and `digits` allows.
pub(super) fn put_time(out: &mut BytesMut, second_of_day: u32, nanos: u32, digits: u8) {
    put_padded(out, second_of_day / 3_600, 2);
    out.put_u8(b':');
    put_padded(out, second_of_day / 60 % 60, 2);
    out.put_u8(b':');
    put_padded(out, second_of_day % 60, 2);
    put_fraction(out, nanos, digits);
}

fn put_fraction(out: &mut BytesMut, nanos: u32, digits: u8) {
    let dropped = 9 - u32::from(digits.min(9));
    let mut value = nanos / 10u32.pow(dropped);
    let mut width = 9 - dropped;
    if value == 0 {
        return;
    }
    while value.is_multiple_of(10) {
        value /= 10;
        width -= 1;
    }
    out.put_u8(b'.');
    put_padded(out, value, width as usize);
}

/// Writes a timestamp; with `offset_seconds`, as the local time there and with the offset.
pub(super) fn put_timestamp(out: &mut BytesMut, at: Instant, offset_seconds: Option<i32>, digits: u8) {
    let local = at.seconds + i64::from(offset_seconds.unwrap_or(0));
    let before_christ = put_day(out, local.div_euclid(DAY_SECONDS));
    out.put_u8(b' ');
    put_time(out, local.rem_euclid(DAY_SECONDS) as u32, at.nanos, digits);
    if let Some(offset) = offset_seconds {
        put_offset(out, offset);
    }
    if before_christ {
        out.put_slice(b" BC");
    }
}

fn put_offset(out: &mut BytesMut, offset_seconds: i32) {
    out.put_u8(if offset_seconds < 0 { b'-' } else { b'+' });
    let offset = offset_seconds.unsigned_abs();
    put_padded(out, offset / 3_600, 2);
    if !offset.is_multiple_of(3_600) {
        out.put_u8(b':');
        put_padded(out, offset / 60 % 60, 2);
    }
}

/// Writes an interval in the `postgres` style: `1 year 2 mons -3 days 04:05:06.7`.
pub(super) fn put_interval(out: &mut BytesMut, months: i32, days: i32, nanos: i64, digits: u8) {
    let mut first = true;
    let mut negative_before = false;
    for (value, one, many) in
        [(months / 12, " year", " years"), (months % 12, " mon", " mons"), (days, " day", " days")]
    {
        if value == 0 {
            continue;
        }
        if !first {
            out.put_u8(b' ');
        }
        // A positive part after a negative one shows its sign, as PostgreSQL has it.
        if negative_before && value > 0 {
            out.put_u8(b'+');
        }
        put_integer(out, i128::from(value));
        out.put_slice(if value == 1 { one } else { many }.as_bytes());
        negative_before = value < 0;
        first = false;
    }
    if !first && nanos == 0 {
        return;
    }
    if !first {
        out.put_u8(b' ');
    }
    if nanos < 0 {
        out.put_u8(b'-');
    } else if negative_before {
        out.put_u8(b'+');
    }
    let magnitude = nanos.unsigned_abs();
    let seconds = magnitude / 1_000_000_000;
    let hours = seconds / 3_600;
    if hours < 100 {
        put_padded(out, hours as u32, 2);
    } else {
        put_integer(out, i128::from(hours));
    }
    out.put_u8(b':');
    put_padded(out, (seconds / 60 % 60) as u32, 2);
    out.put_u8(b':');
    put_padded(out, (seconds % 60) as u32, 2);
    put_fraction(out, (magnitude % 1_000_000_000) as u32, digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).expect("text")
    }

    #[test]
    fn timestamps_keep_nanoseconds_and_offsets() {
        let at = |nanos| Instant::from_units(nanos, 1_000_000_000);
        let show = |nanos, offset, digits| text(|out| put_timestamp(out, at(nanos), offset, digits));
        assert_eq!(show(0, Some(0), 9), "1970-01-01 00:00:00+00");
        assert_eq!(show(1_700_000_000_123_456_789, Some(0), 9), "2023-11-14 22:13:20.123456789+00");
        assert_eq!(show(1_700_000_000_123_456_789, Some(0), 6), "2023-11-14 22:13:20.123456+00");
        assert_eq!(show(1_700_000_000_120_000_000, None, 9), "2023-11-14 22:13:20.12");
        assert_eq!(show(-1, Some(19_800), 9), "1970-01-01 05:29:59.999999999+05:30");
        assert_eq!(show(-1, Some(-12_600), 0), "1969-12-31 20:29:59-03:30");
    }

    #[test]
    fn dates_agree_with_chrono_over_the_whole_range() {
        for days in (-800_000..3_000_000).step_by(9_973) {
            let expected = chrono::DateTime::from_timestamp(days * DAY_SECONDS, 0).expect("in range").date_naive();
            if expected >= chrono::NaiveDate::from_ymd_opt(1, 1, 1).expect("a date") {
                assert_eq!(
                    text(|out| put_date(out, days)),
                    expected.format("%Y-%m-%d").to_string().trim_start_matches('+')
                );
            }
        }
        assert_eq!(text(|out| put_date(out, -719_528)), "0001-01-01 BC");
    }

    #[test]
    fn binary_timestamps_round_down() {
        let micros = |nanos| Instant::from_units(nanos, 1_000_000_000).postgres_micros();
        assert_eq!(micros(946_684_800_000_000_000), 0);
        assert_eq!(micros(946_684_800_000_000_999), 0);
        assert_eq!(micros(946_684_799_999_999_999), -1);
    }

    #[test]
    fn intervals_read_as_postgresql_writes_them() {
        let show = |months, days, nanos| text(|out| put_interval(out, months, days, nanos, 9));
        assert_eq!(show(0, 0, 0), "00:00:00");
        assert_eq!(show(14, 3, 14_706_700_000_000), "1 year 2 mons 3 days 04:05:06.7");
        assert_eq!(show(0, -1, 3_600_000_000_000), "-1 days +01:00:00");
        assert_eq!(show(0, 0, -5_000_000_000), "-00:00:05");
        assert_eq!(show(0, 1, 0), "1 day");
    }
}
