//! The simple protocol through a real client library: results, errors, transactions, settings.

use tokio_postgres::SimpleQueryMessage;

use crate::pg::{Server, has_psql};

/// A span whose service and attribute hold NUL, the attribute's key twice.
const NUL_SPAN: &str = r#"{"resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "a\u0000b"}}]},
    "scopeSpans": [{"spans": [{"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "nul",
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000", "attributes": [
            {"key": "n\u00e9", "value": {"stringValue": "x\u0000y"}}, {"key": "n\u00e9", "value": {"stringValue": "second"}}]}]}]}]}"#;

/// The rows of a simple query, each value as text.
fn rows(messages: Vec<SimpleQueryMessage>) -> Vec<Vec<Option<String>>> {
    messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_nul_in_a_span_reaches_clients_as_a_replacement_character() {
    let server = Server::start();
    server.keep_json(NUL_SPAN);
    server.runtime.block_on(async {
        let client = server.connect().await;
        let ask =
            "SELECT service_name, attributes, attributes['n\u{e9}'], [service_name] FROM spans WHERE span_name = 'nul'";
        let whole =
            ["a\u{fffd}b", "{\"n\u{e9}\": \"x\\ufffdy\", \"n\u{e9}\": \"second\"}", "x\u{fffd}y", "{a\u{fffd}b}"];
        let got = rows(client.simple_query(ask).await.expect("answers"));
        assert_eq!(got, [whole.map(|text| Some(text.to_owned())).to_vec()]);
        let row = client.query_one(ask, &[]).await.expect("answers in binary");
        assert_eq!(row.get::<_, &str>(0), whole[0]);
        assert_eq!(row.get::<_, &str>(2), whole[2]);
    });
    if has_psql("a_nul_in_a_span_reaches_clients_as_a_replacement_character") {
        let shown = server
            .psql_text(&["\\pset format unaligned", "SELECT service_name AS s FROM spans WHERE span_name = 'nul'"]);
        assert!(shown.contains("s\na\u{fffd}b\n"), "{shown}");
    }
}

#[test]
fn several_statements_in_one_message() {
    let server = Server::start();
    server.runtime.block_on(async {
        let client = server.connect().await;
        let got = client
            .simple_query("select 1; ; select 'a;b'; -- nothing\n set application_name = 'x'; show application_name")
            .await;
        let got = rows(got.expect("answers"));
        assert_eq!(got, [["1"], ["a;b"], ["x"]].map(|row| row.map(|text| Some(text.to_owned())).to_vec()));
        assert!(rows(client.simple_query("").await.expect("an empty query is one")).is_empty());
    });
}
