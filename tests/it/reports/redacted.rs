//! Traces that are redacted go out of what reports keep: recorded tables, journals and results.

use std::fs;

use serde_json::Value;

use super::commands::{EVER, Place, SUCCESS};

const SLOWEST: &str = "\
-- window = \"1 day\"
-- outputs = [\"html\"]
-- record = { table = \"slowest\" }
-- [[alerts]]
-- name = \"slow\"
-- column = \"ms\"
-- above = 0
-- group_by = [\"service_name\"]
SELECT service_name, max(duration_ms) AS ms, first_value(trace_id ORDER BY duration_ns DESC) AS trace_id,
    array_agg(DISTINCT trace_id) AS traces
FROM spans WHERE timestamp >= :from AND timestamp < :to GROUP BY 1 ORDER BY 1
";

const NAMED: &str =
    "SELECT service_name, trace_id, array_to_string(traces, ' ') AS traces FROM reports.slowest ORDER BY 1";

/// The texts of all files that reports keep, those of packed files as they are shown.
fn kept(place: &Place) -> String {
    let mut folders = vec![place.path().join("spanhouse-data/reports")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => text.push_str(&String::from_utf8_lossy(&fs::read(path).expect("a file"))),
            }
        }
    }
    let rows = place.rows(&["sql", NAMED]);
    text + &Value::from_iter(rows).to_string()
}

#[test]
fn the_ids_of_traces_go_out_of_tables_journals_and_results() {
    let place = Place::with_traces();
    place.report("slowest.sql", SLOWEST);
    place.report("other.sql", "-- outputs = [\"csv\"]\nSELECT 1 AS x");
    // Only a run as the report describes it has its alerts in the journal: its window is all time.
    let all_time = SLOWEST.replace("1 day", "30 years");
    place.report("slowest.sql", &all_time);
    for name in ["slowest", "other"] {
        let ran = place.spanhouse(&["report", "run", name, "--format", "csv"]);
        assert_eq!(ran.code, SUCCESS, "{}", ran.err);
    }
    let rows = place.rows(&["sql", NAMED]);
    let ids: Vec<&str> = rows.iter().map(|row| row["trace_id"].as_str().expect("an id")).collect();
    let (first, second) = (ids[0].to_owned(), ids.iter().find(|id| **id != ids[0]).expect("another").to_string());
    assert!(kept(&place).contains(&first));

    let dry = place.spanhouse(&["redact", "--dry-run", "--trace-id", &first]);
    assert_eq!(dry.code, SUCCESS, "{}", dry.err);
    assert!(dry.out.contains("of recorded tables and") && dry.out.contains("1 result with all files"), "{}", dry.out);
    assert_eq!(place.rows(&["sql", NAMED]), rows, "a dry run changes nothing");

    let done = place.spanhouse(&["redact", "--trace-id", &first, "--now", "--receipt", "receipt.json"]);
    assert_eq!(done.code, SUCCESS, "{}", done.err);
    let text = fs::read_to_string(place.path().join("receipt.json")).expect("a receipt");
    let receipt: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(receipt["reports"]["results"], 1, "{text}");
    assert!(receipt["reports"]["recorded_texts"].as_u64().expect("a number") >= 2, "{text}");
    let now = kept(&place);
    assert!(!now.contains(&first) && now.contains("redacted") && now.contains(&second));
    let after = place.rows(&["sql", NAMED]);
    assert_eq!(after.len(), rows.len(), "rows stay");
    assert_eq!((&after[0]["service_name"], &after[0]["trace_id"]), (&rows[0]["service_name"], &"redacted".into()));
    let history = place.rows(&["report", "history"]);
    assert_eq!(history.len(), 2, "what ran is known");

    // By a predicate the traces are those of the spans that it means.
    let predicate = format!("trace_id = '{second}'");
    let done = place.spanhouse(&["redact", "--where", &predicate]);
    assert_eq!(done.code, SUCCESS, "{}", done.err);
    let now = kept(&place);
    assert!(!now.contains(&second));
    let again = place.spanhouse(&["redact", "--trace-id", &second]);
    assert_eq!((again.code, again.out.contains("of reports")), (SUCCESS, false), "{}", again.out);
    let ran = place.spanhouse(&[&["report", "run", "slowest"], &EVER[..]].concat());
    assert_eq!(ran.code, SUCCESS, "{}", ran.err);
}
