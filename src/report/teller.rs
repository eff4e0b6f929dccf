//! What SQL and people are told of runs and alerts, read from the journals each time: they are the same whether a server runs or not.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::alert::AlertLine;
use super::history::{Delivered, Entry, History, Run, Status, time_text};
use super::home::ReportsHome;
use super::journal::Journal;
use super::record::TablesFolder;
use super::turn::Turn;
use crate::engine::{Engine, ReportAlert, ReportRun, ReportTeller};
use crate::error::Result;

/// Shows in `system.report_runs` and `system.alerts` what the journals of a data directory tell, and in the schema `reports` its tables.
pub fn show_in(engine: &Engine, data_dir: &Path) {
    let home = ReportsHome::new(data_dir);
    engine.show_recorded(Arc::new(TablesFolder::of(&home)));
    engine.show_reports(Arc::new(Teller { home }));
}

/// What ran, as everybody can read it. A run without an end whose process is gone has died, unless its rows are in their table, whether or not
/// anybody has noted that.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`], naming the line, when one is damaged.
pub fn history(home: &ReportsHome) -> Result<History> {
    let mut history = History::read(&Journal::new(&home.runs_journal()))?;
    let is_dead = |run: &&Run| !Turn::is_taken(home, &run.report);
    let dead: Vec<Run> = history.unfinished().filter(is_dead).cloned().collect();
    if dead.is_empty() {
        return Ok(history);
    }
    // One that ended in the meantime let its turn go and is not dead.
    let now = History::read(&Journal::new(&home.runs_journal()))?;
    for run in dead {
        match now.run(&run.id) {
            Some(known) if known.status != Status::Running => history.apply(Entry::Run(Box::new(known.clone()))),
            _ => {
                let (status, rows) = match TablesFolder::of(home).recorded(&run.id, None)? {
                    Some(recorded) => (Status::Succeeded, Some(recorded.rows)),
                    None => (Status::Died, None),
                };
                history.apply(Entry::Run(Box::new(Run { status, rows, ..run })));
            }
        }
    }
    Ok(history)
}

#[derive(Debug)]
struct Teller {
    home: ReportsHome,
}

impl ReportTeller for Teller {
    fn runs(&self) -> Result<Vec<ReportRun>> {
        Ok(history(&self.home)?.runs().iter().map(told_run).collect())
    }

    fn alerts(&self) -> Result<Vec<ReportAlert>> {
        let alerts = Journal::new(&self.home.alerts_journal());
        Ok(told_alerts(alerts.read_as(AlertLine::parse)?))
    }
}

fn told_run(run: &Run) -> ReportRun {
    ReportRun {
        id: run.id.clone(),
        report: run.report.clone(),
        report_version: run.report_version.clone(),
        cause: run.cause.name(),
        due_ms: run.due_ms,
        started_ms: run.started_ms,
        ended_ms: run.ended_ms,
        window_from_ms: run.window_from_ms,
        window_to_ms: run.window_to_ms,
        parameters: object(&run.parameters),
        status: run.status.name(),
        rows: run.rows,
        error: run.error.clone(),
        result: run.result.clone(),
        deliveries: Value::from_iter(run.deliveries.iter().map(told_delivery)).to_string(),
    }
}

fn told_delivery(delivered: &Delivered) -> Value {
    json!({
        "name": delivered.name,
        "key": delivered.key,
        "status": delivered.status.name(),
        "attempts": delivered.attempts,
        "error": delivered.error,
        "at": time_text(delivered.at_ms, SecondsFormat::AutoSi),
    })
}

