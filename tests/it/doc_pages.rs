//! docs/schema.md and docs/functions.md say what the catalogue says, as `\d+` and `\df+` show it.
//!
//! `UPDATE_DOCS=1 cargo test --test it doc_pages` writes the pages anew.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::pg::Server;

const SCHEMA_HEAD: &str = "\
# Relations

Every relation and column, as `\\d+ NAME` and inspectors show them. The catalogue writes this page (`tests/it/doc_pages.rs`); the words stand in
`schema/descriptions.txt`. What they mean in questions is told in [sql.md](sql.md).
";

const FUNCTIONS_HEAD: &str = "\
# Functions

Every function that PostgreSQL does not have, as `\\df+ traces.*` shows them; of PostgreSQL's own, those that `\\df pg_catalog.*` lists work. The catalogue
writes this page (`tests/it/doc_pages.rs`). [sql.md](sql.md#functions) tells what those of traces mean, and their bounds.
";

#[test]
fn the_page_of_relations_is_what_the_catalogue_says() {
    let server = Server::start();
    let page = server.runtime.block_on(async { relations(&server.connect().await).await });
    is_page("schema.md", &page);
}

#[test]
fn the_page_of_functions_is_what_the_catalogue_says() {
    let server = Server::start();
    let page = server.runtime.block_on(async { functions(&server.connect().await).await });
    is_page("functions.md", &page);
}

/// Every function of traces that `\df` lists is told of in docs/sql.md, which explains them.
#[test]
fn every_function_in_from_is_told_of_on_the_page_of_sql() {
    let server = Server::start();
    let listed = "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'traces'::regnamespace AND proretset AND prokind = 'f'";
    let page = fs::read_to_string(docs("sql.md")).expect("the page");
    server.runtime.block_on(async {
        let client = server.connect().await;
        let names: Vec<String> = rows(&client, listed).await.iter().map(|row| text(row, 0)).collect();
        assert!(names.len() > 20, "{names:?}");
        let untold: Vec<&String> = names.iter().filter(|name| !page.contains(&format!("`{name}("))).collect();
        // Those that other programs' SQL brings stand in the list of functions only.
        let of_others = ["range", "json_object_keys", "flatten"];
        let untold: Vec<&&String> = untold.iter().filter(|name| !of_others.contains(&name.as_str())).collect();
        assert!(untold.is_empty(), "docs/sql.md does not tell of {untold:?}");
    });
}

async fn relations(client: &Client) -> String {
    let mut page = SCHEMA_HEAD.to_owned();
    let relations = "SELECT n.nspname, c.relname, c.oid, coalesce(obj_description(c.oid, 'pg_class'), '') \
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname IN ('traces', 'system') AND c.relkind IN ('r', 'v') ORDER BY n.nspname DESC, c.relname";
    for relation in rows(client, relations).await {
        let (schema, name, oid, described) =
            (text(&relation, 0), text(&relation, 1), text(&relation, 2), text(&relation, 3));
        assert!(!described.is_empty(), "nothing is said of {schema}.{name}");
        let _ = write!(page, "\n## `{schema}.{name}`\n\n{described}\n\n| column | type | |\n|---|---|---|\n");
        let columns = format!(
            "SELECT attname, format_type(atttypid, atttypmod), coalesce(col_description(attrelid, attnum), '') \
             FROM pg_attribute WHERE attrelid = {oid} AND attnum > 0 ORDER BY attnum"
        );
        for column in rows(client, &columns).await {
            let (column, of_type, said) = (text(&column, 0), text(&column, 1), text(&column, 2));
            assert!(schema != "traces" || !said.is_empty(), "nothing is said of {schema}.{name}.{column}");
            let _ = writeln!(page, "| `{column}` | {of_type} | {} |", said.replace('|', "\\|"));
        }
    }
    page
}

async fn functions(client: &Client) -> String {
    let mut page = FUNCTIONS_HEAD.to_owned();
    let listed = "SELECT proname, prokind::text, proretset, pg_get_function_arguments(oid), pg_get_function_result(oid), coalesce(obj_description(oid, 'pg_proc'), '') \
        FROM pg_proc WHERE pronamespace = 'traces'::regnamespace AND pg_function_is_visible(oid) ORDER BY proname, oid";
    let functions = rows(client, listed).await;
    type Wanted = fn(&SimpleQueryRow) -> bool;
    let parts: [(&str, Wanted); 4] = [
        ("In FROM", |row| text(row, 4) == "SETOF record"),
        ("Aggregates", |row| text(row, 1) == "a"),
        ("Windows", |row| text(row, 1) == "w"),
        ("Of values", |row| text(row, 1) == "f" && text(row, 4) != "SETOF record"),
    ];
    for (title, wanted) in parts {
        let _ = write!(page, "\n## {title}\n\n| function | result | |\n|---|---|---|\n");
        for row in functions.iter().filter(|row| wanted(row)) {
            let (name, arguments, result, said) = (text(row, 0), text(row, 3), text(row, 4), text(row, 5));
            let _ = writeln!(page, "| `{name}({arguments})` | {result} | {} |", said.replace('|', "\\|"));
        }
    }
    page
}

/// Fails unless the page is as it would be written, or writes it.
fn is_page(name: &str, page: &str) {
    let path = docs(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, page).expect("written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let differing = there.lines().zip(page.lines()).find(|(there, page)| there != page);
    assert!(there == page, "docs/{name} is stale (UPDATE_DOCS=1 writes it anew), from {differing:?} on");
}

fn docs(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

async fn rows(client: &Client, sql: &str) -> Vec<SimpleQueryRow> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.collect()
}

fn text(row: &SimpleQueryRow, at: usize) -> String {
    row.get(at).unwrap_or_default().to_owned()
}
