//! Drivers of other languages: psycopg and asyncpg, by `tests/clients/postgres.py`.

use crate::pg::Server;
use crate::support::python;

#[test]
fn python_drivers_read_all_ordinary_types_both_ways() {
    let Some(python) = python("python_drivers_read_all_ordinary_types_both_ways") else { return };
    let server = Server::start();
    let said = python.run("postgres.py", &[&server.address.port().to_string()]);
    assert!(said.contains("ok asyncpg goes on"), "{said}");
}
