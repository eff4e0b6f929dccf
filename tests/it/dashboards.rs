//! Grafana and other tools: every query of the dashboards that are shipped, with Grafana's macros expanded as it expands them, and what tools ask the
//! catalogue, in both protocols.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::pg::Server;

/// All spans of the fixture lie between these.
const FROM: &str = "2023-11-14T22:00:00Z";
const TO: &str = "2023-11-14T23:00:00Z";
const INTERVAL_MS: u64 = 60_000;

/// A query of a panel.
struct Target {
    place: String,
    kind: String,
    format: String,
    name: String,
    sql: String,
}

#[test]
fn every_query_of_every_dashboard_answers_in_both_protocols() {
    let server = Server::start();
    let dashboards = files("dashboards", "json");
    assert!(dashboards.len() >= 6, "{dashboards:?}");
    let mut kinds = Vec::new();
    server.runtime.block_on(async {
        let client = server.connect().await;
        for path in dashboards {
            let dashboard: Value = serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON");
            for (name, sql) in variables(&dashboard) {
                let values = text_rows(&client, &expanded(&sql)).await;
                assert!(!values.is_empty(), "{}: variable {name} has no values", path.display());
            }
            for target in targets(&path, &dashboard) {
                let sql = expanded(&target.sql);
                assert!(!sql.contains("$_") && !sql.contains("${"), "{}: {sql}", target.place);
                let prepared =
                    client.prepare(&sql).await.unwrap_or_else(|error| panic!("{}: {error:?}\n{sql}", target.place));
                let columns: Vec<&str> = prepared.columns().iter().map(|column| column.name()).collect();
                let rows = client
                    .query(&prepared, &[])
                    .await
                    .unwrap_or_else(|error| panic!("{}: {error:?}\n{sql}", target.place));
                assert!(!rows.is_empty(), "{} has no rows:\n{sql}", target.place);
                assert_eq!(text_rows(&client, &sql).await.len(), rows.len(), "{}", target.place);
                check(&target, &columns);
                kinds.push(target.kind);
            }
        }
    });
    for kind in ["timeseries", "heatmap", "nodeGraph", "table", "traces"] {
        assert!(kinds.iter().any(|there| there == kind), "no panel is a {kind}: {kinds:?}");
    }
}

#[test]
fn links_between_dashboards_lead_to_dashboards() {
    let mut links = Vec::new();
    let mut known = Vec::new();
    for path in files("dashboards", "json") {
        let text = fs::read_to_string(&path).expect("readable");
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        known.push(dashboard["uid"].as_str().expect("an uid").to_owned());
        let targets = text.split("\"url\": \"/d/").skip(1).filter_map(|rest| rest.split(['?', '"']).next());
        links.extend(targets.map(str::to_owned));
        for variable in text.split("${").skip(1).filter_map(|rest| rest.split(['}', ':', '.']).next()) {
            let own = dashboard["templating"]["list"].as_array().expect("variables");
            let is_own = own.iter().any(|there| there["name"] == variable);
            assert!(is_own || variable.starts_with("__"), "{}: there is no variable {variable}", path.display());
        }
    }
    assert!(links.len() >= 3, "{links:?}");
    for link in links {
        assert!(known.contains(&link), "there is no dashboard {link} among {known:?}");
    }
}

/// The macros that dashboards of users have, each as Grafana expands it.
#[test]
fn grafanas_macros_are_answered_as_they_are_expanded() {
    let server = Server::start();
    server.runtime.block_on(async {
        let client = server.connect().await;
        for (sql, answer) in [
            ("SELECT count(*) FROM spans WHERE $__timeFilter(timestamp)", "4"),
            ("SELECT count(*) FROM spans WHERE timestamp >= $__timeFrom() AND timestamp < $__timeTo()", "4"),
            ("SELECT count(*) FROM (SELECT $__timeGroup(timestamp, '1s'), count(*) FROM spans GROUP BY 1) AS groups", "2"),
            ("SELECT min(time) FROM (SELECT $__timeGroupAlias(timestamp, '1m'), count(*) FROM spans GROUP BY 1) AS groups", "1699999980"),
            ("SELECT min(time) FROM (SELECT $__timeEpoch(timestamp) FROM spans) AS epochs", "1700000000.1234567"),
            ("SELECT count(*) FROM spans WHERE $__unixEpochFilter(extract(epoch FROM timestamp))", "4"),
            ("SELECT min(t)::text FROM (SELECT time_bucket('60.000s', timestamp) AS t FROM spans) AS buckets", "2023-11-14 22:13:00+00"),
        ] {
            let expanded = expanded(sql);
            let rows = text_rows(&client, &expanded).await;
            let first = rows[0][0].clone().unwrap_or_default();
            assert!(first.starts_with(answer), "{expanded} gives {first}");
            client.query(&expanded, &[]).await.unwrap_or_else(|error| panic!("{expanded}: {error:?}"));
        }
    });
}

