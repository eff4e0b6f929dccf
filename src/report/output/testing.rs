//! A run of a report with charts, alerts and rows, for the tests of outputs.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::*;

use super::{DrawnSpan, Page, TraceDrawing};
use crate::report::alert::{AlertState, Notice};
use crate::report::deadline::Deadline;
use crate::report::definition::{AlertRule, Chart, ChartKind, Output, OutputFormat, Report, Test};
use crate::report::frame::Frame;
use crate::report::history::{Cause, Run, Status};

/// 2026-03-29 00:00 in Berlin; the day has 23 hours.
pub const FROM_MS: i64 = 1_774_738_800_000;
pub const TO_MS: i64 = 1_774_821_600_000;
/// What tries to be markup, to turn the line around, and to drive a terminal.
pub const HOSTILE: &str = "<img src=x onerror=alert(1)>\u{202e}\u{1b}[31m\"'&|*_`";

/// What a page is made of, owned.
pub struct Parts {
    pub report: Report,
    pub run: Run,
    pub frame: Frame,
    pub notices: Vec<Notice>,
    pub traces: Vec<TraceDrawing>,
    pub deadline: Deadline,
}

impl Parts {
    pub fn page(&self) -> Page<'_> {
        Page {
            report: &self.report,
            run: &self.run,
            frame: &self.frame,
            notices: &self.notices,
            traces: &self.traces,
            zone: chrono_tz::Europe::Berlin,
            deadline: &self.deadline,
        }
    }
}

fn chart(kind: ChartKind, x: &str, y: &[&str]) -> Chart {
    let y = y.iter().map(|column| (*column).to_owned()).collect();
    Chart { kind, title: None, x: x.to_owned(), y, series: None, value: None, unit: None }
}

/// A report of three services in the hours of a day, with every kind of chart.
pub fn parts() -> Parts {
    let by_service = |chart: Chart| Chart { series: Some("service_name".to_owned()), ..chart };
    let charts = vec![
        Chart { title: Some("Slowest requests".to_owned()), ..by_service(chart(ChartKind::Line, "time", &["p95_ms"])) },
        by_service(chart(ChartKind::Bar, "time", &["calls"])),
        chart(ChartKind::Bar, "service_name", &["error_rate"]),
        Chart { value: Some("calls".to_owned()), ..chart(ChartKind::Heatmap, "time", &["p95_ms"]) },
        Chart { value: Some("calls".to_owned()), ..chart(ChartKind::ServiceMap, "service_name", &["callee"]) },
        chart(ChartKind::Waterfall, "trace_id", &[]),
        chart(ChartKind::Line, "time", &["no_such_column"]),
    ];
    let outputs = [OutputFormat::Html, OutputFormat::Csv, OutputFormat::Markdown, OutputFormat::Png];
    let report = Report {
        name: "health".to_owned(),
        path: PathBuf::from("reports/health.sql"),
        title: format!("Daily health {HOSTILE}"),
        description: "How each service did.\nBeside the week before.".to_owned(),
        owners: vec!["checkout@example.com".to_owned(), HOSTILE.to_owned()],
        enabled: true,
        parameters: Vec::new(),
        schedule: None,
        window: None,
        timeout: Report::DEFAULT_TIMEOUT,
        memory_bytes: None,
        keep: Report::DEFAULT_KEEP,
        outputs: outputs.map(|format| Output { format }).to_vec(),
        charts,
        alerts: vec![rule("errors", "error_rate", 0.05), rule("latency", "p95_ms", 500.0)],
        deliveries: Vec::new(),
        record: None,
        sql: String::new(),
        version: "5f2c9a".to_owned(),
    };
    Parts { report, run: run(), frame: frame(), notices: notices(), traces: vec![trace()], deadline: Deadline::never() }
}

fn run() -> Run {
    Run {
        id: "health@2026-03-29T22:05:00Z".to_owned(),
        report: "health".to_owned(),
        report_version: "5f2c9a".to_owned(),
        cause: Cause::Schedule,
        due_ms: TO_MS + 300_000,
        started_ms: TO_MS + 303_000,
        ended_ms: None,
        window_from_ms: Some(FROM_MS),
        window_to_ms: Some(TO_MS),
        parameters: vec![("service".to_owned(), "%".to_owned())],
        status: Status::Running,
        rows: None,
        error: None,
        result: None,
        deliveries: Vec::new(),
    }
}

