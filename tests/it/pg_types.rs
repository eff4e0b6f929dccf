//! What clients are told of types, and what they may ask of their session.

use tokio_postgres::types::Type;

use crate::pg::Server;

#[test]
fn counts_and_ranks_are_bigint() {
    let server = Server::start();
    server.runtime.block_on(async {
        let client = server.connect().await;
        let sql = "SELECT row_number() OVER () AS a, cardinality(ARRAY[7, 8]) AS b, approx_distinct(v) OVER () AS c, \
                   rank() OVER (ORDER BY v) AS d FROM (VALUES (1)) AS t(v)";
        let row = client.query_one(sql, &[]).await.expect("answers");
        for (at, value) in [1i64, 2, 1, 1].into_iter().enumerate() {
            assert_eq!(row.columns()[at].type_(), &Type::INT8, "column {at}");
            assert_eq!(row.get::<_, i64>(at), value, "column {at} in binary");
        }
        assert_eq!(first(&client, sql).await.as_deref(), Some("1"), "in text");
        let beyond = "SELECT arrow_cast('18446744073709551615', 'UInt64')";
        assert_eq!(state(&client, beyond).await, "22003");
        assert_eq!(
            first(&client, "SELECT arrow_cast('9223372036854775807', 'UInt64')").await.as_deref(),
            Some("9223372036854775807")
        );
    });
}

#[test]
fn columns_have_the_type_that_all_arms_agree_on() {
    let server = Server::start();
    server.runtime.block_on(async {
        let client = server.connect().await;
        for (sql, data_type, value) in [
            ("SELECT CASE WHEN false THEN 1 ELSE 1.5 END", Type::FLOAT8, "1.5"),
            ("SELECT sum(CASE WHEN v = 1 THEN 1 ELSE 0.5 END) FROM (VALUES (1), (2)) AS t(v)", Type::FLOAT8, "1.5"),
            ("SELECT max(x) FROM (SELECT 0 AS x UNION ALL SELECT 0.25) AS t", Type::FLOAT8, "0.25"),
            ("SELECT 1::int UNION SELECT 3000000000 ORDER BY 1 DESC", Type::INT8, "3000000000"),
            (
                "SELECT date '2026-01-01' UNION ALL SELECT timestamp '2026-01-01 10:00:00' ORDER BY 1 DESC",
                Type::TIMESTAMP,
                "2026-01-01 10:00:00",
            ),
        ] {
            assert_eq!(client.prepare(sql).await.expect(sql).columns()[0].type_(), &data_type, "{sql}");
            assert_eq!(first(&client, sql).await.as_deref(), Some(value), "{sql}");
        }
        let beside_parameter = "SELECT CASE WHEN $1::bool THEN 1 ELSE $2::float8 END";
        let row = client.query_one(beside_parameter, &[&false, &0.5]).await.expect("answers");
        assert_eq!(row.get::<_, f64>(0), 0.5);
    });
}

#[test]
fn undeclared_parameters_have_the_type_of_their_place() {
    let server = Server::start();
    server.runtime.block_on(async {
        let client = server.connect().await;
        for (sql, types) in [
            ("SELECT span_name FROM spans LIMIT $1 OFFSET $2", vec![Type::INT8, Type::INT8]),
            ("SELECT count(*) FROM spans WHERE timestamp > now() - $1", vec![Type::INTERVAL]),
            ("SELECT timestamp + $1 FROM spans", vec![Type::INTERVAL]),
            ("SELECT count(*) FROM spans WHERE timestamp > $1", vec![Type::TIMESTAMPTZ]),
            ("SELECT count(*) FROM spans WHERE attributes['http.status_code'] >= $1::int", vec![Type::INT4]),
            ("SELECT count(*) FROM spans WHERE attributes @> $1 AND attributes ? $2", vec![Type::TEXT, Type::TEXT]),
        ] {
            assert_eq!(client.prepare(sql).await.expect(sql).params(), types, "{sql}");
        }
        let rows = client.query("SELECT span_name FROM spans LIMIT $1 OFFSET $2", &[&2i64, &1i64]).await;
        assert_eq!(rows.expect("answers").len(), 2);
        let sql = "SELECT count(*) FILTER (WHERE attributes @> $1) - count(*) FILTER (WHERE attributes->>'n' = '1'), \
                   count(*) FILTER (WHERE attributes ? $2) - count(attributes->>'n') FROM spans";
        let row = client.query_one(sql, &[&"{\"n\": 1}", &"n"]).await.expect("answers");
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 0));
        let error = client.query_one(sql, &[&"[]", &"n"]).await.expect_err("no object");
        assert_eq!(error.code().map(|code| code.code().to_owned()).as_deref(), Some("22P02"));
        client.batch_execute("PREPARE at AS SELECT timestamp '2026-01-01 00:00:00' - $1").await.expect("prepared");
        assert_eq!(first(&client, "EXECUTE at('1 hour')").await.as_deref(), Some("2025-12-31 23:00:00"));
    });
}

