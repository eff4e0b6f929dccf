//! The OpenTelemetry SDKs of Python, Node, Go and Java export to a real server, also to one that refuses for a while, and SQL finds what they sent.

use std::process::Command;

use crate::support::{Server, go, java, node, python};

const SPANS: i64 = 300;
/// What the token of a sender allows that has to come again: less than it has, so that it waits for a second or two.
const SPANS_A_SECOND: &str = "200";

#[tokio::test(flavor = "multi_thread")]
async fn python_sdk_over_grpc_and_http() {
    let Some(python) = python("python_sdk_over_grpc_and_http") else { return };
    let server = Server::start();
    for (protocol, endpoint) in [("grpc", server.otlp_grpc_url()), ("http", server.otlp_http_url())] {
        let service = format!("python-{protocol}");
        python.run("otel_sdk.py", &[protocol, &endpoint, &service, &SPANS.to_string()]);
        check(&server, &service, "ValueError").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_sdk_over_grpc_protobuf_and_json() {
    let Some(node) = node("node_sdk_over_grpc_protobuf_and_json") else { return };
    let server = Server::start();
    let endpoints =
        [("grpc", server.otlp_grpc_url()), ("proto", server.otlp_http_url()), ("json", server.otlp_http_url())];
    for (protocol, endpoint) in endpoints {
        let service = format!("node-{protocol}");
        node.run("otel_sdk.mjs", &[protocol, &endpoint, &service, &SPANS.to_string()]);
        check(&server, &service, "TypeError").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn go_sdk_over_grpc_and_http() {
    let Some(go) = go("sdk", "go_sdk_over_grpc_and_http") else { return };
    let server = Server::start();
    for (protocol, endpoint) in [("grpc", server.otlp_grpc_url()), ("http", server.otlp_http_url())] {
        let service = format!("go-{protocol}");
        go.run(&[protocol, &endpoint, &service, &SPANS.to_string()]);
        check(&server, &service, "*errors.errorString").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn java_sdk_over_grpc_and_http() {
    let Some(java) = java("OtelSdk", "java_sdk_over_grpc_and_http") else { return };
    let server = Server::start();
    for (protocol, endpoint) in [("grpc", server.otlp_grpc_url()), ("http", server.otlp_http_url())] {
        let service = format!("java-{protocol}");
        java.run(&[protocol, &endpoint, &service, &SPANS.to_string()]);
        check(&server, &service, "java.lang.IllegalStateException").await;
    }
}

/// A server that is asked for more than it lets through says so (RESOURCE_EXHAUSTED, 429) with when to come again.
#[tokio::test(flavor = "multi_thread")]
async fn every_sdk_comes_again_when_it_is_refused_and_loses_nothing() {
    let test = "every_sdk_comes_again_when_it_is_refused_and_loses_nothing";
    let folder = tempfile::tempdir().expect("a folder");
    let mut token = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
    token.args(["token", "add", "slow", "--spans-per-second", SPANS_A_SECOND, "--data-dir"]).arg(folder.path());
    let token = token.output().expect("spanhouse runs");
    let token = String::from_utf8(token.stdout).expect("UTF-8");
    let headers = format!("authorization=Bearer%20{}", token.trim());
    let environment = [("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str())];
    let server = Server::start_in(folder.path(), &[]);
    let (grpc, http) = (server.otlp_grpc_url(), server.otlp_http_url());
    let spans = SPANS.to_string();
    if let Some(python) = python(test) {
        for (protocol, endpoint) in [("grpc", &grpc), ("http", &http)] {
            let service = format!("python-{protocol}");
            python.run_with("otel_sdk.py", &[protocol, endpoint, &service, &spans], &environment);
            came_whole(&server, &service).await;
        }
    }
    if let Some(node) = node(test) {
        for (protocol, endpoint) in [("grpc", &grpc), ("proto", &http)] {
            let service = format!("node-{protocol}");
            node.run_with("otel_sdk.mjs", &[protocol, endpoint, &service, &spans], &environment);
            came_whole(&server, &service).await;
        }
    }
    let compiled = [("go", go("sdk", test)), ("java", java("OtelSdk", test))];
    for (language, client) in compiled.iter().filter_map(|(language, client)| Some((language, client.as_ref()?))) {
        for (protocol, endpoint) in [("grpc", &grpc), ("http", &http)] {
            let service = format!("{language}-{protocol}");
            client.run_with(&[protocol, endpoint, &service, &spans], &environment);
            came_whole(&server, &service).await;
        }
    }
}

/// Whether all that a sender had is there once, and that it was refused on the way.
async fn came_whole(server: &Server, service: &str) {
    let sql = server.postgres().await;
    let counts = "SELECT count(*), count(DISTINCT span_id) FROM spans WHERE service_name = $1";
    let row = sql.query_one(counts, &[&service]).await.expect("counts");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (SPANS, SPANS), "{service}");
    let refused = "SELECT sum(count)::bigint FROM system.ingest WHERE what = 'requests' AND reason = 'over_rate'";
    let row = sql.query_one(refused, &[]).await.expect("a count");
    assert!(row.get::<_, i64>(0) > 0, "{service} was never refused");
}

/// What all of them send, asked for as a user would.
async fn check(server: &Server, service: &str, exception: &str) {
    let sql = server.postgres().await;
    let row = sql
        .query_one(
            "SELECT count(*), count(DISTINCT trace_id), count(*) FILTER (WHERE attributes['number'] >= 10),
                    sum(attributes['ratio']), count(*) FILTER (WHERE attributes['even'] = true),
                    count(*) FILTER (WHERE resource_attributes['host.cpus'] = 2),
                    count(*) FILTER (WHERE attributes->>'tags' = '[\"a\",\"b\"]')
             FROM spans WHERE service_name = $1 AND scope_name = 'checkout' AND scope_version = '1.2.3'",
            &[&service],
        )
        .await
        .expect("counts");
    let children = SPANS - 2;
    assert_eq!(row.get::<_, i64>(0), SPANS, "{service}");
    assert_eq!(row.get::<_, i64>(1), 1, "{service}");
    assert_eq!(row.get::<_, i64>(2), children - 10, "{service}");
    assert_eq!(row.get::<_, f64>(3), (children * (children - 1) / 2) as f64 / 4.0, "{service}");
    assert_eq!(row.get::<_, i64>(4), children / 2, "{service}");
    assert_eq!(row.get::<_, i64>(5), SPANS, "{service}");
    assert_eq!(row.get::<_, i64>(6), children, "{service}");

    let row = sql
        .query_one(
            "SELECT f.error_message, e.attributes['exception.type'], e.attributes['exception.message'], l.attributes['why'],
                    l.linked_span_id = r.span_id, f.parent_span_id = r.span_id
             FROM spans f
             JOIN spans r ON r.trace_id = f.trace_id AND r.span_name = 'root' AND r.span_kind = 'SERVER'
             JOIN traces.events e ON e.span_id = f.span_id
             JOIN traces.links l ON l.span_id = f.span_id
             WHERE f.service_name = $1 AND f.status_code = 'ERROR'",
            &[&service],
        )
        .await
        .expect("the failing span");
    assert_eq!(row.get::<_, &str>(0), "cart lookup failed");
    assert_eq!(row.get::<_, &str>(1), exception);
    assert_eq!(row.get::<_, &str>(2), "no such cart");
    assert_eq!(row.get::<_, &str>(3), "test");
    assert!(row.get::<_, bool>(4) && row.get::<_, bool>(5), "{service}");
}
