//! What is to come of a report, and what it asks about, in words and times for people.

use std::time::Duration;

use super::bind::effective;
use super::definition::{FROM, Report, Span, TO, When, Window};
use super::schedule::Timetable;
use super::window;
use super::zone::moment_text;
use crate::error::{Error, Result};
use crate::typed::duration_text;

/// Names and texts of values.
type Values = Vec<(String, String)>;

impl Report {
    /// When it is due next, in milliseconds since 1970; `None` for a report that does not run by itself.
    pub fn next_due_ms(&self, after_ms: i64) -> Option<i64> {
        let schedule = self.schedule.as_ref().filter(|_| self.enabled)?;
        Timetable::new(schedule).ok()?.next_after(after_ms)
    }

    /// When it runs: `0 7 * * * Europe/Berlin`, `every 5m`; nothing for one that only people run.
    pub fn schedule_text(&self) -> Option<String> {
        let schedule = self.schedule.as_ref()?;
        Some(match &schedule.when {
            When::Cron(text) => format!("{text} {}", schedule.zone),
            When::Every(every) => format!("every {}", duration_text(*every)),
        })
    }

    /// What it asks about: `1 day`, `1h, 10m ago`; nothing without a window.
    pub fn window_text(&self) -> Option<String> {
        let Window { length, delay } = self.window?;
        let counted = |number: u32, unit: &str| format!("{number} {unit}{}", if number == 1 { "" } else { "s" });
        let length = match length {
            Span::Fixed(length) => duration_text(length),
            Span::Calendar { months: 0, days } if days.is_multiple_of(7) => counted(days / 7, "week"),
            Span::Calendar { months: 0, days } => counted(days, "day"),
            Span::Calendar { months, days: 0 } => counted(months, "month"),
            Span::Calendar { months, days } => format!("{} and {}", counted(months, "month"), counted(days, "day")),
        };
        Some(if delay == Duration::ZERO { length } else { format!("{length}, {} ago", duration_text(delay)) })
    }

    /// The window of a run that a person starts at `now_ms`, of which either end may be given instead.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`] when an end is given for a report without a window, and when there is nothing between them.
    pub fn window_at(&self, now_ms: i64, from_ms: Option<i64>, to_ms: Option<i64>) -> Result<Option<(i64, i64)>> {
        let Some(own) = &self.window else {
            return match from_ms.or(to_ms) {
                None => Ok(None),
                Some(_) => Err(Error::bad_input(format!("report {} has no window", self.name))
                    .with_hint("write window = \"1 day\" in its header, and :from and :to in its statement")),
            };
        };
        let at_end = |end_ms| window::of_now(&Window { delay: Duration::ZERO, ..*own }, self.zone(), end_ms);
        let (from_ms, to_ms) = match (from_ms, to_ms) {
            (None, None) => window::of_now(own, self.zone(), now_ms)?,
            (Some(from_ms), None) => (from_ms, now_ms),
            (None, Some(to_ms)) => at_end(to_ms)?,
            (Some(from_ms), Some(to_ms)) => (from_ms, to_ms),
        };
        if from_ms >= to_ms {
            return Err(Error::bad_input("the window ends before it begins").with_hint("give --from an earlier time"));
        }
        Ok(Some((from_ms, to_ms)))
    }

    /// Parts the ends of the window from other values that a person gives.
    pub fn parted(&self, given: &[(String, String)]) -> (Values, Values) {
        let is_end = |name: &str| self.window.is_some() && [FROM, TO].contains(&name);
        given.iter().cloned().partition(|(name, _)| is_end(name))
    }