#[test]
fn the_session_tells_of_itself() {
    let server = Server::start();
    server.runtime.block_on(async {
        let client = server.connect().await;
        let user = first(&client, "SHOW session_authorization").await;
        for word in ["current_user", "user", "session_user", "current_role"] {
            assert_eq!(first(&client, &format!("SELECT {word}")).await, user, "{word}");
        }
        for (sql, answer) in [
            ("SELECT current_catalog", "spanhouse"),
            ("SELECT current_schema", "traces"),
            ("SELECT current_schema()", "traces"),
            ("SELECT array_to_string(current_schemas(true), ' ')", "pg_catalog traces"),
            ("SELECT localtimestamp = now()::timestamp", "t"),
            ("SELECT set_config('application_name', 'me', false)", "me"),
            ("SELECT current_setting('application_name')", "me"),
            ("SELECT set_config('application_name', 'other', true)", "other"),
            ("SELECT current_setting('APPLICATION_NAME', true)", "me"),
            ("SHOW application_name", "me"),
            ("SELECT coalesce(current_setting('no.such', true), 'none')", "none"),
        ] {
            assert_eq!(first(&client, sql).await.as_deref(), Some(answer), "{sql}");
        }
        assert_eq!(state(&client, "SELECT current_setting('no.such')").await, "42704");
        assert_eq!(state(&client, "SELECT set_config('server_version', '1', false)").await, "55P02");
    });
}

#[test]
fn types_are_named_as_postgresql_names_them() {
    let server = Server::start();
    server.runtime.block_on(async {
        let client = server.connect().await;
        for sql in [
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'traces' AND table_name = 'spans'",
            "DESCRIBE spans",
            "SHOW COLUMNS FROM spans",
        ] {
            let rows = client.query(sql, &[]).await.expect(sql);
            let got: Vec<(String, String)> = rows.iter().map(|row| (row.get("column_name"), row.get("data_type"))).collect();
            for (column, data_type) in [
                ("trace_id", "text"),
                ("timestamp", "timestamp with time zone"),
                ("duration_ns", "bigint"),
                ("attributes", "jsonb"),
                ("events", "jsonb"),
            ] {
                assert!(got.contains(&(column.to_owned(), data_type.to_owned())), "{column} in {sql}: {got:?}");
            }
        }
        let shown = client.query("SHOW TABLES", &[]).await.expect("shows");
        let mut names: Vec<String> = shown.iter().map(|row| row.get("table_name")).collect();
        names.sort();
        assert_eq!(names, ["events", "links", "service_edges", "service_nodes", "span_metrics", "span_tree", "spans", "traces"]);
        let listed = first(&client, "SELECT count(*) FROM pg_catalog.pg_proc WHERE proname IN ('uniq', 'countif', 'time_bucket')").await;
        assert_eq!(listed.as_deref(), Some("3"));
    });
}

/// The first value of a simple query.
async fn first(client: &tokio_postgres::Client, sql: &str) -> Option<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    })?
}

#[test]
fn maps_cast_to_text_and_json_as_they_are_shown() {
    let server = Server::start();
    server.runtime.block_on(async {
        let client = server.connect().await;
        for column in ["attributes", "events", "row(span_id, attributes)"] {
            let shown = first(&client, &format!("SELECT {column} FROM spans ORDER BY span_id LIMIT 1")).await;
            for cast in ["text", "varchar", "json", "jsonb"] {
                let sql = format!("SELECT ({column})::{cast} FROM spans ORDER BY span_id LIMIT 1");
                assert_eq!(first(&client, &sql).await, shown, "{sql}");
            }
        }
        let statement = client.prepare("SELECT attributes::text, attributes::jsonb, $1::jsonb").await.map(|_| ());
        assert!(statement.is_err(), "no relation is named");
        let statement = client.prepare("SELECT attributes::text, attributes::jsonb, $1::jsonb FROM spans").await;
        let statement = statement.expect("prepared");
        let types = statement.columns().iter().map(|column| column.type_().name()).collect::<Vec<_>>();
        assert_eq!(types, ["text", "jsonb", "jsonb"]);
        for sql in ["SELECT attributes::int FROM spans", "SELECT events::bytea FROM spans"] {
            let error = client.simple_query(sql).await.expect_err(sql);
            let error = error.as_db_error().expect("from the server");
            assert_eq!(error.code().code(), "0A000", "{sql}");
            assert!(!error.message().contains("Utf8") && error.hint().is_some(), "{error:?}");
        }
    });
}

/// The SQLSTATE of a statement that fails.
async fn state(client: &tokio_postgres::Client, sql: &str) -> String {
    let error = client.simple_query(sql).await.expect_err(sql);
    error.code().unwrap_or_else(|| panic!("{sql}: {error:?}")).code().to_owned()
}
