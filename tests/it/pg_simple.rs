//! The simple protocol through a real client library: results, errors, transactions, settings.

use tokio_postgres::SimpleQueryMessage;

use crate::pg::Server;

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
