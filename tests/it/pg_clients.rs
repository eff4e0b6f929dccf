//! Drivers and tools of other languages, each as its users have it, against a real server.

use crate::pg::Server;
use crate::support::{Built, debian, drivers, go, java, node, python};

/// What psqlODBC and its driver manager are in Debian.
const ODBC: [&str; 4] = ["odbc-postgresql", "libodbc2", "libodbcinst2", "libltdl7"];

#[test]
fn python_drivers_read_all_ordinary_types_both_ways() {
    let Some(python) = python("python_drivers_read_all_ordinary_types_both_ways") else { return };
    let server = Server::start();
    let said = python.run("postgres.py", &[&server.address.port().to_string()]);
    assert!(said.contains("ok asyncpg goes on"), "{said}");
}

#[test]
fn psycopg_works_in_all_its_modes() {
    with_python("psycopg_works_in_all_its_modes", "psycopg_modes.py", "all of psycopg's modes");
}

#[test]
fn no_column_has_a_type_that_drivers_do_not_know() {
    with_python("no_column_has_a_type_that_drivers_do_not_know", "oids.py", "columns of ");
}

#[test]
fn pandas_and_sqlalchemy_read_frames_and_reflect() {
    with_python("pandas_and_sqlalchemy_read_frames_and_reflect", "pandas_frames.py", "pandas and SQLAlchemy");
}

#[test]
fn adbc_reads_results_as_arrow() {
    with_python("adbc_reads_results_as_arrow", "adbc.py", "ADBC");
}

#[test]
fn duckdb_attaches_the_server() {
    let test = "duckdb_attaches_the_server";
    let Some(python) = drivers(test) else { return };
    let server = Server::start();
    let said = python.run("duckdb_reader.py", &[&server.address.port().to_string()]);
    if said.contains("NOT TESTED") {
        eprintln!("SKIPPED {test}: {}", said.trim());
        return;
    }
    assert!(said.ends_with("DuckDB\n"), "{said}");
}

#[test]
fn pgcli_completes_and_describes() {
    let Some(python) = drivers("pgcli_completes_and_describes") else { return };
    let (server, settings) = (Server::start(), tempfile::tempdir().expect("a folder"));
    let port = server.address.port().to_string();
    let said = python.run("pgcli_in_a_terminal.py", &[&port, settings.path().to_str().expect("UTF-8")]);
    assert!(said.ends_with("pgcli\n"), "{said}");
}

#[test]
fn odbc_reads_rows_and_metadata() {
    let test = "odbc_reads_rows_and_metadata";
    let (Some(python), Some(files)) = (drivers(test), debian(&ODBC, test)) else { return };
    let server = Server::start();
    let libraries = files.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let driver = libraries.join("odbc/psqlodbcw.so");
    let said = python.run_with(
        "odbc.py",
        &[&server.address.port().to_string(), driver.to_str().expect("UTF-8")],
        &[("LD_LIBRARY_PATH", libraries.to_str().expect("UTF-8"))],
    );
    assert!(said.ends_with("psqlODBC\n"), "{said}");
}

#[test]
fn a_real_postgresql_asks_through_postgres_fdw() {
    let test = "a_real_postgresql_asks_through_postgres_fdw";
    let (Some(python), Some(files)) = (drivers(test), debian(&["postgresql-15"], test)) else { return };
    let server = Server::start();
    let port = server.address.port().to_string();
    let said = python.run("postgres_fdw.py", &[&port, files.to_str().expect("UTF-8")]);
    assert!(said.ends_with("postgres_fdw\n"), "{said}");
}

#[test]
fn node_postgres_with_cursors_and_streams() {
    let Some(node) = node("node_postgres_with_cursors_and_streams") else { return };
    let server = Server::start();
    let said = node.run("postgres.mjs", &[&server.address.port().to_string()]);
    assert_eq!(said, "node-postgres\n");
}

#[test]
fn pgx_in_each_of_its_modes() {
    with_built(go("postgres", "pgx_in_each_of_its_modes"), "pgx\n");
}

#[test]
fn jdbc_reads_rows_and_metadata() {
    with_built(java("Postgres", "jdbc_reads_rows_and_metadata"), "JDBC\n");
}

/// Runs a script of `tests/clients/drivers`, which says at its end that all holds.
fn with_python(test: &str, script: &str, all_well: &str) {
    let Some(python) = drivers(test) else { return };
    let server = Server::start();
    let said = python.run(script, &[&server.address.port().to_string()]);
    assert!(said.lines().last().is_some_and(|last| last.starts_with(all_well)), "{said}");
}

fn with_built(client: Option<Built>, all_well: &str) {
    let Some(client) = client else { return };
    let server = Server::start();
    assert_eq!(client.run(&[&server.address.port().to_string()]), all_well);
}
