//! People and drivers log in over the PostgreSQL wire.

use std::process::{Command, Output};

use super::{House, eventually};
use crate::pg::has_psql;
use crate::support::{Authority, Server, python};

/// Asks with the real psql, encrypted and verified unless `settings` say otherwise.
fn psql(server: &Server, authority: &Authority, user: &str, password: &str, settings: &str) -> Output {
    let (port, root) = (server.postgres_port(), authority.certificate());
    let target = format!(
        "host=localhost port={port} user={user} dbname=spanhouse sslmode=verify-full sslrootcert={root} {settings}"
    );
    let mut command = Command::new("psql");
    command.args(["-X", "-w", "-At", "-c", "SELECT 'as ' || current_user"]).arg(target);
    command
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "30")
        .env_remove("PGSSLMODE")
        .output()
        .expect("psql runs")
}

fn refused(output: &Output, why: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && errors.contains(why), "{why}: {errors}");
}

#[test]
fn row_39_psql_gets_in_with_its_password_over_tls_and_not_otherwise() {
    if !has_psql("row_39_psql_gets_in_with_its_password_over_tls_and_not_otherwise") {
        return;
    }
    let house = House::new();
    house.user("ada", "reader", "pencil");
    house.user("bot", "ingest", "robot");
    house.user("Zoë", "admin", "né à l’été");
    let server = house.serve(&[("SPANHOUSE_PLAINTEXT", "never")]);
    let ask = |user, password, settings| psql(&server, &house.authority, user, password, settings);
    for (user, password, settings) in [
        ("ada", "pencil", ""),
        ("ada", "pencil", "channel_binding=require"),
        ("ada", "pencil", "channel_binding=disable"),
        ("ada", "pencil", "sslmode=require"),
        ("Zoë", "né à l’été", ""),
    ] {
        let output = ask(user, password, settings);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("as {user}\n"), "{settings}: {errors}");
    }
    refused(&ask("ada", "pencils", ""), "FATAL:  password authentication failed for user \"ada\"");
    refused(&ask("eve", "pencil", ""), "FATAL:  password authentication failed for user \"eve\"");
    refused(&ask("bot", "wrong", ""), "FATAL:  password authentication failed for user \"bot\"");
    refused(&ask("bot", "robot", ""), "FATAL:  user \"bot\" is not permitted to ask statements");
    refused(&ask("ada", "", ""), "no password supplied");
    refused(&ask("ada", "pencil", "sslmode=disable"), "is not encrypted, and this server takes TLS only");
    let other = Authority::new(house.folder.path(), "other");
    refused(&psql(&server, &other, "ada", "pencil", ""), "certificate verify failed");
}

#[test]
fn a_certificate_stands_for_the_password_of_whom_it_names() {
    if !has_psql("a_certificate_stands_for_the_password_of_whom_it_names") {
        return;
    }
    let house = House::new();
    house.user("ada", "reader", "pencil");
    house.user("bob", "reader", "chalk");
    let server = house.serve(&[("SPANHOUSE_TLS_CLIENT_CA", &house.authority.certificate())]);
    let shows = |authority: &Authority, name, user, password| {
        let (certificate, key) = authority.client(name);
        psql(&server, &house.authority, user, password, &format!("sslcert={certificate} sslkey={key}"))
    };
    assert!(shows(&house.authority, "ada", "ada", "").status.success());
    assert!(shows(&house.authority, "ada", "bob", "chalk").status.success(), "a password does as well");
    refused(&shows(&house.authority, "ada", "bob", ""), "no password supplied");
    refused(&shows(&house.authority, "eve", "eve", ""), "no password supplied");
    let other = Authority::new(house.folder.path(), "other");
    assert_eq!(shows(&other, "ada", "ada", "pencil").status.code(), Some(2), "of an authority that nobody knows");
    assert!(psql(&server, &house.authority, "ada", "pencil", "").status.success(), "none has to be shown");
}

#[test]
fn users_come_and_go_without_a_restart() {
    if !has_psql("users_come_and_go_without_a_restart") {
        return;
    }
    let house = House::new();
    let server = house.serve(&[]);
    let ask = |user, password| psql(&server, &house.authority, user, password, "").status.success();
    assert!(ask("anybody", ""), "there is nobody to log in as");
    house.user("ada", "reader", "pencil");
    eventually("a user is asked for", || !ask("anybody", ""));
    assert!(ask("ada", "pencil"));
    house.must(&["user", "passwd", "ada", "--password-file", "-"], "chalk");
    eventually("another password holds", || ask("ada", "chalk"));
    assert!(!ask("ada", "pencil"));
    house.must(&["user", "revoke", "ada", "reader"], "");
    eventually("a role is gone", || !ask("ada", "chalk"));
    house.must(&["user", "grant", "ada", "admin"], "");
    eventually("a role is given", || ask("ada", "chalk"));
    let file = house.data_dir().join("access.json");
    let good = std::fs::read_to_string(&file).expect("the file");
    std::fs::write(&file, &good[..good.len() / 2]).expect("damaged");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(ask("ada", "chalk") && !ask("anybody", ""), "what was read last holds");
    std::fs::write(&file, good).expect("mended");
    house.must(&["user", "add", "eve", "--password-file", "-"], "x");
    house.must(&["user", "drop", "ada"], "");
    eventually("a user is gone", || !ask("ada", "chalk"));
    assert!(ask("eve", "x"));
}

#[test]
fn drivers_log_in() {
    let Some(python) = python("drivers_log_in") else { return };
    let house = House::new();
    house.user("ada", "reader", "pencil");
    let server = house.serve(&[]);
    let authority = house.authority.certificate();
    let told = python.run("postgres_login.py", &[server.postgres_port(), "ada", "pencil", &authority]);
    assert_eq!(told.trim_end(), "let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_a_password_is_proved_all_the_same() {
    let house = House::new();
    house.user("ada", "reader", "pencil");
    let server = Server::start_in(&house.data_dir(), &[]);
    let connect = async |password: &str| {
        let parameters =
            format!("host=127.0.0.1 port={} user=ada password={password} dbname=x", server.postgres_port());
        let (client, connection) = tokio_postgres::connect(&parameters, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok::<_, tokio_postgres::Error>(client)
    };
    let client = connect("pencil").await.expect("let in");
    assert_eq!(client.query_one("SELECT 1::bigint", &[]).await.expect("a row").get::<_, i64>(0), 1);
    let error = connect("wrong").await.expect_err("refused");
    assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD), "{error}");
}