#[test]
fn tools_find_what_they_ask_for() {
    let sessions = files("tests/fixtures/clients", "sql");
    assert!(sessions.len() >= 6, "{sessions:?}");
    let mut wrong = Vec::new();
    for path in sessions {
        let server = Server::start();
        server.runtime.block_on(async {
            let (simple, extended) = (server.connect().await, server.connect().await);
            for (statement, expected) in session(&fs::read_to_string(&path).expect("readable")) {
                let place = format!("{}: {statement}", path.file_name().expect("a name").display());
                match simple.simple_query(&statement).await {
                    Ok(messages) => {
                        let text = said(&messages);
                        wrong.extend(
                            expected
                                .iter()
                                .filter(|word| !text.contains(**word))
                                .map(|word| format!("{place}\n  lacks {word}")),
                        );
                    }
                    Err(error) => wrong.push(format!("{place}\n  {error:?}")),
                }
                // Several statements at once are the simple protocol's alone, and a cursor lives in a transaction of its own connection.
                if statement.split(';').filter(|part| !part.trim().is_empty()).count() == 1 {
                    let answer = match is_query(&statement) {
                        true => extended.query(&statement, &[]).await.map(drop),
                        false => extended.batch_execute(&statement).await,
                    };
                    wrong.extend(answer.err().map(|error| format!("{place}\n  extended: {error:?}")));
                }
            }
        });
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n\n"));
}

fn is_query(statement: &str) -> bool {
    let first = statement.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    ["select", "with", "fetch", "show"].contains(&first.as_str())
}

/// The statements of a session, each up to a semicolon at a line's end, with the words that its answer must have.
fn session(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut statements: Vec<(String, Vec<&str>)> = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        if let Some(word) = line.strip_prefix("-- expect ") {
            statements.last_mut().expect("a statement before").1.push(word);
        } else if line.starts_with("-- ") && open.is_empty() {
            continue;
        } else {
            open.push_str(line);
            open.push('\n');
            if line.ends_with(';') {
                statements.push((std::mem::take(&mut open).trim().trim_end_matches(';').to_owned(), Vec::new()));
            }
        }
    }
    assert!(open.trim().is_empty(), "a statement without an end: {open}");
    statements
}

/// What a panel's kind needs of its query's columns.
fn check(target: &Target, columns: &[&str]) {
    let Target { place, kind, format, name, .. } = target;
    let has = |wanted: &[&str]| wanted.iter().all(|column| columns.contains(column));
    if format == "time_series" {
        assert!(has(&["time"]), "{place} has no time: {columns:?}");
    }
    match kind.as_str() {
        "nodeGraph" if name == "nodes" => assert!(has(&["id", "title", "mainstat"]), "{place}: {columns:?}"),
        "nodeGraph" => assert!(has(&["id", "source", "target"]), "{place}: {columns:?}"),
        "traces" => {
            let wanted = ["traceID", "spanID", "parentSpanID", "serviceName", "operationName", "startTime", "duration"];
            assert!(has(&wanted), "{place}: {columns:?}");
        }
        _ => {}
    }
}

fn targets(path: &Path, dashboard: &Value) -> Vec<Target> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut targets = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            targets.push(Target {
                place: format!("{}: {}", path.file_name().expect("a name").display(), panel["title"]),
                kind: text(&panel["type"]),
                format: text(&target["format"]),
                name: text(&target["refId"]),
                sql: text(&target["rawSql"]),
            });
        }
    }
    assert!(!targets.is_empty(), "{}", path.display());
    targets
}

