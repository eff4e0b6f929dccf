//! The functions that `pg_proc` lists, which `\df` and completion offer: each can be called.

use crate::pg::Server;

/// Functions whose arguments must mean something.
const CALLS: &[(&str, &str)] = &[
    ("arrow_cast", "arrow_cast(1, 'Utf8')"),
    ("baseline", "baseline(zone => 'UTC')"),
    ("contrasts", "contrasts(duration_ms > 1, 'name', span_name) FROM spans"),
    ("current_setting", "current_setting('timezone')"),
    ("date_format", "date_format(now(), '%Y')"),
    ("date_part", "date_part('hour', ARGUMENT)"),
    ("date_trunc", "date_trunc('hour', now())"),
    ("decode", "decode('00', 'hex')"),
    ("deviations", "deviations(now() - interval '1 day', now(), 4)"),
    ("digest", "digest('a', 'md5')"),
    ("element_at", "element_at(attributes, 'a') FROM spans"),
    ("exception_text", "exception_text(events) FROM spans"),
    ("encode", "encode('\\x00'::bytea, 'hex')"),
    ("forecast_series", "forecast_series(timestamp, duration_ms, '1 hour', 3) FROM spans"),
    ("isolation_forest", "isolation_forest(trace_id, 0, 10, duration_ms) FROM spans"),
    ("isolation_score", "isolation_score(isolation_forest(trace_id, 0, 10, duration_ms), 1) FROM spans"),
    ("json_build_object", "json_build_object('a', 1)"),
    ("jsonb_build_object", "jsonb_build_object('a', 1)"),
    ("make_timestamp", "make_timestamp(2026, 1, 2, 3, 4, 5.5)"),
    ("map_entries", "map_entries(attributes) FROM spans"),
    ("map_extract", "map_extract(attributes, 'a') FROM spans"),
    ("map_keys", "map_keys(attributes) FROM spans"),
    ("map_values", "map_values(attributes) FROM spans"),
    // No session has that number; the test's own has a small one.
    ("pg_cancel_backend", "pg_cancel_backend(-1)"),
    ("pg_terminate_backend", "pg_terminate_backend(-1)"),
    ("n_plus_one", "n_plus_one(2, now(), now())"),
    ("percentile_cont", "percentile_cont(0.5) WITHIN GROUP (ORDER BY ARGUMENT)"),
    ("percentile_disc", "percentile_disc(0.5) WITHIN GROUP (ORDER BY ARGUMENT)"),
    ("mode", "mode() WITHIN GROUP (ORDER BY 1)"),
    ("quantileif", "quantileIf(0.5)(duration_ns, true) FROM spans"),
    ("regexp_count", "regexp_count('a', 'a', 1, 'i')"),
    ("regexp_like", "regexp_like('a', 'a', 'i')"),
    ("regexp_match", "regexp_match('a', 'a', 'i')"),
    ("regexp_replace", "regexp_replace('a', 'a', 'b', 'i')"),
    ("set_config", "set_config('timezone', 'UTC', false)"),
    ("to_date", "to_date('2026-01-01', 'YYYY-MM-DD')"),
    ("to_timestamp", "to_timestamp('2026-01-01', 'YYYY-MM-DD')"),
    ("to_timestamp_micros", "to_timestamp_micros('2026-01-01')"),
    ("to_timestamp_millis", "to_timestamp_millis('2026-01-01')"),
    ("to_timestamp_nanos", "to_timestamp_nanos('2026-01-01')"),
    ("to_timestamp_seconds", "to_timestamp_seconds('2026-01-01')"),
    ("mann_whitney_test", "mann_whitney_test(NULL::bytea, NULL::bytea)"),
    ("superiority", "superiority(NULL::bytea, NULL::bytea)"),
    ("sketch_count", "sketch_count(quantile_sketch(duration_ms)) FROM spans"),
    ("sketch_merge", "sketch_merge(NULL::bytea)"),
    ("sketch_share", "sketch_share(quantile_sketch(duration_ms), 1) FROM spans"),
    ("sketch_quantile", "sketch_quantile(quantile_sketch(duration_ms), ARGUMENT) FROM spans"),
    ("timezone", "timezone('UTC', ARGUMENT)"),
];