    /// All its values for a person who asks at `now_ms`: those given, the window and the defaults.
    ///
    /// # Errors
    /// As [`super::bind`] and [`Self::window_at`].
    pub fn values_at(&self, now_ms: i64, given: &[(String, String)]) -> Result<Vec<(String, String)>> {
        let (ends, given) = self.parted(given);
        let end = |name| {
            let text = ends.iter().rev().find(|(end, _)| end == name).map(|(_, text)| text);
            text.map(|text| self.time_ms(text)).transpose()
        };
        let window = self.window_at(now_ms, end(FROM)?, end(TO)?)?;
        let ends = window.into_iter().flat_map(|(from_ms, to_ms)| [(FROM, from_ms), (TO, to_ms)]);
        let mut values: Vec<(String, String)> = ends.map(|(name, ms)| (name.to_owned(), moment_text(ms))).collect();
        values.extend(given);
        effective(self, &values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::header::{Source, parse};

    fn report(header: &str) -> Report {
        let header: String = header.lines().map(|line| format!("-- {line}\n")).collect();
        let sql = format!("{header}SELECT :from, :to");
        let source = Source { name: "r".to_owned(), sql_path: "r.sql".into(), sql, toml: None };
        parse(&source).expect("right").report
    }

    /// 2026-03-29T10:00:00Z
    const NOW_MS: i64 = 1_774_778_400_000;
    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn schedules_and_windows_are_told_in_words() {
        for (header, schedule, window) in [
            ("", None, None),
            (
                "schedule = { cron = \"0 7 * * *\", time_zone = \"Europe/Berlin\" }",
                Some("0 7 * * * Europe/Berlin"),
                None,
            ),
            ("schedule = { every = \"90s\" }\nwindow = \"1 day\"", Some("every 90s"), Some("1 day")),
            ("window = { length = \"4 weeks\", delay = \"1h\" }", None, Some("4 weeks, 1h ago")),
            ("window = \"2 months\"", None, Some("2 months")),
            ("window = \"90m\"", None, Some("90m")),
        ] {
            let report = report(header);
            assert_eq!(report.schedule_text().as_deref(), schedule, "{header}");
            assert_eq!(report.window_text().as_deref(), window, "{header}");
        }
    }

    #[test]
    fn a_report_that_is_off_is_never_due() {
        let header = "schedule = { cron = \"0 7 * * *\", time_zone = \"Europe/Berlin\" }";
        assert_eq!(report(header).next_due_ms(NOW_MS), Some(NOW_MS + 19 * HOUR_MS));
        assert_eq!(report(&format!("{header}\nenabled = false")).next_due_ms(NOW_MS), None);
    }

    #[test]
    fn a_person_may_give_either_end_of_the_window() {
        let hourly = report("window = { length = \"1h\", delay = \"10m\" }");
        let window = |from, to| hourly.window_at(NOW_MS, from, to).map_err(|error| error.to_string());
        let ten_min_ms = HOUR_MS / 6;
        assert_eq!(window(None, None), Ok(Some((NOW_MS - HOUR_MS - ten_min_ms, NOW_MS - ten_min_ms))));
        assert_eq!(window(Some(5), None), Ok(Some((5, NOW_MS))));
        assert_eq!(window(None, Some(NOW_MS)), Ok(Some((NOW_MS - HOUR_MS, NOW_MS))));
        assert_eq!(window(Some(9), Some(9)), Err("the window ends before it begins".to_owned()));
        let plain = report("title = \"x\"");
        assert_eq!(plain.window_at(NOW_MS, None, None).expect("none"), None);
        assert!(plain.window_at(NOW_MS, Some(1), None).is_err());
        let values = hourly.values_at(NOW_MS, &[("to".to_owned(), "2026-03-29T11:00:00Z".to_owned())]).expect("values");
        let texts = |values: [(&str, &str); 2]| values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(values, texts([("from", "2026-03-29T10:00:00Z"), ("to", "2026-03-29T11:00:00Z")]));
        // On the day on which Berlin's clock is set, the day has 23 hours, and times are those of its clock.
        let header = "schedule = { cron = \"0 7 * * *\", time_zone = \"Europe/Berlin\" }\nwindow = \"1 day\"";
        let given = [("to".to_owned(), "2026-03-30".to_owned())];
        let values = report(header).values_at(NOW_MS, &given).expect("values");
        assert_eq!(values, texts([("from", "2026-03-28T23:00:00Z"), ("to", "2026-03-29T22:00:00Z")]));
        let given = [("from".to_owned(), "2026-03-30".to_owned())];
        assert!(report(header).values_at(NOW_MS, &given).is_err(), "it begins after it ends");
    }
}
