//! The ready-made reports over two whole days of real traces, run as people run them, against `tests/clients/ready_made.py`, which works out from
//! the same traces what they have to say.

use std::path::Path;
use std::process::Command;

use crate::support::{python, shared_data};

/// The day that is reported: what is before it in the traces lies in the day before.
const DAY: [&str; 4] = ["--from", "2023-01-30", "--to", "2023-01-31"];

/// Each report with the values that differ from its own, so that it looks at both days and leaves nothing out.
const REPORTS: [(&str, &[&str]); 11] = [
    ("daily_service_health", &["ago=1 day"]),
    ("service_trends", &[]),
    ("latency_heatmap", &[]),
    ("hourly_red", &[]),
    ("slowest_operations", &["ago=1 day", "limit=1000"]),
    ("new_errors", &["lookback=1 day", "limit=1000"]),
    ("dependency_changes", &["ago=1 day"]),
    ("n_plus_one_suspects", &[]),
    ("slo_burn", &["objective=0.95", "slow_ms=1000"]),
    ("volume_by_service", &[]),
    ("capacity_forecast", &["width=5 minutes", "steps=6", "season=15 minutes"]),
];

/// When `slo_burn` is due: amid requests that fail.
const DUE: [&str; 4] = ["--from", "2023-01-30", "--to", "2023-01-30T12:30:00Z"];

#[test]
fn ready_made_reports_say_of_whole_days_what_another_program_does() {
    let test = "ready_made_reports_say_of_whole_days_what_another_program_does";
    let (Some(data), Some(python)) = (shared_data(test), python(test)) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let traces = data.join("trainticket.otlp.zst").display().to_string();
    spanhouse(folder.path(), &["import", &traces, "--data-dir", "data"]);
    let names: Vec<&str> = REPORTS.iter().map(|(name, _)| *name).collect();
    spanhouse(folder.path(), &[&["report", "init", "--reports-dir", "reports"], &names[..]].concat());
    for (name, values) in REPORTS {
        let window = if name == "slo_burn" { DUE } else { DAY };
        let result = format!("{name}.ndjson");
        let places = ["--data-dir", "data", "--reports-dir", "reports", "--format", "ndjson", "-o", &result];
        spanhouse(folder.path(), &[&["report", "run", name, "--dry-run"], values, &window, &places].concat());
    }
    let store = folder.path().join("data").display().to_string();
    let said = python.run("ready_made.py", &[&traces, &store, &folder.path().display().to_string()]);
    assert!(said.starts_with("508610 spans"), "{said}");
    for name in names {
        assert!(said.contains(name), "{name} was not compared: {said}");
    }
}

fn spanhouse(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
    let output = command.current_dir(folder).args(arguments).output().expect("spanhouse starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
