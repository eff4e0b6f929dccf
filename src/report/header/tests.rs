//! Headers as people write them, right and wrong.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::engine::ParameterKind;
use crate::report::definition::{
    AlertRule, Chart, ChartKind, Deliver, Missed, Output, OutputFormat, Secret, Span, Target, Test, Tls, When, Window,
};

fn source(sql: &str) -> Source {
    Source { name: "health".to_owned(), sql_path: "health.sql".into(), sql: sql.to_owned(), toml: None }
}

/// The header's lines as comments over a statement.
fn with_header(toml: &str) -> String {
    toml.lines().map(|line| format!("-- {line}\n")).collect::<String>() + "SELECT 1\n"
}

fn read(toml: &str) -> Report {
    parse(&source(&with_header(toml))).map(|parsed| parsed.report).unwrap_or_else(|wrong| panic!("{toml}: {wrong:?}"))
}

fn mistakes(toml: &str) -> Vec<String> {
    let wrong = parse(&source(&with_header(toml))).expect_err("mistakes");
    wrong.iter().map(ToString::to_string).collect()
}

const WHOLE: &str = r#"title = "Daily service health"
description = "How each service did yesterday."
owners = ["checkout@example.com"]
schedule = { cron = "0 7 * * *", time_zone = "Europe/Berlin", missed = "skip", jitter = "2m" }
window = { length = "1 day", delay = "30m" }
timeout = "1m"
memory = "128MiB"
keep = "30 days"
enabled = false
record = { table = "health", mode = "replace", column = "time", keep = "400 days" }
[parameters.service]
type = "text"
default = "%"
description = "services whose name is LIKE this"
[parameters.least]
type = "integer"
default = 5
[[outputs]]
format = "html"
[[outputs]]
format = "csv"
[[charts]]
kind = "line"
x = "time"
y = ["p95_ms"]
series = "service_name"
unit = "ms"
[[alerts]]
name = "errors"
column = "error_rate"
above = 0.05
clear_below = 0.02
group_by = ["service_name"]
bad_runs = 2
of_runs = 3
repeat_every = "4h"
[[alerts]]
name = "gone"
absent = true
[[deliveries]]
to = "slack"
url = { env = "SLACK_URL" }
when = "firing"
[[deliveries]]
to = "email"
name = "team"
server = "mail.example.com"
user = "reports"
password = { file = "/run/secrets/mail" }
from = "Reports <reports@example.com>"
recipients = ["team@example.com"]"#;

#[test]
fn a_whole_header_is_read() {
    let report = read(WHOLE);
    assert_eq!((report.name.as_str(), report.title.as_str()), ("health", "Daily service health"));
    assert_eq!(report.path, Path::new("health.sql"));
    let schedule = report.schedule.expect("a schedule");
    assert_eq!(schedule.when, When::Cron("0 7 * * *".to_owned()));
    assert_eq!((schedule.zone, schedule.missed), (chrono_tz::Europe::Berlin, Missed::Skip));
    assert_eq!(schedule.jitter, Duration::from_secs(120));
    let delay = Duration::from_secs(1800);
    assert_eq!(report.window, Some(Window { length: Span::Calendar { months: 0, days: 1 }, delay }));
    assert_eq!((report.timeout, report.memory_bytes), (Duration::from_secs(60), Some(128 << 20)));
    assert_eq!((report.keep, report.enabled), (Duration::from_secs(30 * 86_400), false));
    let parameters: Vec<_> = report.parameters.iter().map(|known| (known.name.as_str(), known.kind)).collect();
    assert_eq!(parameters, [("service", ParameterKind::Text), ("least", ParameterKind::Integer)]);
    assert_eq!(report.parameters[1].default.as_deref(), Some("5"));
    assert_eq!(report.outputs, [OutputFormat::Html, OutputFormat::Csv].map(|format| Output { format }));
    let chart = Chart {
        kind: ChartKind::Line,
        title: None,
        x: "time".to_owned(),
        y: vec!["p95_ms".to_owned()],
        series: Some("service_name".to_owned()),
        value: None,
        unit: Some("ms".to_owned()),
    };
    assert_eq!(report.charts, [chart]);
    let errors = AlertRule {
        name: "errors".to_owned(),
        test: Test::Above { column: "error_rate".to_owned(), limit: 0.05, clear: 0.02 },
        group_by: vec!["service_name".to_owned()],
        bad_runs: 2,
        of_runs: 3,
        clear_runs: 1,
        repeat_every: Some(Duration::from_secs(4 * 3600)),
        severity: "warning".to_owned(),
        exemplars: None,
        summary: None,
    };
    assert_eq!(report.alerts[0], errors);
    assert_eq!(report.alerts[1].test, Test::Absent);
    let [slack, mail] = report.deliveries.as_slice() else { panic!("{:?}", report.deliveries) };
    assert_eq!((slack.name.as_str(), slack.when, slack.attempts), ("slack", Deliver::Firing, 5));
    assert_eq!(slack.target, Target::Slack { url: Secret::Env("SLACK_URL".to_owned()), results_url: None });
    let Target::Email { port: 587, tls: Tls::StartTls, password: Some(Secret::File(_)), .. } = &mail.target else {
        panic!("{:?}", mail.target)
    };
    let mode = RecordMode::ReplaceWindow { column: "time".to_owned() };
    let kept = RowsKept { column: "time".to_owned(), length: Duration::from_secs(400 * 86_400) };
    assert_eq!(report.record, Some(Record { table: "health".to_owned(), mode, keep: Some(kept) }));
    // Lines of the statement are those of the file.
    assert_eq!(report.sql.lines().count(), WHOLE.lines().count() + 1);
}

