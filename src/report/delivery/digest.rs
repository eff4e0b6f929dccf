//! What a message tells a person, before it has a form: a few lines about a run and its alerts.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::report::alert::{AlertState, Notice};
use crate::report::definition::Report;
use crate::report::history::{Run, Status};
use crate::report::output::window_text;

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
    /// How many fire and how many ceased to, those that are not told one by one among them.
    counts: [(usize, &'static str); 2],
    /// Counts of what is not told one by one.
    pub more: Vec<String>,
    /// The folder with the files.
    pub result: Option<&'a str>,
    pub run: &'a str,
}

impl<'a> Digest<'a> {
    pub(super) fn of(report: &'a Report, run: &'a Run, notices: &'a [Notice]) -> Self {
        let mut alerts: Vec<&Notice> = told(notices).collect();
        // What fires comes before what ended, and what is new before what goes on.
        alerts.sort_by_key(|notice| (notice.state != AlertState::Firing, rank(&notice.severity), !notice.is_news));
        let of_state = |state: AlertState| (alerts.iter().filter(|notice| notice.state == state).count(), state.name());
        let counts = [AlertState::Firing, AlertState::Resolved].map(of_state);
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
            counts,
            more: more.collect(),
            result: run.result.as_deref(),
            run: &run.id,
        }
    }

    /// Title and outcome with the number of alerts, for a subject or a notification.
    pub(super) fn headline(&self) -> String {
        let counts =
            self.counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
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
    Some(window_text(run.window_from_ms?, run.window_to_ms?, report.zone()))
}

/// The place of a severity, the worst first. It is a word that people choose; one that says nothing here is as bad as a warning.
fn rank(severity: &str) -> usize {
    const A_WARNINGS: usize = 2;
    const WORDS: [&[&str]; 5] = [
        &["page", "critical", "emergency", "fatal"],
        &["error", "high", "major"],
        &["warning", "warn"],
        &["ticket", "minor", "low"],
        &["info", "information", "notice", "debug"],
    ];
    let severity = severity.to_lowercase();
    WORDS.iter().position(|words| words.contains(&severity.as_str())).unwrap_or(A_WARNINGS)
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
    fn what_is_not_told_one_by_one_is_counted_and_severities_rank() {
        let of = |severity: &str, state| Notice { severity: severity.to_owned(), ..notice(severity, state) };
        let mut notices: Vec<_> = (0..12).map(|_| of("ticket", AlertState::Firing)).collect();
        notices.push(of("page", AlertState::Resolved));
        for severity in ["whatever", "Critical", "info"] {
            notices.push(Notice { is_news: false, ..of(severity, AlertState::Firing) });
        }
        let (report, run) = (report(), run());
        let digest = Digest::of(&report, &run, &notices);
        assert_eq!(digest.headline(), "Daily <health>: 3 rows, 15 firing, 1 resolved");
        let told: Vec<_> = digest.alerts.iter().map(|notice| notice.severity.as_str()).collect();
        assert_eq!(told[..3], ["Critical", "whatever", "ticket"]);
        assert_eq!(digest.more, ["6 more"]);
    }

    #[test]
    fn a_window_is_told_in_the_reports_zone() {
        let schedule = Schedule {
            when: When::Cron("0 7 * * *".to_owned()),
            zone: chrono_tz::Europe::Berlin,
            missed: Missed::Once,
            jitter: std::time::Duration::ZERO,
        };
        let report = Report { schedule: Some(schedule), ..report() };
        // The day of 2026 on which Berlin's clocks go forward.
        let run = Run { window_from_ms: Some(1_774_738_800_000), window_to_ms: Some(1_774_821_600_000), ..run() };
        assert_eq!(Digest::of(&report, &run, &[]).window.as_deref(), Some("Sunday 29 March 2026, CET to CEST"));
        // The hour that comes twice.
        let twice =
            Run { window_from_ms: Some(1_792_886_400_000), window_to_ms: Some(1_792_890_000_000), ..run.clone() };
        assert_eq!(
            Digest::of(&report, &twice, &[]).window.as_deref(),
            Some("Sunday 25 October 2026, 02:00 CEST to 02:00 CET")
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