fn rule(name: &str, column: &str, limit: f64) -> AlertRule {
    AlertRule {
        name: name.to_owned(),
        test: Test::Above { column: column.to_owned(), limit, clear: limit },
        group_by: vec!["service_name".to_owned()],
        bad_runs: 1,
        of_runs: 1,
        clear_runs: 1,
        repeat_every: None,
        severity: AlertRule::DEFAULT_SEVERITY.to_owned(),
        exemplars: None,
        summary: None,
    }
}

fn notices() -> Vec<Notice> {
    let notice = |rule: &str, service: &str, state, summary: &str, silenced_by: Option<&str>| Notice {
        report: "health".to_owned(),
        rule: rule.to_owned(),
        severity: "warning".to_owned(),
        state,
        labels: vec![("service_name".to_owned(), service.to_owned())],
        value: Some(0.12),
        since_ms: FROM_MS + 3_600_000,
        fired_ms: None,
        summary: summary.to_owned(),
        exemplars: vec!["0af7651916cd43dd8448eb211c80319c".to_owned()],
        silenced_by: silenced_by.map(str::to_owned),
        is_news: true,
    };
    vec![
        notice("errors", "checkout", AlertState::Firing, &format!("too many calls failed {HOSTILE}"), None),
        notice("errors", HOSTILE, AlertState::Firing, &format!("too many calls failed {HOSTILE}"), None),
        notice("latency", "checkout", AlertState::Pending, "p95 is above 500 ms in 1 of 3 runs", None),
        notice("volume", "checkout", AlertState::Resolved, "there are calls again", Some("planned work")),
    ]
}

/// 69 rows: three services in 23 hours, with values that are missing and texts that are hostile.
fn frame() -> Frame {
    let services = ["web", "checkout", HOSTILE];
    let callees = ["checkout", "payment", "web"];
    let rows: Vec<(i64, usize)> = (0..23).flat_map(|hour| (0..3).map(move |service| (hour, service))).collect();
    let time: TimestampNanosecondArray =
        rows.iter().map(|(hour, _)| Some((FROM_MS + hour * 3_600_000) * 1_000_000)).collect::<Vec<_>>().into();
    let p95 = rows.iter().map(|&(hour, service)| {
        let value = 40.0 * (service + 1) as f64 * (1.5 + (hour as f64 / 4.0).sin());
        (!(service == 1 && (9..12).contains(&hour))).then_some(value)
    });
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("time", Arc::new(time.with_timezone("UTC")), false),
        ("service_name", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| services[row.1]))), false),
        ("callee", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| callees[row.1]))), false),
        (
            "calls",
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| 12_000 + row.0 * 700 - row.1 as i64 * 4_000))),
            false,
        ),
        ("p95_ms", Arc::new(Float64Array::from_iter(p95)), true),
        ("error_rate", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| 0.004 * row.1 as f64))), false),
        (
            "trace_id",
            Arc::new(StringArray::from_iter(
                rows.iter().map(|row| (row.1 == 1).then_some("0af7651916cd43dd8448eb211c80319c")),
            )),
            true,
        ),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    Frame {
        schema: batch.schema(),
        rows: batch.num_rows() as u64,
        batches: vec![batch.slice(0, 40), batch.slice(40, 29)],
    }
}

/// A span by its steps down the tree, service and name, and its start, duration and part of the critical path in milliseconds.
pub fn drawn_span(
    (depth, service, name): (usize, &str, &str),
    [start_ms, duration_ms, critical_ms]: [f64; 3],
    is_error: bool,
) -> DrawnSpan {
    let (service, name) = (service.to_owned(), name.to_owned());
    DrawnSpan { depth, service, name, start_ms, duration_ms, critical_ms, is_error }
}

fn trace() -> TraceDrawing {
    TraceDrawing {
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        span_count: 4,
        spans: vec![
            drawn_span((0, "web", "GET /checkout"), [0.0, 900.0, 70.0], true),
            drawn_span((1, "checkout", HOSTILE), [40.0, 830.0, 30.0], true),
            drawn_span((2, "payment", "charge"), [60.0, 800.0, 800.0], false),
            drawn_span((2, "mail", "send"), [70.0, 200.0, 0.0], false),
        ],
    }
}
