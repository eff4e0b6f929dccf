//! Reports, rules and results for the tests of alerts.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::{Float64Array, RecordBatch, StringArray};

use crate::report::definition::{AlertRule, Report, Test};
use crate::report::frame::Frame;

/// The report `health` with these rules.
pub fn report(alerts: Vec<AlertRule>) -> Report {
    Report {
        name: "health".to_owned(),
        path: PathBuf::from("health.sql"),
        title: "Health".to_owned(),
        description: String::new(),
        owners: Vec::new(),
        enabled: true,
        parameters: Vec::new(),
        schedule: None,
        window: None,
        timeout: Report::DEFAULT_TIMEOUT,
        memory_bytes: None,
        keep: Report::DEFAULT_KEEP,
        outputs: Vec::new(),
        charts: Vec::new(),
        alerts,
        deliveries: Vec::new(),
        record: None,
        sql: String::new(),
        version: "v1".to_owned(),
    }
}

/// The rule `r`: `value` above a limit, for each `group_by`.
pub fn rule(group_by: &str, limit: f64) -> AlertRule {
    AlertRule {
        name: "r".to_owned(),
        test: Test::Above { column: "value".to_owned(), limit, clear: limit },
        group_by: vec![group_by.to_owned()],
        bad_runs: 1,
        of_runs: 1,
        clear_runs: 1,
        repeat_every: None,
        severity: "warning".to_owned(),
        exemplars: None,
        summary: None,
    }
}

/// A result with the columns `service` and `value`, two rows a batch.
pub fn frame(rows: &[(&str, Option<f64>)]) -> Frame {
    let batch = |rows: &[(&str, Option<f64>)]| {
        let services: StringArray = rows.iter().map(|(service, _)| Some(*service)).collect();
        let values: Float64Array = rows.iter().map(|(_, value)| *value).collect();
        let columns = [("service", Arc::new(services) as _, true), ("value", Arc::new(values) as _, true)];
        RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
    };
    let schema = batch(&[]).schema();
    Frame { schema, batches: rows.chunks(2).map(batch).collect(), rows: rows.len() as u64 }
}