/// The lines that tell of something that happened; the last of a group is how it stands, unless the group is forgotten.
fn told_alerts(lines: Vec<AlertLine>) -> Vec<ReportAlert> {
    let mut told: Vec<ReportAlert> = Vec::new();
    let mut last: HashMap<(String, String, String), usize> = HashMap::new();
    for line in lines {
        let labels = object(&line.labels);
        let group = (line.report.clone(), line.rule.clone(), labels.clone());
        if line.is_event() {
            if let Some(before) = last.insert(group.clone(), told.len()) {
                told[before].is_current = false;
            }
            told.push(told_alert(&line, labels));
        }
        if line.forgotten
            && let Some(before) = last.remove(&group)
        {
            told[before].is_current = false;
        }
    }
    told
}

fn told_alert(line: &AlertLine, labels: String) -> ReportAlert {
    ReportAlert {
        report: line.report.clone(),
        rule: line.rule.clone(),
        severity: line.severity.clone(),
        labels,
        state: line.state.name(),
        was: line.was.name(),
        since_ms: line.since_ms,
        at_ms: line.at_ms,
        run: line.run.clone(),
        value: line.value,
        summary: line.summary.clone(),
        exemplars: line.exemplars.clone(),
        silenced_by: line.silenced_by.clone(),
        is_news: line.is_news,
        is_current: true,
    }
}

/// Names and values as a JSON object.
fn object(pairs: &[(String, String)]) -> String {
    let map: Map<String, Value> =
        pairs.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    Value::Object(map).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::history::DeliveryStatus;
    use crate::report::history::tests::run;

    #[test]
    fn a_run_whose_process_is_gone_has_died_for_everybody() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = ReportsHome::new(folder.path());
        assert!(history(&home).expect("nothing there").runs().is_empty());
        let journal = Journal::new(&home.runs_journal());
        let begun = run("a", 1_774_760_400_000);
        journal.append(&[Entry::Run(Box::new(begun.clone())).line().expect("a line")]).expect("noted");
        let turn = Turn::take(&home, "a").expect("free");
        let status = || history(&home).expect("whole").run(&begun.id).map(|run| run.status);
        assert_eq!(status(), Some(Status::Running));
        drop(turn);
        assert_eq!(status(), Some(Status::Died));
        assert_eq!(journal.read().expect("whole").len(), 1, "readers note nothing");
    }

    #[test]
    fn what_is_told_of_a_run_is_json_where_it_is_a_list() {
        let delivered = Delivered {
            name: "hook".into(),
            key: "k/hook".into(),
            status: DeliveryStatus::Failed,
            attempts: 5,
            error: Some("it said \"no\"".into()),
            at_ms: 1_774_760_400_500,
        };
        let told = told_run(&Run { deliveries: vec![delivered], ..run("a", 1_774_760_400_000) });
        assert_eq!(told.parameters, r#"{"service":"%"}"#);
        let expected = r#"[{"name":"hook","key":"k/hook","status":"failed","attempts":5,"error":"it said \"no\"","at":"2026-03-29T05:00:00.500Z"}]"#;
        assert_eq!(told.deliveries, expected);
    }

    #[test]
    fn the_last_that_happened_to_a_group_is_how_it_stands() {
        let line = |service: &str, state: &str, was: &str, forgotten: bool| -> AlertLine {
            let text = json!({
                "report": "a", "rule": "r", "severity": "page", "labels": [["s", service]], "state": state, "was": was,
                "since_ms": 1, "at_ms": 2, "run": "a@x", "forgotten": forgotten,
            });
            serde_json::from_value(text).expect("a line")
        };
        let told = told_alerts(vec![
            line("cart", "firing", "ok", false),
            line("pay", "pending", "ok", false),
            line("cart", "firing", "firing", false),
            line("cart", "resolved", "firing", false),
            line("pay", "ok", "pending", true),
        ]);
        let rows: Vec<_> = told.iter().map(|told| (told.labels.as_str(), told.state, told.is_current)).collect();
        let (cart, pay) = (r#"{"s":"cart"}"#, r#"{"s":"pay"}"#);
        let expected = [(cart, "firing", false), (pay, "pending", false), (cart, "resolved", true), (pay, "ok", false)];
        assert_eq!(rows, expected);
    }
}
