//! Rights over the wire: what is for admins, what changes while sessions are open, what users may take.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::access::House;
use crate::otlp_server::{request_of, span};
use crate::pg::has_psql;
use crate::support::Server;
use prost::Message;

/// A server with six spans of `cart` and four of `shop`.
async fn serve(house: &House) -> Server {
    let server = Server::start_in(&house.data_dir(), &[]);
    for (service, numbers) in [("cart", 1..=6), ("shop", 7..=10)] {
        server.post_traces(request_of(service, numbers.map(span).collect()).encode_to_vec()).await;
    }
    server
}

async fn connect(server: &Server, user: &str) -> Result<Client, tokio_postgres::Error> {
    let port = server.postgres_port();
    let parameters = format!("host=127.0.0.1 port={port} user={user} password=pencil dbname=spanhouse");
    let (client, connection) = tokio_postgres::connect(&parameters, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn open(server: &Server, user: &str) -> Client {
    connect(server, user).await.expect("let in")
}

/// The first field of the first row of a statement of the simple protocol.
async fn first(client: &Client, sql: &str) -> Result<String, SqlState> {
    let messages = client.simple_query(sql).await.map_err(|error| error.code().expect("an answer").clone())?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(row.unwrap_or("NULL").to_owned())
}

const COUNT: &str = "SELECT count(*) FROM spans";

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_is_for_admins() {
    let house = House::new();
    for (name, role) in [("ada", "reader"), ("bob", "reader"), ("root", "admin")] {
        house.user(name, role, "pencil");
    }
    let server = Server::start_in(&house.data_dir(), &[]);
    let (ada, bob, root) = (open(&server, "ada").await, open(&server, "bob").await, open(&server, "root").await);
    let number = first(&ada, "SELECT pg_backend_pid() AS the_secret_of_ada").await.expect("a number");
    let query = format!("SELECT query FROM pg_stat_activity WHERE pid = {number}");
    assert_eq!(first(&bob, &query).await.as_deref(), Ok("<insufficient privilege>"));
    let state = format!(
        "SELECT coalesce(state, client_addr::text, query_start::text) FROM pg_stat_activity WHERE pid = {number}"
    );
    assert_eq!(first(&bob, &state).await.as_deref(), Ok("NULL"));
    assert_eq!(
        first(&bob, "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()").await.map(|own| own.len() > 30),
        Ok(true)
    );
    for sees in [&root, &open(&server, "ada").await] {
        assert!(first(sees, &query).await.expect("a text").contains("the_secret_of_ada"));
    }
    assert_eq!(first(&bob, "SELECT count(*) FROM system.audit").await, Err(SqlState::INSUFFICIENT_PRIVILEGE));
    first(&root, "SELECT count(*) FROM system.audit").await.expect("an admin may");

    for function in ["pg_cancel_backend", "pg_terminate_backend"] {
        let stop = format!("SELECT {function}({number})");
        assert_eq!(first(&bob, &stop).await, Err(SqlState::INSUFFICIENT_PRIVILEGE), "{function}");
        assert_eq!(first(&bob, &format!("SELECT {function}(2147483647)")).await.as_deref(), Ok("f"));
    }
    assert_eq!(first(&ada, "SELECT 1").await.as_deref(), Ok("1"), "bob has not ended it");
    let long = "SELECT count(*) FROM generate_series(1, 100000000000) AS t(n) WHERE n % 7 = 3";
    for stopper in [&root, &open(&server, "ada").await] {
        let (stopped, ()) = tokio::join!(first(&ada, long), async {
            let runs = format!(
                "SELECT state = 'active' AND query LIKE '%generate_series%' FROM pg_stat_activity WHERE pid = {number}"
            );
            while first(stopper, &runs).await.as_deref() != Ok("t") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(first(stopper, &format!("SELECT pg_cancel_backend({number})")).await.as_deref(), Ok("t"));
        });
        assert_eq!(stopped, Err(SqlState::QUERY_CANCELED));
    }
    // Who has the secret number of a session needs nothing else.
    let secret = ada.cancel_token();
    let (stopped, ()) = tokio::join!(first(&ada, long), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        secret.cancel_query(NoTls).await.expect("asked");
    });
    assert_eq!(stopped, Err(SqlState::QUERY_CANCELED));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_open_are_held_to_what_changes() {
    let house = House::new();
    house.user("ada", "reader", "pencil");
    house.user("bob", "reader", "pencil");
    let server = serve(&house).await;
    let ada = open(&server, "ada").await;
    let prepared = ada.prepare(COUNT).await.expect("prepared");
    let count = async || ada.query_one(&prepared, &[]).await.map(|row| row.get::<_, i64>(0));
    first(&ada, "PREPARE later AS SELECT count(*) FROM spans").await.expect("prepared");
    first(&ada, "DECLARE kept CURSOR WITH HOLD FOR SELECT service_name FROM spans ORDER BY span_id DESC")
        .await
        .expect("a cursor");
    assert_eq!(first(&ada, "FETCH 1 FROM kept").await.as_deref(), Ok("shop"));
    assert_eq!(count().await.expect("a count"), 10);
    first(&ada, "BEGIN").await.expect("begun");
    assert_eq!(first(&ada, COUNT).await.as_deref(), Ok("10"));

    house.must(&["user", "grant", "ada", "--services", "cart"], "");
    eventually_counts(&ada, "6").await;
    assert_eq!(first(&ada, "EXECUTE later").await.as_deref(), Ok("6"));
    assert_eq!(count().await.expect("a count"), 6);
    let copied: Vec<_> = futures::TryStreamExt::try_collect(std::pin::pin!(
        ada.copy_out("COPY (SELECT DISTINCT service_name FROM spans) TO STDOUT").await.expect("copies")
    ))
    .await
    .expect("rows");
    assert_eq!(copied, [bytes::Bytes::from_static(b"cart\n")]);
    assert_eq!(first(&ada, "COMMIT").await.as_deref(), Ok("NULL"));
    assert_eq!(first(&ada, "FETCH 1 FROM kept").await, Err(SqlState::INVALID_CURSOR_NAME), "begun when it saw more");
    assert_eq!(first(&ada, "SELECT count(*) FROM system.files").await, Err(SqlState::INSUFFICIENT_PRIVILEGE));
    assert_eq!(first(&open(&server, "bob").await, COUNT).await.as_deref(), Ok("10"), "bob sees what he saw");

    house.must(&["user", "grant", "ada", "--services", "shop"], "");
    eventually_counts(&ada, "10").await;
    house.must(&["user", "revoke", "ada", "--services", "cart"], "");
    eventually_counts(&ada, "4").await;
    house.must(&["user", "grant", "ada", "--all-spans"], "");
    eventually_counts(&ada, "10").await;
    house.must(&["user", "grant", "ada", "--where", "service.name=cart,none", "--mask", "service.*"], "");
    eventually_counts(&ada, "6").await;
    assert_eq!(
        first(&ada, "SELECT min(service_name) || max(resource_attributes['service.name']) FROM spans").await.as_deref(),
        Ok("******")
    );
    house.must(&["user", "revoke", "ada", "reader"], "");
    let refused = SqlState::INSUFFICIENT_PRIVILEGE;
    let give_up = std::time::Instant::now() + Duration::from_secs(60);
    while first(&ada, COUNT).await != Err(refused.clone()) {
        assert!(std::time::Instant::now() < give_up, "a role that is gone");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(count().await.expect_err("refused").code(), Some(&refused));
    house.must(&["user", "drop", "ada"], "");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(first(&ada, COUNT).await, Err(refused), "who is dropped does not see more");
}

async fn eventually_counts(client: &Client, expected: &str) {
    let give_up = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let count = first(client, COUNT).await;
        if count.as_deref() == Ok(expected) {
            return;
        }
        assert!(std::time::Instant::now() < give_up, "{count:?} and not {expected}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_take_what_they_may() {
    let house = House::new();
    house.user("ada", "reader", "pencil");
    let limits = ["--statement-timeout", "300ms", "--memory-limit", "4MiB", "--max-connections", "2"];
    house.must(&[&["user", "set", "ada"][..], &limits].concat(), "");
    let server = serve(&house).await;
    let (ada, _second) = (open(&server, "ada").await, open(&server, "ada").await);
    let third = connect(&server, "ada").await.expect_err("two sessions are open");
    assert_eq!(third.code(), Some(&SqlState::TOO_MANY_CONNECTIONS), "{third}");
    first(&ada, "SET statement_timeout = 0").await.expect("set");
    let endless = "SELECT count(*) FROM generate_series(1, 100000000000) AS t(n) WHERE n % 7 = 3";
    assert_eq!(first(&ada, endless).await, Err(SqlState::QUERY_CANCELED), "no setting lifts it");
    house.must(&["user", "set", "ada", "--statement-timeout", "none", "--max-connections", "none"], "");
    let large = "SELECT cardinality(array_agg(n)) FROM generate_series(1, 2000000) AS t(n)";
    let give_up = std::time::Instant::now() + Duration::from_secs(60);
    while first(&ada, large).await != Err(SqlState::OUT_OF_MEMORY) {
        assert!(std::time::Instant::now() < give_up, "its memory is used up before its time");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    house.must(&["user", "set", "ada", "--memory-limit", "none"], "");
    while first(&ada, large).await.as_deref() != Ok("2000000") {
        assert!(std::time::Instant::now() < give_up, "it may take more");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    open(&server, "ada").await;
}

#[test]
fn commands_tell_what_a_user_sees_and_refuse_mistakes() {
    let house = House::new();
    house.user("ada", "reader", "pencil");
    house.user("root", "admin", "pencil");
    let granted =
        ["user", "grant", "ada", "--services", "cart,shop", "--where", "env=prod,stage", "--mask", "user.*,card"];
    let told = "ada has the role reader; sees the services cart, shop; sees where env is prod, stage; does not see the values of card, user.* now";
    assert_eq!(house.must(&granted, ""), told);
    house.must(
        &["user", "set", "ada", "--memory-limit", "64MiB", "--statement-timeout", "90s", "--max-connections", "3"],
        "",
    );
    let listed = house.must(&["user", "list"], "");
    let limits = "a statement holds up to 64MiB; a statement runs up to 90s; up to 3 sessions";
    assert_eq!(
        listed,
        format!("{}; {limits}\nroot: the role admin", told.replacen(" has ", ": ", 1).trim_end_matches(" now"))
    );
    let refusals: [(&[&str], &str); 12] = [
        (&["grant", "ada"], "nothing changes: give a role, or what the user sees"),
        (&["set", "ada"], "nothing changes: give a limit"),
        (&["grant", "ada", "--where", "env"], "is no condition"),
        (&["grant", "ada", "admin"], "an admin sees everything"),
        (&["grant", "root", "--mask", "x"], "an admin sees everything"),
        (&["grant", "ada", "--services", ""], "services must name some"),
        (&["grant", "ada", "--all-spans", "--mask", "x"], "cannot be used with"),
        (&["revoke", "ada", "--services", "cart,shop"], "shop is the last service"),
        (&["revoke", "ada", "--mask", "other"], "other is not masked"),
        (&["set", "ada", "--memory-limit", "much"], "--memory-limit: \"much\" is not a size"),
        (&["set", "ada", "--max-connections", "0"], "limits must be above zero"),
        (&["grant", "eve", "--mask", "x"], "there is no user \"eve\""),
    ];
    for (arguments, why) in refusals {
        let output = house.run(&[&["user"], arguments].concat(), "");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(why), "{arguments:?}: {errors}");
    }
    assert_eq!(house.must(&["user", "list"], ""), listed, "what was refused has changed nothing");
}

#[test]
fn psql_describes_relations_to_those_who_see_some_spans() {
    if !has_psql("psql_describes_relations_to_those_who_see_some_spans") {
        return;
    }
    let house = House::new();
    house.user("ada", "reader", "pencil");
    house.must(&["user", "grant", "ada", "--services", "cart"], "");
    let server = Server::start_in(&house.data_dir(), &[]);
    let mut psql = std::process::Command::new("psql");
    psql.args(["-X", "-h", "127.0.0.1", "-U", "ada", "-d", "spanhouse", "-p", server.postgres_port()]);
    psql.env("PGPASSWORD", "pencil").env_remove("PAGER");
    for command in ["\\l+", "\\d+ spans", "\\dt+ traces.*", "\\df red", "\\dn+", "\\du"] {
        psql.args(["-c", command]);
    }
    let output = psql.output().expect("psql runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("service_name"));
}
