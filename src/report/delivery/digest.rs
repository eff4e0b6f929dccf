//! What a message tells a person, before it has a form: a few lines about a run and its alerts.

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;

use crate::report::alert::{AlertState, Notice};
use crate::report::definition::Report;
use crate::report::history::{Run, Status};

/// Alerts that a message tells of one by one; more are counted. A person reads the first few and opens the result for the rest.
const MOST_ALERTS: usize = 10;

/// The lines of a message, each a plain text that holds what data holds: who gives it a form escapes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Digest<'a> {
    pub title: &'a str,
    /// `12 rows`, or that it failed.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<&'a str>,
    /// The time that it asked about, in the report's zone.
    pub window: Option<String>,
    /// What fires and what ceased to, the worst first.
    pub alerts: Vec<&'a Notice>,
    /// Counts of what is not told one by one.
    pub more: Vec<String>,
    /// The folder with the files.
    pub result: Option<&'a str>,
    pub run: &'a str,
}

impl<'a> Digest<'a> {
    pub(super) fn of(report: &'a Report, run: &'a Run, notices: &'a [Notice]) -> Self {
        let mut alerts: Vec<&Notice> = told(notices).collect();
        // What is new comes before what goes on, and what fires before what ended.
        alerts.sort_by_key(|notice| (notice.state != AlertState::Firing, !notice.is_news));
        let hidden = alerts.split_off(alerts.len().min(MOST_ALERTS)).len();
        let count = |is_it: &dyn Fn(&Notice) -> bool| notices.iter().filter(|notice| is_it(notice)).count();
        let silenced = count(&|notice| notice.silenced_by.is_some() && notice.state == AlertState::Firing);
        let pending = count(&|notice| notice.state == AlertState::Pending);
        let more = [(hidden, "more"), (silenced, "silenced"), (pending, "pending")];
        let more = more.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        Self {
            title: &report.title,
            outcome: outcome(run),
            error: run.error.as_deref(),
            window: window(report, run),
            alerts,
            more: more.collect(),
            result: run.result.as_deref(),
            run: &run.id,
        }
    }

    /// Title and outcome with the number of alerts, for a subject or a notification.
    pub(super) fn headline(&self) -> String {
        let count = |state| self.alerts.iter().filter(|notice| notice.state == state).count();
        let (firing, resolved) = (count(AlertState::Firing), count(AlertState::Resolved));
        let counts = [(firing, "firing"), (resolved, "resolved")];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let mut parts = vec![self.outcome.clone()];
        parts.extend(counts);
        format!("{}: {}", self.title, parts.join(", "))
    }
}

/// The notices that are for people: what fires and is not silenced, and what ceased to.
pub(super) fn told(notices: &[Notice]) -> impl Iterator<Item = &Notice> {
    notices.iter().filter(|notice| match notice.state {
        AlertState::Firing => notice.silenced_by.is_none(),
        AlertState::Resolved => notice.is_news,
        AlertState::Ok | AlertState::Pending => false,
    })
}

fn outcome(run: &Run) -> String {
    match (run.status, run.rows) {
        (Status::Failed, _) => "the run failed".to_owned(),
        (Status::TimedOut, _) => "the run took too long".to_owned(),
        (Status::Died, _) => "the run ended with its process".to_owned(),
        (Status::Skipped, _) => "the run was skipped".to_owned(),
        (_, Some(1)) => "1 row".to_owned(),
        (_, Some(rows)) => format!("{rows} rows"),
        (_, None) => "no rows".to_owned(),
    }
}

fn window(report: &Report, run: &Run) -> Option<String> {
    let zone = report.schedule.as_ref().map_or(Tz::UTC, |schedule| schedule.zone);
    let (from, to) = (run.window_from_ms?, run.window_to_ms?);
    Some(format!("{} to {} ({zone})", shown_time(zone, from)?, shown_time(zone, to)?))
}

/// A time on the clocks of a zone, to the minute unless it has seconds.
fn shown_time(zone: Tz, ms: i64) -> Option<String> {
    let form = if ms % 60_000 == 0 { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d %H:%M:%S" };
    Some(zone.timestamp_millis_opt(ms).single()?.format(form).to_string())
}

/// A time as programs read it.
pub(super) fn rfc3339(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::definition::{Missed, Schedule, When};
    use crate::report::delivery::testing::{notice, report, run};

    #[test]
    fn the_worst_comes_first_and_the_rest_is_counted() {
        let mut notices: Vec<_> =
            (0..12).map(|at| Notice { is_news: false, ..notice(&format!("s{at}"), AlertState::Firing) }).collect();
        notices.push(notice("ended", AlertState::Resolved));
        notices.push(notice("new", AlertState::Firing));
        notices.push(Notice {
            silenced_by: Some("x".to_owned()),
            is_news: false,
            ..notice("mute", AlertState::Firing)
        });
        notices.push(Notice { is_news: false, ..notice("soon", AlertState::Pending) });
        let (report, run) = (report(), run());
        let digest = Digest::of(&report, &run, &notices);
        assert_eq!(digest.alerts.len(), MOST_ALERTS);
        assert_eq!(digest.alerts[0].labels[0].1, "new");
        assert_eq!(digest.more, ["4 more", "1 silenced", "1 pending"]);
        assert_eq!(
            Digest::of(&report, &run, &notices[12..]).headline(),
            "Daily <health>: 3 rows, 1 firing, 1 resolved"
        );
    }

    #[test]
    fn a_window_is_told_in_the_reports_zone() {
        let schedule = Schedule {
            when: When::Cron("0 7 * * *".to_owned()),
            zone: Tz::Europe__Berlin,
            missed: Missed::Once,
            jitter: std::time::Duration::ZERO,
        };
        let report = Report { schedule: Some(schedule), ..report() };
        // The day of 2026 on which Berlin's clocks go forward.
        let run = Run { window_from_ms: Some(1_774_738_800_000), window_to_ms: Some(1_774_821_600_000), ..run() };
        assert_eq!(
            Digest::of(&report, &run, &[]).window.as_deref(),
            Some("2026-03-29 00:00 to 2026-03-30 00:00 (Europe/Berlin)")
        );
        assert_eq!(Digest::of(&report, &Run { window_from_ms: None, ..run }, &[]).window, None);
    }

    #[test]
    fn a_failure_is_told_as_one() {
        let run = Run { status: Status::TimedOut, rows: None, error: Some("after 5 min".to_owned()), ..run() };
        let report = report();
        let digest = Digest::of(&report, &run, &[]);
        assert_eq!(
            (digest.headline().as_str(), digest.error),
            ("Daily <health>: the run took too long", Some("after 5 min"))
        );
    }
}
