//! The OpenTelemetry SDKs of Python and Node export to a real server, and SQL finds what they sent.

use crate::support::{Server, node, python};

const SPANS: i64 = 300;

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

/// What both scripts send, asked for as a user would.
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
