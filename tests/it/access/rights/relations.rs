//! Each relation and function of the catalogue, and statements of every shape, give a guest what a store gives that received nothing else.

use super::{Stored, Two, ask};

/// Relations that count spans before a statement asks for them: the guest is not told, and the column is left out of what is compared.
const COUNTED: [(&str, &str); 3] =
    [("pg_class", "reltuples"), ("pg_stat_user_tables", "n_live_tup"), ("pg_stat_all_tables", "n_live_tup")];

/// Calls of each function of the schema `traces` that may stand in FROM. `A` and `B` are traces of which the guest sees a part, `HIDDEN` is one of
/// which it sees nothing.
const CALLS: [&str; 37] = [
    "ancestors_of(service_name = 'gateway')",
    "anomalies(duration_ms < 1e9, duration_ms < 1e9)",
    "baseline()",
    "bottlenecks()",
    "compare(status_code = 'ERROR', with_paths => true)",
    "critical_path('A')",
    "critical_path('HIDDEN')",
    "critical_path(service_name = 'cart')",
    "critical_path()",
    "descendants_of(service_name = 'gateway' AND depth = 1)",
    "deviations(since => '2026-01-05 09:00', until => '2026-01-06')",
    "error_propagation()",
    "flamegraph()",
    "flamegraph(service_name = 'gateway')",
    "forecast(width => '1 minute', steps => 2, season => '2 minutes')",
    "heatmap('1 minute')",
    "latency_breakdown('A')",
    "n_plus_one(2)",
    "red('1 minute')",
    "red('1 minute', ARRAY['user.id', 'app.user.tier', 'http.response.status_code'])",
    "service_calls()",
    "service_calls(since => '2026-01-05 09:00:05', until => '2026-01-05 09:00:10')",
    "service_map()",
    "service_map(since => '2026-01-05 09:00:05')",
    "service_nodes()",
    "siblings_of(span_kind = 'CLIENT' AND duration_ms > 10)",
    "slow_queries()",
    "span_metrics()",
    "span_metrics(ARRAY['server.address', 'user.id'])",
    "trace_diff('A', 'B')",
    "trace_diff('A', 'HIDDEN')",
    "trace_diff(status_code = 'ERROR', status_code <> 'ERROR')",
    "trace_tree('A')",
    "trace_tree('B')",
    "trace_tree('HIDDEN')",
    "waterfall('A')",
    "waterfall('HIDDEN')",
];

