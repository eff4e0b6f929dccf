//! The OpenTelemetry SDK and our own command send over TLS, with a token, a password or a certificate.

use tokio_postgres::NoTls;

use super::{House, file, spanhouse};
use crate::support::{Authority, Server, python};

const SPANS: i64 = 20;

/// `https://…` of a listener.
fn https(url: &str) -> String {
    url.replacen("http://127.0.0.1", "https://localhost", 1)
}

/// Spans of a service, asked as a user of this machine.
async fn count(server: &Server, service: &str) -> i64 {
    let parameters = format!("host=127.0.0.1 port={} user=ada password=pencil dbname=x", server.postgres_port());
    let (client, connection) = tokio_postgres::connect(&parameters, NoTls).await.expect("let in");
    tokio::spawn(connection);
    client.query_one("SELECT count(*) FROM spans WHERE service_name = $1", &[&service]).await.expect("a count").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn row_15_the_python_sdk_sends_over_tls_with_a_token_or_a_certificate() {
    let Some(python) = python("row_15_the_python_sdk_sends_over_tls_with_a_token_or_a_certificate") else { return };
    let house = House::new();
    house.user("ada", "reader", "pencil");
    let token = house.token(&["sdk"]);
    let authority = house.authority.certificate();
    let (certificate, key) = house.authority.client("collector");
    let server = house.serve(&[("SPANHOUSE_TLS_CLIENT_CA", &authority)]);
    let bearer = format!("authorization=Bearer%20{token}");
    let trust = ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.as_str());
    // The HTTP library below the SDK would trust these instead of what it is told.
    let (system, system_too) = (("REQUESTS_CA_BUNDLE", ""), ("CURL_CA_BUNDLE", ""));
    let with_token = [trust, system, system_too, ("OTEL_EXPORTER_OTLP_HEADERS", bearer.as_str())];
    let with_certificate = [
        trust,
        system,
        system_too,
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.as_str()),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.as_str()),
    ];
    let stranger = [trust, system, system_too, ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20sph_sdk.x")];
    for (protocol, endpoint) in [("grpc", https(&server.otlp_grpc_url())), ("http", https(&server.otlp_http_url()))] {
        for (what, environment, wanted) in
            [("token", &with_token[..], SPANS), ("certificate", &with_certificate, SPANS), ("stranger", &stranger, 0)]
        {
            let service = format!("{protocol}-{what}");
            python.run_with("otel_sdk.py", &[protocol, &endpoint, &service, &SPANS.to_string()], environment);
            assert_eq!(count(&server, &service).await, wanted, "{service}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_commands_send_with_a_token_over_tls() {
    let house = House::new();
    house.user("ada", "reader", "pencil");
    let token = file(house.folder.path(), "token", &format!("{}\n", house.token(&["import"])));
    let other = Authority::new(house.folder.path(), "other");
    let server = house.serve(&[]);
    let grpc = https(&server.otlp_grpc_url());
    let http = format!("{}/v1/traces", https(&server.otlp_http_url()));
    let (ours, theirs) = (house.authority.certificate(), other.certificate());
    let generate = |to: &str, seed: &str, more: &[&str]| {
        let output = spanhouse(&[&["generate", "--spans", "500", "--seed", seed, "--to", to], more].concat(), "");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (seed, endpoint) in [("1", &grpc), ("2", &http)] {
        let (done, told) = generate(endpoint, seed, &["--tls-ca", &ours, "--token-file", &token]);
        assert!(done, "{endpoint}: {told}");
        let (done, told) = generate(endpoint, "3", &["--tls-ca", &ours]);
        assert!(!done && told.contains("spans are taken with a token only"), "{endpoint}: {told}");
    }
    let parameters = format!("host=127.0.0.1 port={} user=ada password=pencil dbname=x", server.postgres_port());
    let (client, connection) = tokio_postgres::connect(&parameters, NoTls).await.expect("let in");
    tokio::spawn(connection);
    let row = client.query_one("SELECT count(*) FROM spans", &[]).await.expect("a count");
    assert_eq!(row.get::<_, i64>(0), 1_000);
    let refusals = "SELECT sum(count)::bigint FROM system.ingest WHERE reason = 'unauthenticated'";
    assert!(client.query_one(refusals, &[]).await.expect("a count").get::<_, i64>(0) >= 2);
    let (done, told) = generate(&grpc, "4", &["--tls-ca", &theirs, "--token-file", &token]);
    assert!(!done, "{told}");
    let (done, told) = generate(&grpc, "4", &["--tls-ca", &token]);
    assert!(!done && told.contains("it holds none in PEM"), "{told}");
}