#[test]
fn a_file_without_a_header_is_a_report_too() {
    let report = parse(&source("SELECT 1")).expect("a report").report;
    assert_eq!((report.title.as_str(), report.enabled, report.schedule), ("health", true, None));
    assert_eq!(report.outputs, [Output { format: OutputFormat::Html }]);
    assert_eq!((report.timeout, report.keep), (Report::DEFAULT_TIMEOUT, Report::DEFAULT_KEEP));
}

#[test]
fn short_forms_are_read() {
    let report =
        read("schedule = \"*/5 * * * *\"\nwindow = \"1h\"\noutputs = [\"csv\", \"csv\", \"png\"]\nowners = \"a@b\"");
    assert_eq!(report.schedule.map(|schedule| schedule.when), Some(When::Cron("*/5 * * * *".to_owned())));
    assert_eq!(report.outputs, [OutputFormat::Csv, OutputFormat::Png].map(|format| Output { format }));
    assert_eq!(report.owners, ["a@b"]);
    assert!(read("outputs = []").outputs.is_empty(), "a result that is only judged");
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let told = mistakes(
        "titel = \"x\"\ntimeout = 5\nwindow = \"1 fortnight\"\n# a comment\n[[charts]]\nkind = \"lime\"\nx = \"time\"\n[[deliveries]]\nto = \"slack\"\n",
    );
    let wanted = [
        "health.sql:1: there is no key titel: did you mean title?",
        "health.sql:2: timeout: its value must be text in quotes",
        "health.sql:3: window: \"1 fortnight\" is not a length of time: write such as 90m, 1 day, 1 week or 1 month",
        "health.sql:6: kind: there is no \"lime\": did you mean \"line\"?",
        "health.sql:8: url is missing: write a text, { env = \"VARIABLE\" } or { file = \"PATH\" }",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn each_mistake_says_what_to_do() {
    for (toml, expected) in [
        ("a = 1 b", "1: this is not TOML"),
        ("Daily health of services", "1: this is not TOML"),
        ("schedule = \"0 7 * *\"", "1: schedule: cron expression \"0 7 * *\" cannot be read"),
        ("schedule = \"every 5m\"", "1: schedule: for one that is no cron expression write { every = \"5m\" }"),
        ("schedule = { cron = \"0 0 30 2 *\" }", "1: cron: it is never due"),
        ("schedule = { every = \"5m\", cron = \"0 * * * *\" }", "1: schedule: write either cron"),
        ("schedule = { every = \"1s\" }", "1: every: it must be from 10s to 366d"),
        (
            "schedule = { every = \"5m\", time_zone = \"Europe/Berlim\" }",
            "1: time_zone: there is no time zone \"Europe/Berlim\": did you mean Europe/Berlin?",
        ),
        ("schedule = { every = \"5m\", jitter = \"5m\" }", "1: jitter: it must be shorter"),
        ("schedule = 5", "1: schedule: it must be a table"),
        ("window = { delay = \"1m\" }", "1: length is missing"),
        ("timeout = \"0s\"", "1: timeout: it must be from 100ms to 1d"),
        ("memory = \"1KiB\"", "1: memory: it is too little"),
        ("enabled = \"yes\"", "1: enabled: its value must be true or false"),
        ("title = \"a\\u0007\"", "1: title: it holds control characters"),
        ("title = \" \"", "1: title: it is empty: without the key the report's name stands there"),
        ("owners = [1]", "1: owners: its value must be a list of texts"),
        ("[parameters.Name]\ntype = \"text\"", "1: Name: a parameter's name begins"),
        ("[parameters.x]\ndefault = \"1\"", "1: x: type is missing"),
        ("[parameters.x]\ntype = \"number\"", "2: type: there is no \"number\""),
        (
            "[parameters.x]\ntype = \"integer\"\ndefault = \"many\"",
            "3: default: parameter \"x\" wants a whole number, not \"many\"",
        ),
        ("window = \"1 day\"\n[parameters.from]\ntype = \"timestamp\"", "2: from: it comes with the window"),
        ("outputs = [\"pdf\"]", "1: outputs: there is no \"pdf\""),
        ("[[charts]]\nkind = \"bar\"\nx = \"a\"", "1: a bar chart needs y"),
        ("[[charts]]\nkind = \"heatmap\"\nx = \"a\"\ny = [\"b\"]", "1: a heatmap needs value"),
        ("[[charts]]\nkind = \"waterfall\"\nx = \"a\"\nseries = \"b\"", "4: series: a waterfall has none"),
        ("[[alerts]]\nname = \"a\"\ncolumn = \"x\"", "1: write one of above, below, absent and change"),
        (
            "[[alerts]]\nname = \"a\"\ncolumn = \"x\"\nabove = 1\nbelow = 0",
            "1: write one of above, below, absent and change",
        ),
        (
            "[[alerts]]\nname = \"a\"\ncolumn = \"x\"\nabove = 1\nclear_below = 2",
            "5: clear_below: 2 is on the bad side of 1",
        ),
        ("[[alerts]]\nname = \"a\"\ncolumn = \"x\"\nbelow = nan", "4: below: its value must be a number"),
        ("[[alerts]]\nname = \"a\"\ncolumn = \"x\"\nbelow = 1\nleast = 1", "5: least: it goes with change"),
        (
            "[[alerts]]\nname = \"a\"\nabsent = true\nbad_runs = 3\nof_runs = 2",
            "4: bad_runs: 3 of 2 runs can never be bad",
        ),
        (
            "[[alerts]]\nname = \"a\"\nabsent = true\n[[alerts]]\nname = \"a\"\nabsent = true",
            "5: name: another rule is named \"a\"",
        ),
        ("[[alerts]]\nname = \"A b\"\nabsent = true", "2: name: \"A b\" is no name for a rule"),
        ("[[deliveries]]\nto = \"pager\"", "2: to: there is no \"pager\""),
        (
            "[[deliveries]]\nto = \"directory\"\nurl = \"x\"\npath = \"y\"",
            "3: url: it does not go with directory, which takes path",
        ),
        ("[[deliveries]]\nto = \"webhook\"\nurl = \"ftp://x\"", "3: url: it must begin with http"),
        ("[[deliveries]]\nto = \"webhook\"\nurl = \"https://user:secret@x\"", "3: url: a password may not stand"),
        (
            "[[deliveries]]\nto = \"webhook\"\nurl = \"https://x\"\nsign_with = \"secret\"",
            "4: sign_with: it may not stand in the report",
        ),
        ("[[deliveries]]\nto = \"object_store\"\nurl = \"http://x\"", "3: url: "),
        (
            "[[deliveries]]\nto = \"directory\"\npath = \"a\"\n[[deliveries]]\nto = \"directory\"\npath = \"b\"",
            "4: name: another delivery is named \"directory\"",
        ),
        (
            "[[deliveries]]\nto = \"email\"\nserver = \"mail.example.com\"\ntls = \"off\"\nfrom = \"a@b\"\nrecipients = [\"c@d\"]",
            "4: tls: mail is sent in the clear",
        ),
        (
            "[[deliveries]]\nto = \"email\"\nserver = \"m\"\nfrom = \"nobody\"\nrecipients = [\"c@d\"]",
            "4: from: \"nobody\" is no mail address",
        ),
        ("record = { table = \"Bad-name\" }", "1: table: \"Bad-name\" is no name for a table"),
        ("record = { table = \"x\", mode = \"replace\" }", "1: column is missing"),
        ("record = { table = \"x\", keep = \"52 weeks\" }", "1: column is missing"),
        ("record = { table = \"x\", column = \"t\" }", "1: column: a table that is appended to needs none"),
        (
            "record = { table = \"x\", mode = \"replace\", column = \"t\" }",
            "1: replacing the rows of a window needs a window",
        ),
    ] {
        let told = mistakes(toml);
        let expected = format!("health.sql:{expected}");
        assert!(told.iter().any(|told| told.starts_with(&expected)), "{toml}: {told:?} lacks {expected}");
        assert!(told.iter().all(|told| !told.contains("secret@") && !told.contains("\"secret\"")), "{told:?}");
    }
}

#[test]
fn a_header_beside_has_lines_of_its_own() {
    let mut source = source("-- just a comment\nSELECT 1");
    source.toml = Some(("health.toml".into(), "\ntitel = \"x\"\n".to_owned()));
    let told = parse(&source).expect_err("a mistake");
    assert_eq!(told[0].to_string(), "health.toml:2: there is no key titel: did you mean title?");
    source.toml = Some(("health.toml".into(), "title = \"x\"\n".to_owned()));
    assert_eq!(parse(&source).expect("right").report.title, "x");
}

#[test]
fn a_file_without_a_statement_says_so() {
    let told = parse(&source("-- title = \"x\"\n")).expect_err("a mistake");
    assert_eq!(told[0].to_string(), "health.sql: there is no statement in it: write a SELECT below the header");
}
