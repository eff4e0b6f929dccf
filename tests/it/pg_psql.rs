//! What a person sees in the real `psql`.

use crate::pg::{Server, has_psql};

#[test]
fn relations_and_columns_are_described() {
    if !has_psql("relations_and_columns_are_described") {
        return;
    }
    let server = Server::start();
    let tables = server.psql_text(&["\\dt"]);
    for relation in ["spans", "events", "links", "traces", "service_edges", "span_tree"] {
        assert!(tables.contains(&format!(" traces | {relation:<13} | table")), "{tables}");
    }
    assert!(!tables.contains("internal"), "{tables}");
    let spans = server.psql_text(&["\\d traces.spans"]);
    for column in
        ["timestamp | timestamp with time zone", "trace_id | text", "duration_ns | bigint", "attributes | jsonb"]
    {
        let squeezed = spans.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert!(squeezed.into_iter().any(|line| line.starts_with(column)), "{column} in\n{spans}");
    }
    assert!(!tables.contains("system"), "what is not on the search path is not listed: {tables}");
    assert!(server.psql_text(&["\\du"]).contains(" ada "));
    assert!(server.psql_text(&["\\d information_schema.columns"]).contains("udt_name"));
    assert!(server.psql_text(&["\\d+ spans"]).contains("span_name"));
    assert!(server.psql_text(&["\\df"]).contains("quantile"));
    let red = server.psql_text(&["\\df red"]);
    assert!(red.contains("width interval DEFAULT '5 minutes', dimensions text[] DEFAULT '{}'"), "{red}");
    assert!(server.psql_text(&["\\dn"]).contains("traces"));
    assert!(server.psql_text(&["\\l"]).contains("spanhouse"));
    assert!(server.psql_text(&["\\sv spans"]).contains("CREATE OR REPLACE VIEW traces.spans AS"));
    for command in [
        "\\d",
        "\\d+ spans",
        "\\da",
        "\\db",
        "\\db+",
        "\\dc",
        "\\dC",
        "\\ddp",
        "\\df+",
        "\\di",
        "\\dn+",
        "\\do",
        "\\dp",
        "\\drds",
        "\\dT",
        "\\dT+",
        "\\dt+",
        "\\du",
        "\\dv",
        "\\dv+",
        "\\dx",
        "\\dF",
        "\\l+",
        "\\sv+ traces.traces",
        "\\d information_schema.columns",
        "\\dO",
        "\\dL",
        "\\dX",
        "\\dconfig",
        "\\dd",
        "\\dg",
        "\\conninfo",
        "\\encoding",
    ] {
        let output = server.psql_output(&[command]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !errors.contains("ERROR"), "{command}: {errors}");
    }
}

#[test]
fn the_csv_of_a_copy_and_of_the_command_line_is_the_same() {
    if !has_psql("the_csv_of_a_copy_and_of_the_command_line_is_the_same") {
        return;
    }
    let server = Server::start();
    let statements = [
        "SELECT * FROM traces.spans ORDER BY span_id",
        "SELECT * FROM traces.events",
        "SELECT * FROM traces.links",
        "SELECT * FROM traces.traces ORDER BY trace_id",
        "SELECT span_name, row_number() OVER (ORDER BY span_id), duration_ms / 3 FROM traces.spans ORDER BY span_id",
        "SELECT 1e21::float8, 0.00001::float8, 0.1::float8 + 0.2, 1e15::float8, -0.0::float8, 'NaN'::float8, '-Infinity'::float8, 0.1::real, 1e10::real",
        "SELECT 12.340, 1::numeric / 3, 12345678901234567890.5::numeric, 9223372036854775807, (-32768)::smallint, true, false",
        "SELECT NULL, '', ' blanks ', 'a,b', 'say \"x\"', E'two\\nlines', E'\\\\.', 'é', '\\x00ff'::bytea",
        "SELECT date '2026-01-31', time '01:02:03.5', timestamp '2026-01-31 01:02:03.000001', timestamptz '2026-07-31 01:02:03.123456789+02'",
        "SELECT interval '1 year 2 months 3 days 4 hours 5 minutes 6.7 seconds', interval '-1 day 1 hour', interval '0', timestamp '2026-01-31 01:00' - timestamp '2026-01-01'",
        "SELECT ARRAY[1, NULL, 3], ARRAY['a', 'b c', 'null', NULL, ''], ARRAY[0.1::float8, 1e21::float8], ARRAY[timestamptz '2026-01-01 00:00:00Z']",
        "SELECT to_jsonb(attributes), attributes, events, links FROM traces.spans ORDER BY span_id",
    ];
    for statement in statements {
        let copied = server.psql_text(&[&format!("\\copy ({statement}) TO STDOUT WITH (FORMAT csv, HEADER)")]);
        assert_eq!(server.sql("csv", statement), copied, "{statement}");
    }
    let zone = "SET timezone = 'Europe/Berlin'";
    let statement = "SELECT timestamp, ARRAY[timestamp] FROM traces.spans ORDER BY span_id";
    let copied = server.psql_text(&[zone, &format!("\\copy ({statement}) TO STDOUT WITH (FORMAT csv, HEADER)")]);
    let copied = copied.strip_prefix("SET\n").unwrap_or(&copied);
    assert_eq!(server.sql("csv", &format!("{zone}; {statement}")), copied);
}

#[test]
fn a_terminal_completes_keywords_tables_and_columns() {
    let test = "a_terminal_completes_keywords_tables_and_columns";
    if !has_psql(test) {
        return;
    }
    let Some(python) = crate::support::python(test) else { return };
    let server = Server::start();
    let psql = server.psql();
    let command = std::iter::once(psql.get_program()).chain(psql.get_args());
    let command = command.map(|part| part.to_str().expect("UTF-8")).collect::<Vec<_>>();
    assert_eq!(python.run("psql_in_a_terminal.py", &command).trim(), "exit code 0");
}

#[test]
fn copies_cursors_and_errors() {
    if !has_psql("copies_cursors_and_errors") {
        return;
    }
    let server = Server::start();
    let copied = server.psql_text(&["\\copy (SELECT span_name, attributes['note'] AS note FROM spans ORDER BY 1) TO STDOUT WITH (FORMAT csv, HEADER)"]);
    assert_eq!(
        copied,
        "span_name,note\nGET /,\nGET /cart,\nSELECT cart,\"quote \"\" comma , back\\slash\nnew line\"\nrender,\n"
    );
    let timed = server.psql_text(&["\\timing on", "\\x", "SELECT timestamp FROM spans WHERE span_name = 'GET /cart'"]);
    assert!(timed.contains("timestamp | 2023-11-14 22:13:20.123456789+00") && timed.contains("Time: "), "{timed}");
    let fetched = server.psql_text(&["\\set FETCH_COUNT 100", "SELECT value FROM generate_series(1, 250)"]);
    assert!(fetched.contains("(250 rows)") || fetched.contains(" 250\n"), "{fetched}");
    let wrong = server.psql_output(&["SELECT 1 AS a, FROM spans"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        said.starts_with("ERROR:  syntax error")
            && said.contains("LINE 1: SELECT 1 AS a, FROM spans")
            && said.contains('^'),
        "{said}"
    );
}
