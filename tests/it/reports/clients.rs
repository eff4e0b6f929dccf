//! What reports leave in SQL, as psql and drivers of other languages read it: recorded tables, runs and alerts.

use super::deliveries::House;
use crate::support::{program, python};

const HEADER: &str = "\
record = { table = \"answers\", mode = \"append\" }
[[alerts]]
name = \"errors\"
column = \"error_rate\"
above = 0.05
group_by = [\"service_name\"]
severity = \"page\"";

fn statement(error_rate: f64) -> String {
    format!(
        "SELECT TIMESTAMPTZ '2026-03-29 05:00:00+00' AS time, 'cart' AS service_name, {error_rate} AS error_rate, \
         '0af7651916cd43dd8448eb211c80319c' AS trace_id, quantile_sketch(CAST(value AS DOUBLE)) AS sketch FROM generate_series(1, 100)"
    )
}

#[test]
fn clients_read_what_reports_leave() {
    let Some(python) = python("clients_read_what_reports_leave") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let delivery = format!("to = \"directory\"\npath = \"{}\"", folder.path().display());
    let house = House::with(HEADER, &delivery, &statement(0.25));
    assert!(house.run(&[]).0);
    house.report(HEADER, &delivery, &statement(0.01));
    assert!(house.run(&[]).0);
    let server = house.serve(&[]);
    let said = python.run("reports.py", &[server.postgres_port()]);
    assert!(said.contains("ok psycopg all is left") && said.contains("ok asyncpg runs"), "{said}");
    if program(&["psql"], "clients_read_what_reports_leave").is_none() {
        return;
    }
    for (statement, expected) in [
        ("SELECT service_name, error_rate FROM reports.answers ORDER BY 2", "cart|0.01\ncart|0.25\n"),
        ("SELECT report, status, rows FROM system.report_runs", "answer|succeeded|1\nanswer|succeeded|1\n"),
        (
            "SELECT rule, state, was, labels FROM system.alerts WHERE is_current",
            "errors|resolved|firing|{\"service_name\":\"cart\"}\n",
        ),
        ("SELECT exemplars FROM system.alerts WHERE state = 'firing'", "{0af7651916cd43dd8448eb211c80319c}\n"),
    ] {
        assert_eq!(server.psql(statement).as_deref(), Some(expected), "{statement}");
    }
    let tables = server.psql("\\dt reports.*").expect("psql");
    assert!(tables.starts_with("reports|answers|table|"), "{tables}");
    let columns = server.psql("\\d reports.answers").expect("psql");
    assert!(columns.contains("error_rate|double precision|") && columns.contains("sketch|bytea|"), "{columns}");
}
