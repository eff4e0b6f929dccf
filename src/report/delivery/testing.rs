//! A report, its run and its alerts for the tests of deliveries.

use crate::report::alert::{AlertState, Notice, testing};
use crate::report::definition::Report;
use crate::report::history::{self, Run, Status};

/// A report whose title wants escaping.
pub fn report() -> Report {
    Report { title: "Daily <health>".to_owned(), ..testing::report(Vec::new()) }
}

/// A run of it with three rows.
pub fn run() -> Run {
    let due_ms = 1_774_760_400_000;
    Run {
        status: Status::Succeeded,
        rows: Some(3),
        ended_ms: Some(due_ms + 1000),
        window_from_ms: Some(due_ms - 86_400_000),
        result: Some("/data/reports/results/health/1".to_owned()),
        ..history::tests::run("health", due_ms)
    }
}

/// News of the rule `errors` about a service.
pub fn notice(service: &str, state: AlertState) -> Notice {
    Notice {
        report: "health".to_owned(),
        rule: "errors".to_owned(),
        severity: "page".to_owned(),
        state,
        labels: vec![("service_name".to_owned(), service.to_owned())],
        value: Some(0.25),
        since_ms: 1_774_760_401_000,
        fired_ms: Some(1_774_756_801_000),
        summary: "error_rate is 0.25, above 0.05".to_owned(),
        exemplars: vec!["0af7651916cd43dd8448eb211c80319c".to_owned()],
        silenced_by: None,
        is_news: true,
    }
}
