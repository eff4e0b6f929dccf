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
fn relations_columns_and_functions_are_told_of() {
    if !has_psql("relations_columns_and_functions_are_told_of") {
        return;
    }
    let server = Server::start();
    assert!(server.psql_text(&["\\d+ spans"]).contains("NULL for a root."));
    assert!(server.psql_text(&["\\dt+ traces.links"]).contains("A row is a link of a span to another."));
    let functions = server.psql_text(&["\\df+ red"]);
    assert!(functions.contains("Rate, errors and duration of each operation"), "{functions}");
    assert!(server.psql_text(&["\\df+ countif"]).contains("How many rows there are for which a condition is true."));
    let definition = server.psql_text(&["\\sf red"]);
    let head = "CREATE OR REPLACE FUNCTION traces.red(width interval DEFAULT '5 minutes'";
    assert!(definition.starts_with(head) && definition.contains("AS p95_ms"), "{definition}");
    assert!(server.psql_text(&["\\sf+ time_bucket"]).contains("LANGUAGE internal"));
}

#[test]
fn results_become_variables_tables_and_records() {
    if !has_psql("results_become_variables_tables_and_records") {
        return;
    }
    let server = Server::start();
    let set = server.psql_script(
        "SELECT count(*) AS spans, max(service_name) AS service FROM spans \\gset\n\\echo :spans :service\n\
         SELECT count(*) FROM spans WHERE service_name = :'service';\n",
    );
    assert!(set.starts_with("4 frontend\n") && set.contains("\n     3\n"), "{set}");
    let crossed = server.psql_script(
        "SELECT service_name, span_kind, count(*) FROM spans GROUP BY 1, 2 ORDER BY 1, 2 \\crosstabview\n",
    );
    let squeezed: Vec<String> =
        crossed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(squeezed.contains(&"service_name | CLIENT | INTERNAL | SERVER".to_owned()), "{crossed}");
    assert!(squeezed.contains(&"frontend | | 1 | 2".to_owned()), "{crossed}");
    let record = server.psql_script("SELECT span_name, duration_ms FROM spans ORDER BY timestamp LIMIT 1 \\gx\n");
    assert!(record.contains("-[ RECORD 1 ]") && record.contains("span_name   | GET /cart"), "{record}");
    let described = server.psql_script("SELECT timestamp, attributes FROM spans \\gdesc\n");
    assert!(described.contains("timestamp with time zone") && described.contains("jsonb"), "{described}");
    let each = server
        .psql_script("SELECT format('SELECT %L AS found', span_name) FROM spans WHERE service_name = 'cart' \\gexec\n");
    assert!(each.contains("SELECT cart"), "{each}");
    if psql_version() >= 16 {
        let bound = server.psql_script("SELECT $1::int + $2::int AS sum \\bind 40 2 \\g\n");
        assert!(bound.contains(" 42\n"), "{bound}");
    }
}

#[test]
fn a_copy_is_text_csv_or_binary() {
    if !has_psql("a_copy_is_text_csv_or_binary") {
        return;
    }
    let server = Server::start();
    let copy = |options: &str| {
        let statement = format!(
            "COPY (SELECT span_name, duration_ns, parent_span_id FROM spans ORDER BY timestamp LIMIT 2) TO STDOUT {options}"
        );
        let output = server.psql_output(&[&statement]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(copy(""), b"GET /cart\t100000000\t\\N\nSELECT cart\t79999211\t00f067aa0ba902b7\n");
    assert_eq!(
        copy("(FORMAT csv, HEADER, NULL '-')"),
        b"span_name,duration_ns,parent_span_id\nGET /cart,100000000,-\nSELECT cart,79999211,00f067aa0ba902b7\n"
    );
    assert_eq!(copy("WITH CSV DELIMITER ';'"), b"GET /cart;100000000;\nSELECT cart;79999211;00f067aa0ba902b7\n");
    let mut binary = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for (name, duration, parent) in
        [("GET /cart", 100_000_000i64, None), ("SELECT cart", 79_999_211, Some("00f067aa0ba902b7"))]
    {
        binary.extend(3i16.to_be_bytes());
        binary.extend((name.len() as i32).to_be_bytes());
        binary.extend(name.as_bytes());
        binary.extend(8i32.to_be_bytes());
        binary.extend(duration.to_be_bytes());
        binary.extend(parent.map_or(-1, |parent: &str| parent.len() as i32).to_be_bytes());
        binary.extend(parent.unwrap_or_default().as_bytes());
    }
    binary.extend((-1i16).to_be_bytes());
    assert_eq!(copy("(FORMAT binary)"), binary);
}

/// The first number of `psql --version`.
fn psql_version() -> u32 {
    let said = std::process::Command::new("psql").arg("--version").output().expect("psql runs").stdout;
    let said = String::from_utf8(said).expect("UTF-8");
    let number = said.split_whitespace().find_map(|word| word.split('.').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no version in {said}"))
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