/// Statements that are planned in ways of their own.
const STATEMENTS: &[&str] = &[
    "SELECT count(*) FROM spans",
    "SELECT min(timestamp), max(timestamp), min(span_name), max(service_name), min(duration_ns), max(trace_id) FROM spans",
    "SELECT count(*) FROM spans WHERE timestamp >= '2026-01-05 09:00:05' AND timestamp < '2026-01-05 09:00:09'",
    "SELECT service_name, count(*), sum(duration_ns), max(duration_ms) FROM spans GROUP BY 1",
    "SELECT DISTINCT span_name FROM spans",
    "SELECT count(DISTINCT trace_id), count(DISTINCT span_name) FROM spans",
    "SELECT quantile(0.95)(duration_ms), quantiles(0.5, 0.9)(duration_ns) FROM spans",
    "SELECT span_id, timestamp, duration_ns FROM spans ORDER BY duration_ns DESC, span_id LIMIT 7",
    "SELECT span_id FROM spans ORDER BY timestamp, span_id LIMIT 5",
    "SELECT * FROM spans WHERE trace_id = 'A'",
    "SELECT * FROM spans WHERE trace_id = 'HIDDEN'",
    "SELECT * FROM spans WHERE trace_id IN ('A', 'B', 'HIDDEN')",
    "SELECT span_count, services, orphan_count, complete, root_service FROM traces.traces WHERE trace_id IN ('A', 'B', 'HIDDEN')",
    "SELECT count(*) FROM spans WHERE service_name = 'auth' OR service_name = 'cart'",
    "SELECT attributes['user.id'], resource_attributes['host.name'], count(*) FROM spans GROUP BY 1, 2",
    "SELECT count(*) FROM spans WHERE attributes['user.id'] = '***'",
    "SELECT count(*) FROM spans WHERE attributes['user.id'] <> '***' OR attributes['user.id'] LIKE 'u%'",
    "SELECT count(*) FROM spans WHERE attributes['http.response.status_code'] >= 400",
    "SELECT attributes->>'http.route', count(*) FROM spans WHERE attributes['http.route'] IS NOT NULL GROUP BY 1",
    "SELECT max(attributes['http.response.status_code']), min(attributes['server.address']) FROM spans",
    "SELECT key, count(*) FROM (SELECT unnest(map_keys(attributes)) AS key FROM spans) GROUP BY 1",
    "SELECT value, count(*) FROM (SELECT unnest(map_values(resource_attributes)) AS value FROM spans) GROUP BY 1",
    "SELECT resource_attributes['cloud.availability_zone'], count(*) FROM spans GROUP BY 1",
    "SELECT error_message, count(*) FROM spans GROUP BY 1",
    "SELECT event_name, attributes['exception.message'], attributes['exception.type'], attribute_types FROM events",
    "SELECT linked_trace_id, linked_span_id, attributes FROM links",
    "SELECT c.span_id, p.service_name FROM spans c JOIN spans p ON p.trace_id = c.trace_id AND p.span_id = c.parent_span_id",
    "SELECT count(*) FROM spans a LEFT JOIN spans b ON b.span_id = a.parent_span_id WHERE b.span_id IS NULL",
    "SELECT trace_id FROM spans EXCEPT SELECT trace_id FROM spans WHERE service_name = 'cart'",
    "SELECT count(*) FROM spans WHERE EXISTS (SELECT 1 FROM spans o WHERE o.trace_id = spans.trace_id AND o.status_code = 'ERROR')",
    "SELECT span_id, row_number() OVER (PARTITION BY trace_id ORDER BY timestamp, span_id) FROM spans",
    "SELECT s.span_id, l.n FROM spans s, LATERAL (SELECT count(*) AS n FROM spans c WHERE c.parent_span_id = s.span_id) l",
    "WITH RECURSIVE up AS (
         SELECT trace_id, span_id, parent_span_id, 0 AS steps FROM spans WHERE service_name = 'cart'
         UNION ALL
         SELECT s.trace_id, s.span_id, s.parent_span_id, steps + 1 FROM spans s JOIN up ON s.trace_id = up.trace_id AND s.span_id = up.parent_span_id
     ) SELECT steps, count(*) FROM up GROUP BY 1",
    "SELECT (SELECT max(duration_ns) FROM spans), (SELECT count(*) FROM events)",
    "SELECT service_name, depth, is_orphan, root_service, parent_service, count(*) FROM span_tree GROUP BY 1, 2, 3, 4, 5",
    "SELECT count(*) FROM span_tree WHERE timestamp >= '2026-01-05 09:00:05' AND timestamp < '2026-01-05 09:00:06'",
    "SELECT critical_path, hops, edges, error_origin_service FROM traces.traces",
    "SELECT count(*) FROM internal.spans",
    "SELECT count(*) FROM spanhouse.internal.span_tree",
    "SELECT count(*) FROM spans TABLESAMPLE BERNOULLI (100)",
];

/// `A`, `B` and `HIDDEN` in the place of ids.
async fn ids(two: &Two) -> [String; 3] {
    let all = two.all.session();
    let seen = "SELECT trace_id FROM spans WHERE service_name IN ('gateway', 'cart') AND resource_attributes['cloud.availability_zone'] <> 'eu-central-1c'";
    let parts = format!(
        "SELECT trace_id FROM traces.traces WHERE cardinality(services) > 6 AND trace_id IN ({seen}) ORDER BY trace_id LIMIT 2"
    );
    let partly = ask(&all, &parts).await.expect("traces");
    let known = ask(&two.seen.session(), "SELECT DISTINCT trace_id FROM spans").await.expect("traces");
    let every = ask(&all, "SELECT DISTINCT trace_id FROM spans").await.expect("traces");
    let hidden = every.into_iter().find(|id| !known.contains(id)).expect("a trace of which nothing is seen");
    assert!(partly.len() == 2 && partly.iter().all(|id| known.contains(id)));
    [partly[0].clone(), partly[1].clone(), hidden]
}

