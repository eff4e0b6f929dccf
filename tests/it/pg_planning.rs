//! What is planned for long keeps nobody waiting, and stops as what runs does.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::pg::Server;

/// By then what was stopped has ended, in a debug build beside others; left alone it would take many times as long.
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// A statement of some hundred bytes whose plan has a thousand joins.
fn slow_to_plan() -> String {
    let links = (1..=10).map(|n| format!(", c{n} AS (SELECT x.a FROM c{0} x JOIN c{0} y ON x.a = y.a)", n - 1));
    format!("WITH c0 AS (SELECT flags AS a FROM spans){} SELECT a FROM c10", links.collect::<String>())
}

/// Statements that run, the one that asks left out.
async fn running(asking: &Client) -> i64 {
    let sql = "SELECT value::bigint - 1 FROM system.engine WHERE name = 'running_statements'";
    asking.query_one(sql, &[]).await.expect("answered").get(0)
}

/// Waits until a session's statement has begun; each look is a statement that is answered meanwhile.
async fn until_it_is_planned(asking: &Client, process_id: i32) {
    let sql = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query LIKE 'WITH c0%'";
    while asking.query_opt(sql, &[&process_id]).await.expect("answered").is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn process_id(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.expect("answered").get(0)
}

async fn until_it_has_ended(asking: &Client, how: &str) {
    let begun = Instant::now();
    while running(asking).await > 0 {
        assert!(begun.elapsed() < ENDED_WITHIN, "{how}: it holds its thread");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn row_35_what_is_planned_ends_by_cancel_timeout_and_leaving_and_keeps_nobody_waiting() {
    let server = Server::start();
    server.runtime.block_on(async {
        let asking = server.connect().await;

        let client = server.connect().await;
        let (cancel, id) = (client.cancel_token(), process_id(&client).await);
        let planned = tokio::spawn(async move { (client.simple_query(&slow_to_plan()).await, client) });
        until_it_is_planned(&asking, id).await;
        cancel.cancel_query(NoTls).await.expect("asked");
        let (answer, client) = planned.await.expect("ended");
        assert_eq!(answer.expect_err("cancelled").code(), Some(&SqlState::QUERY_CANCELED));
        until_it_has_ended(&asking, "a cancel request").await;

        client.batch_execute("SET statement_timeout = '100ms'").await.expect("set");
        let answer = client.simple_query(&slow_to_plan()).await;
        assert_eq!(answer.expect_err("timed out").code(), Some(&SqlState::QUERY_CANCELED));
        client.batch_execute("SET statement_timeout = 0").await.expect("the session goes on");
        until_it_has_ended(&asking, "a timeout").await;

        let settings = format!("host=127.0.0.1 port={} user=ada dbname=traces", server.address.port());
        let (leaving, connection) = tokio_postgres::connect(&settings, NoTls).await.expect("connects");
        let connection = tokio::spawn(connection);
        let id = process_id(&leaving).await;
        let planned = tokio::spawn(async move { leaving.simple_query(&slow_to_plan()).await.map(|_| ()) });
        until_it_is_planned(&asking, id).await;
        connection.abort();
        planned.await.expect("ended").expect_err("the connection is gone");
        until_it_has_ended(&asking, "a client that leaves").await;
    });
}

#[test]
fn row_35_a_server_that_stops_waits_for_no_plan() {
    let mut server = Server::start();
    let [planned] = server.runtime.block_on(async {
        let (asking, client) = (server.connect().await, server.connect().await);
        let id = process_id(&client).await;
        let planned = tokio::spawn(async move { client.simple_query(&slow_to_plan()).await.map(|_| ()) });
        until_it_is_planned(&asking, id).await;
        [planned]
    });
    let begun = Instant::now();
    server.stop();
    assert!(begun.elapsed() < ENDED_WITHIN, "{:?}", begun.elapsed());
    server.runtime.block_on(planned).expect("ended").expect_err("the server has gone");
}