#[test]
fn every_listed_function_can_be_called() {
    let server = Server::start();
    server.runtime.block_on(async {
        let client = server.connect().await;
        let listed = "SELECT proname, prokind::text, proretset, pg_get_function_identity_arguments(oid) FROM pg_proc \
            WHERE pg_function_is_visible(oid) ORDER BY oid";
        let functions = client.query(listed, &[]).await.expect("a list");
        assert!(functions.len() > 500, "{}", functions.len());
        let mut wrong = Vec::new();
        for function in &functions {
            let (name, kind, arguments): (String, String, String) = (function.get(0), function.get(1), function.get(3));
            let call = call(&name, &kind, &arguments);
            let statements = match function.get(2) {
                // Of those that give rows, some stand in FROM only.
                true => vec![format!("SELECT {call}"), format!("SELECT * FROM {call}")],
                false => vec![format!("SELECT {call}")],
            };
            let mut errors = Vec::new();
            for statement in &statements {
                errors.extend(client.simple_query(statement).await.err().and_then(|error| Some(error.as_db_error()?.to_string())));
            }
            if errors.len() == statements.len() {
                wrong.push(format!("{name}({arguments}): {call}: {errors:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), functions.len(), wrong.join("\n"));
        for missing in ["int4in", "ts_rank", "json_get", "lo_import", "similar_to_escape"] {
            let found = functions.iter().any(|function| function.get::<_, String>(0) == missing);
            assert!(!found, "{missing} cannot be called, and is offered");
        }
        let shown = "SELECT pg_get_function_result('quantile'::regproc::oid), pg_get_function_arguments('quantile'::regproc::oid)";
        let shown = client.query_one(shown, &[]).await.expect("a function");
        assert_eq!(shown.get::<_, &str>(0), "double precision");
        assert_eq!(shown.get::<_, &str>(1), "value double precision, q double precision");
    });
}

fn call(name: &str, kind: &str, arguments: &str) -> String {
    let declared = || arguments.split(", ").filter(|argument| !argument.is_empty());
    if let Some((_, call)) = CALLS.iter().find(|(known, _)| *known == name) {
        return match call.contains("ARGUMENT") {
            true => call.replace("ARGUMENT", &declared().last().map_or(String::new(), literal)),
            false => (*call).to_owned(),
        };
    }
    let arguments: Vec<String> = declared().map(literal).collect();
    match (kind, arguments.is_empty()) {
        ("a", true) => format!("{name}(*)"),
        ("w", _) => format!("{name}({}) OVER (ORDER BY 1)", arguments.join(", ")),
        _ => format!("{name}({})", arguments.join(", ")),
    }
}

/// A value for an argument as it is declared: `type` or `name type`.
fn literal(argument: &str) -> String {
    let (argument, is_variadic) = match argument.strip_prefix("VARIADIC ") {
        Some(argument) => (argument, true),
        None => (argument, false),
    };
    let argument = argument.rsplit(" ORDER BY ").next().unwrap_or(argument);
    let known = |of_type: &str| {
        Some(match of_type {
            "boolean" => "true",
            "bytea" => "'\\x00'::bytea",
            "smallint" => "1::smallint",
            "integer" => "1::int",
            "bigint" | "anyelement" | "anynonarray" | "anycompatible" | "anycompatiblenonarray" => "1::bigint",
            "text" | "name" | "character" | "\"any\"" => "'a'",
            "real" => "0.5::real",
            "double precision" => "0.5::float8",
            "numeric" => "1.5::numeric",
            "date" => "'2026-01-01'::date",
            "time without time zone" => "'01:00'::time",
            "timestamp without time zone" => "'2026-01-01'::timestamp",
            "timestamp with time zone" => "now()",
            "interval" => "'1 hour'::interval",
            "json" | "jsonb" => "'[]'::jsonb",
            "oid" => "1::oid",
            "regclass" => "'pg_class'::regclass",
            "anyarray" | "anycompatiblearray" => "ARRAY[1, 2]::bigint[]",
            "double precision[]" => "ARRAY[0.5]::float8[]",
            "text[]" => "ARRAY['a']",
            _ => return None,
        })
    };
    let of_type = match known(argument) {
        Some(_) => argument,
        None => argument.split_once(' ').map_or(argument, |(_, of_type)| of_type),
    };
    let value = match (is_variadic, of_type) {
        (true, "text[]") => Some("'a'"),
        (true, "double precision[]") => Some("0.5"),
        (true, "anyarray") => Some("1::bigint"),
        _ => known(of_type),
    };
    value.unwrap_or_else(|| panic!("no value of type {of_type}")).to_owned()
}