/// The columns of a relation but one.
async fn all_but(two: &Two, relation: &str, column: &str) -> String {
    let statement =
        two.all.session().prepare(&format!("SELECT * FROM {relation}")).await.expect("a relation").remove(0);
    let schema = statement.schema.expect("columns");
    let names = schema.fields().iter().map(|field| field.name().as_str()).filter(|name| *name != column);
    names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn with_ids(text: &str, [a, b, hidden]: &[String; 3]) -> String {
    let quoted = |id: &String| format!("'{id}'");
    text.replace("'A'", &quoted(a)).replace("'B'", &quoted(b)).replace("'HIDDEN'", &quoted(hidden))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_relation_shows_what_is_seen_and_no_more() {
    let two = Two::new(Stored::Half).await;
    let (some, every) = (two.same("SELECT count(*) FROM spans").await, two.all.session());
    let every = ask(&every, "SELECT count(*) FROM spans").await.expect("a count");
    assert!(some != every && some != ["0"], "{some:?} of {every:?}");
    let listed =
        ask(&two.all.session(), "SELECT table_schema || '.' || table_name FROM information_schema.tables").await;
    let listed = listed.expect("relations");
    assert!(listed.contains(&"traces.spans".to_owned()) && listed.len() > 30, "{listed:?}");
    let mut rows = 0;
    for relation in listed {
        let (schema, name) = relation.split_once('.').expect("a schema");
        if schema == "system" {
            let refused = ask(&two.guest(), &format!("SELECT * FROM {relation}")).await.expect_err(&relation);
            assert_eq!(refused.sqlstate(), "42501", "{relation}: {refused}");
            continue;
        }
        let column = COUNTED.iter().find(|(counted, _)| *counted == name).map(|(_, column)| column);
        let columns = match column {
            None => "*".to_owned(),
            Some(column) => {
                let known = format!("SELECT {column} FROM {relation} WHERE {column} > 0 AND relname = 'spans'");
                assert!(ask(&two.all.session(), &known).await.expect("a count").len() == 1, "{relation} counts spans");
                assert!(ask(&two.guest(), &known).await.expect("no count").is_empty(), "{relation}");
                all_but(&two, &relation, column).await
            }
        };
        rows += two.same(&format!("SELECT {columns} FROM {relation}")).await.len();
    }
    assert!(rows > 1_000, "{rows}");
    let size = "pg_database_size('spanhouse') IS NULL AND pg_total_relation_size('traces.spans') IS NULL";
    assert_eq!(ask(&two.guest(), &format!("SELECT {size}")).await.expect("nothing"), ["true"]);
    assert_eq!(ask(&two.all.session(), &format!("SELECT {size}")).await.expect("sizes"), ["false"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_over_traces_sees_what_is_seen_and_no_more() {
    let two = Two::new(Stored::Half).await;
    let ids = ids(&two).await;
    let known =
        "SELECT DISTINCT proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname = 'traces' AND proretset";
    let known = ask(&two.all.session(), known).await.expect("functions");
    assert!(known.len() > 20, "{known:?}");
    for function in known {
        let is_called = CALLS.iter().any(|call| call.split('(').next() == Some(&function));
        assert!(is_called, "{function} is new: add a call of it");
    }
    let mut silent = Vec::new();
    for call in CALLS {
        let rows = two.same(&format!("SELECT * FROM {}", with_ids(call, &ids))).await;
        assert!(rows.len() != 1 || rows[0].get(5..7) != Some(": "), "{call}: {rows:?}");
        assert!(!call.contains("('HIDDEN')") || rows.is_empty(), "{call}: {rows:?}");
        if rows.is_empty() && !call.contains("HIDDEN") {
            silent.push(call);
        }
    }
    assert!(silent.len() <= 6, "these say nothing, and show nothing: {silent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_every_shape_see_what_is_seen_and_no_more() {
    for stored in [Stored::Nothing, Stored::Half, Stored::All] {
        let two = Two::new(stored).await;
        let ids = ids(&two).await;
        for statement in STATEMENTS {
            let rows = two.same(&with_ids(statement, &ids)).await;
            assert!(!rows.iter().any(|row| row.starts_with("42") || row.starts_with("XX")), "{statement}: {rows:?}");
        }
    }
}