fn variables(dashboard: &Value) -> Vec<(String, String)> {
    let list = dashboard["templating"]["list"].as_array().expect("variables");
    let queries = list.iter().filter(|variable| variable["type"] == "query");
    queries
        .map(|variable| (variable["name"].to_string(), variable["query"].as_str().expect("SQL").to_owned()))
        .collect()
}

/// A query as Grafana sends it: variables, then macros.
fn expanded(sql: &str) -> String {
    let mut sql = sql.to_owned();
    for (variable, value) in [
        ("$__interval_ms", INTERVAL_MS.to_string()),
        ("${__interval_ms}", INTERVAL_MS.to_string()),
        ("${service:sqlstring}", "'frontend','cart'".to_owned()),
        ("${operation}", String::new()),
        ("${min_ms}", "0".to_owned()),
        ("${errors}", "all".to_owned()),
        ("${trace_id}", "0af7651916cd43dd8448eb211c80319c".to_owned()),
    ] {
        sql = sql.replace(variable, &value);
    }
    sql = replace_word(&sql, "$__interval", &format!("{}m", INTERVAL_MS / 60_000));
    let seconds = |width: &str| -> u64 {
        let width = width.trim().trim_matches('\'');
        let (number, unit) = width.split_at(width.len() - 1);
        number.parse::<u64>().expect("a number")
            * match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                other => panic!("{other}"),
            }
    };
    let group = |arguments: &[&str]| {
        let seconds = seconds(arguments[1]);
        format!("floor(extract(epoch from {})/{seconds})*{seconds}", arguments[0])
    };
    let epoch = |time: &str| chrono::DateTime::parse_from_rfc3339(time).expect("a time").timestamp();
    sql = macros(&sql, "$__timeGroupAlias", &|arguments| format!("{} AS \"time\"", group(arguments)));
    sql = macros(&sql, "$__timeGroup", &group);
    sql = macros(&sql, "$__timeFilter", &|arguments| format!("{} BETWEEN '{FROM}' AND '{TO}'", arguments[0]));
    sql = macros(&sql, "$__timeEpoch", &|arguments| format!("extract(epoch from {}) as \"time\"", arguments[0]));
    sql = macros(&sql, "$__unixEpochFilter", &|arguments| {
        format!("{column} >= {} AND {column} <= {}", epoch(FROM), epoch(TO), column = arguments[0])
    });
    sql = macros(&sql, "$__timeFrom", &|_| format!("'{FROM}'"));
    macros(&sql, "$__timeTo", &|_| format!("'{TO}'"))
}

/// Replaces `name(arguments)` everywhere.
fn macros(sql: &str, name: &str, expand: &dyn Fn(&[&str]) -> String) -> String {
    let opening = format!("{name}(");
    let mut parts = sql.split(&opening);
    let mut text = parts.next().expect("a first part").to_owned();
    for part in parts {
        let mut depth = 1usize;
        let end = part.char_indices().find_map(|(at, letter)| {
            match letter {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(at)
        });
        let end = end.expect("a closing parenthesis");
        let arguments: Vec<&str> = part[..end].split(',').map(str::trim).collect();
        text.push_str(&expand(&arguments));
        text.push_str(&part[end + 1..]);
    }
    text
}

/// Replaces a variable where it is not the beginning of a longer name.
fn replace_word(sql: &str, name: &str, value: &str) -> String {
    let mut parts = sql.split(name);
    let mut text = parts.next().expect("a first part").to_owned();
    for part in parts {
        let goes_on = part.starts_with(|letter: char| letter == '_' || letter.is_ascii_alphanumeric());
        text.push_str(if goes_on { name } else { value });
        text.push_str(part);
    }
    text
}

async fn text_rows(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect()
}

/// All values of an answer.
fn said(messages: &[SimpleQueryMessage]) -> String {
    let mut text = String::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            (0..row.len()).filter_map(|at| row.get(at)).for_each(|value| {
                text.push_str(value);
                text.push('\n');
            });
        }
    }
    text
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|there| there == extension)).collect();
    files.sort();
    files
}
