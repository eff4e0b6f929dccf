//! Sessions as other sessions see and stop them.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::pg::Server;

/// Runs for minutes when nobody stops it.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";

#[test]
fn a_session_sees_what_others_run_and_stops_it() {
    let server = Server::start();
    server.runtime.block_on(async {
        let (operator, other) = (server.connect().await, server.connect().await);
        other.batch_execute("SET application_name = 'nightly'").await.expect("set");
        let running = tokio::spawn(async move { (other.simple_query(ENDLESS).await, other) });
        let seen = "SELECT pid, usename, state, query, client_port, query_start <= now() AS since FROM pg_stat_activity \
                    WHERE application_name = 'nightly' AND state = 'active'";
        let row = loop {
            if let Some(row) = operator.query_opt(seen, &[]).await.expect("answers") {
                break row;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!((row.get::<_, &str>("usename"), row.get::<_, &str>("query")), ("ada", ENDLESS));
        assert!(row.get::<_, i32>("client_port") > 0 && row.get::<_, bool>("since"));
        let pid: i32 = row.get("pid");
        let stopped = operator.query_one("SELECT pg_cancel_backend($1)", &[&pid]).await.expect("answers");
        assert!(stopped.get::<_, bool>(0));
        let (answer, other) = running.await.expect("ended");
        assert_eq!(answer.expect_err("cancelled").code(), Some(&SqlState::QUERY_CANCELED));
        let own: i32 = other.query_one("SELECT pg_backend_pid()", &[]).await.expect("goes on").get(0);
        assert_eq!(own, pid);

        other.batch_execute("BEGIN").await.expect("begins");
        let state = "SELECT state FROM pg_stat_activity WHERE application_name = 'nightly'";
        assert_eq!(operator.query_one(state, &[]).await.expect("a row").get::<_, &str>(0), "idle in transaction");
        let ended = operator
            .query_one("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'nightly'", &[])
            .await;
        assert!(ended.expect("answers").get::<_, bool>(0));
        other.simple_query("SELECT 1").await.expect_err("the session is gone");
        loop {
            if operator.query_opt(state, &[]).await.expect("answers").is_none() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let nobody = operator.query_one("SELECT pg_cancel_backend($1)", &[&pid]).await.expect("answers");
        assert!(!nobody.get::<_, bool>(0));
    });
}

#[test]
fn a_session_knows_its_user_and_lists_it_as_a_role() {
    let server = Server::start();
    server.runtime.block_on(async {
        let client = server.connect().await;
        let sql = "SELECT current_user, session_user, r.rolname, u.usesysid = r.oid AS same FROM pg_roles r \
                   JOIN pg_user u ON u.usename = r.rolname WHERE r.rolname = current_user";
        let row = client.query_one(sql, &[]).await.expect("answers");
        for at in 0..3 {
            assert_eq!(row.get::<_, &str>(at), "ada");
        }
        assert!(row.get::<_, bool>("same"));
        client.batch_execute("RESET ALL").await.expect("reset");
        let row = client.query_one("SELECT current_user, inet_client_addr()", &[]).await.expect("answers");
        assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("ada", "127.0.0.1"));
    });
}
