//! Long statements of every shape are answered with what they mean, or refused as too complex, and neither takes long to plan.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{Float64Type, Int64Type};
use futures::StreamExt;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::error::Error;
use spanhouse::store::{Store, StoreSettings};
use tempfile::TempDir;

/// What the first column of a statement's first row holds, as the types that these tests ask for.
#[derive(Debug, PartialEq)]
enum Value {
    Null,
    Whole(i64),
    Double(f64),
    Text(String),
    Other,
}

async fn engine() -> (TempDir, Arc<Engine>) {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open(folder.path(), StoreSettings::default()).await.expect("a store");
    let engine = Engine::new(store, EngineSettings::default()).expect("an engine");
    (folder, engine)
}

async fn first(engine: &Arc<Engine>, sql: &str) -> Result<Option<Value>, Error> {
    let session = engine.session();
    let statement = session.prepare(sql).await?.pop().expect("a statement");
    let Outcome::Rows(mut rows) = session.execute(&statement, &[]).await? else { panic!("no rows") };
    let mut first = None;
    while let Some(batch) = rows.stream.next().await {
        let batch = batch?;
        if first.is_none() && batch.num_rows() > 0 {
            let column = batch.column(0);
            first = Some(match column {
                column if column.is_null(0) => Value::Null,
                column if column.as_primitive_opt::<Int64Type>().is_some() => {
                    Value::Whole(column.as_primitive::<Int64Type>().value(0))
                }
                column if column.as_primitive_opt::<Float64Type>().is_some() => {
                    Value::Double(column.as_primitive::<Float64Type>().value(0))
                }
                column if column.as_string_view_opt().is_some() => {
                    Value::Text(column.as_string_view().value(0).to_owned())
                }
                column if column.as_string_opt::<i32>().is_some() => {
                    Value::Text(column.as_string::<i32>().value(0).to_owned())
                }
                _ => Value::Other,
            });
        }
    }
    Ok(first)
}

async fn value(engine: &Arc<Engine>, sql: &str) -> Value {
    first(engine, sql).await.unwrap_or_else(|error| panic!("{error}: {sql:.60}")).expect("a row")
}

async fn state(engine: &Arc<Engine>, sql: &str) -> String {
    match first(engine, sql).await {
        Ok(_) => panic!("it is answered: {sql:.60}"),
        Err(error) => error.sqlstate().to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_long_chains_of_numbers_give_what_they_give_by_hand() {
    let (_folder, engine) = engine().await;
    let mut random = ChaCha8Rng::seed_from_u64(32);
    assert_eq!(value(&engine, &format!("SELECT {}", vec!["1"; 1_000].join("+"))).await, Value::Whole(1_000));
    // Operators bind as they do in arithmetic, from the left; factors are small, so that everything fits.
    for is_column in [false, true] {
        let (mut text, mut sum, mut product) = ("0".to_owned(), 0_i64, 0_i64);
        for _ in 0..600 {
            let number = random.random_range(-9..=9_i64);
            let written = if is_column { format!("(a + {})", number - 7) } else { format!("({number})") };
            match random.random_range(0..3) {
                0 => (sum, product, text) = (sum + product, number, format!("{text} + {written}")),
                1 => (sum, product, text) = (sum + product, -number, format!("{text} - {written}")),
                _ if product.abs() < 1 << 40 => (product, text) = (product * number, format!("{text} * {written}")),
                _ => (sum, product, text) = (sum + product, number, format!("{text} + {written}")),
            }
        }
        let sql = format!("SELECT {text} FROM (VALUES (7)) t(a)");
        assert_eq!(value(&engine, &sql).await, Value::Whole(sum + product), "columns: {is_column}");
    }
    let nested = "(a - ".repeat(400) + "1" + &")".repeat(400);
    assert_eq!(value(&engine, &format!("SELECT {nested} FROM (VALUES (5)) t(a)")).await, Value::Whole(1));
    let halves = vec!["0.5"; 500].join(" + ");
    assert_eq!(value(&engine, &format!("SELECT {halves}")).await, Value::Double(250.0));
    let mixed = (0..300).map(|n| if n % 3 == 0 { "a" } else { "b" }).collect::<Vec<_>>().join(" + ");
    let sql = format!("SELECT {mixed} FROM (VALUES (2, 0.25)) t(a, b)");
    assert_eq!(value(&engine, &sql).await, Value::Double(250.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_long_chains_overflow_and_know_no_value_as_short_ones_do() {
    let (_folder, engine) = engine().await;
    let ones = vec!["a"; 300].join(" + ");
    for (sql, wanted) in [
        (format!("SELECT {ones} + b FROM (VALUES (1, 9223372036854775507)) t(a, b)"), Some(i64::MAX)),
        (format!("SELECT {ones} + b FROM (VALUES (1, 9223372036854775508)) t(a, b)"), None),
        // The first step does not fit, though the sum would.
        (format!("SELECT b + {ones} - b FROM (VALUES (1, 9223372036854775807)) t(a, b)"), None),
    ] {
        match wanted {
            Some(wanted) => assert_eq!(value(&engine, &sql).await, Value::Whole(wanted)),
            None => assert_eq!(state(&engine, &sql).await, "22003", "{}", &sql[sql.len() - 60..]),
        }
    }
    let sql = format!("SELECT {ones} + b FROM (VALUES (1, 1), (1, NULL)) t(a, b) ORDER BY b NULLS FIRST");
    assert_eq!(value(&engine, &sql).await, Value::Null);
    // Two that differ in an operator only are two columns.
    let (plus, minus) = (format!("{ones} + b"), format!("{ones} - b"));
    let sql = format!("SELECT y - x FROM (SELECT {minus} AS x, {plus} AS y FROM (VALUES (1, 4)) t(a, b))");
    assert_eq!(value(&engine, &sql).await, Value::Whole(8));
    let sql = format!("SELECT (sum({plus}) - sum({minus}))::bigint FROM (VALUES (1, 4), (2, 5)) t(a, b)");
    assert_eq!(value(&engine, &sql).await, Value::Whole(18));
    let sql = format!("SELECT count(*) FROM (VALUES (1, 4), (1, 4)) t(a, b) GROUP BY {plus} HAVING {plus} = 304");
    assert_eq!(value(&engine, &sql).await, Value::Whole(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_long_chains_of_texts_are_joined() {
    let (_folder, engine) = engine().await;
    let numbered: Vec<_> = (0..500).map(|n| format!("'{n},'")).collect();
    let wanted: String = (0..500).map(|n| format!("{n},")).collect();
    assert_eq!(value(&engine, &format!("SELECT {}", numbered.join(" || "))).await, Value::Text(wanted.clone()));
    let nested = numbered.join(" || (") + &")".repeat(499);
    assert_eq!(value(&engine, &format!("SELECT {nested}")).await, Value::Text(wanted));
    let columns = vec!["a || b"; 200].join(" || ");
    let sql = format!("SELECT {columns} FROM (VALUES ('x', 7)) t(a, b)");
    assert_eq!(value(&engine, &sql).await, Value::Text("x7".repeat(200)));
    let sql = format!("SELECT {columns} || NULL || 'x' FROM (VALUES ('x', 7)) t(a, b)");
    assert_eq!(value(&engine, &sql).await, Value::Null);
    let joined = "a || '-'";
    let sql = format!("SELECT {joined} || 'z' FROM (VALUES ('x'), ('x')) t(a) GROUP BY {joined}");
    assert_eq!(value(&engine, &sql).await, Value::Text("x-z".to_owned()));
}

/// Statements of some kilobytes, and the number that they give; `None` for those that are too complex.
fn shapes() -> Vec<(&'static str, String, Option<i64>)> {
    let list = |count: usize, item: &dyn Fn(usize) -> String, between: &str| {
        (0..count).map(item).collect::<Vec<_>>().join(between)
    };
    let from = "FROM (VALUES (3)) t(a)";
    let counted = |text: String| format!("SELECT count(*) {from} WHERE {text}");
    let whens = |count, when: &str| list(count, &|n| format!("WHEN {when}{n} THEN {}", n * 2), " ");
    let chain = list(60, &|n| format!("c{} AS (SELECT a + 1 AS a FROM c{n})", n + 1), ", ");
    let joins = list(30, &|n| format!("JOIN (VALUES (3)) t{n}(a) ON t{n}.a = t.a"), " ");
    vec![
        ("500 ORs", counted(list(490, &|n| format!("a = {n}"), " OR ")), Some(1)),
        ("500 ANDs", counted(list(490, &|n| format!("a <> {}", n + 4), " AND ")), Some(1)),
        ("brackets", format!("SELECT {}7{}", "(".repeat(490), ")".repeat(490)), Some(7)),
        ("calls", format!("SELECT {}7{}", "abs(".repeat(120), ")".repeat(120)), Some(7)),
        ("deep calls", format!("SELECT {}7{}", "abs(".repeat(490), ")".repeat(490)), None),
        ("signs", format!("SELECT {}7", "- ".repeat(120)), Some(7)),
        ("many signs", format!("SELECT {}7", "- ".repeat(900)), None),
        ("NOTs", counted("NOT ".repeat(900) + "a = 3"), Some(1)),
        ("casts", format!("SELECT 7{}", "::bigint".repeat(300)), Some(7)),
        ("divisions", format!("SELECT {}", vec!["a"; 900].join(" / ")) + " " + from, None),
        ("values of a CASE", format!("SELECT CASE a {} END {from}", whens(1_000, "")), Some(6)),
        ("conditions of a CASE", format!("SELECT CASE {} END {from}", whens(1_000, "a = ")), Some(6)),
        ("IN", counted(format!("a IN ({})", list(5_000, &|n| n.to_string(), ", "))), Some(1)),
        ("UNION ALL", format!("SELECT count(*) FROM ({}) u", vec!["SELECT 1"; 200].join(" UNION ALL ")), Some(200)),
        (
            "subqueries",
            "SELECT a FROM (".repeat(60) + "SELECT 7::bigint AS a" + &list(60, &|n| format!(") s{n}"), ""),
            Some(7),
        ),
        ("scalar subqueries", format!("SELECT {}7{}", "(SELECT ".repeat(16), ")".repeat(16)), Some(7)),
        ("deep scalar subqueries", format!("SELECT {}7{}", "(SELECT ".repeat(60), ")".repeat(60)), None),
        (
            "conditions in each other",
            counted("3 IN (SELECT 3 WHERE ".repeat(15) + "EXISTS (SELECT 1)" + &")".repeat(15)),
            Some(1),
        ),
        ("CTEs", format!("WITH c0 AS (SELECT 1 AS a), {chain} SELECT a FROM c60"), Some(61)),
        ("joins", format!("SELECT count(*) {from} {joins}"), Some(1)),
        ("columns", format!("SELECT {} {from}", list(1_600, &|n| format!("a + {n} AS c{n}"), ", ")), Some(3)),
        (
            "rows",
            format!("SELECT count(*) FROM (VALUES {}) v(a)", list(10_000, &|n| format!("({n})"), ", ")),
            Some(10_000),
        ),
        ("intervals", format!("SELECT timestamp '2026-01-01'{}", " + interval '1 s'".repeat(400)), None),
    ]
}

/// A debug build on a loaded machine gets many times what is promised; what this is held against took minutes.
const LONGEST: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn row_32_statements_of_some_kilobytes_are_answered_or_too_complex() {
    let (_folder, engine) = engine().await;
    for (name, sql, wanted) in shapes() {
        let begun = Instant::now();
        match (first(&engine, &sql).await, wanted) {
            (Ok(Some(value)), Some(wanted)) => assert_eq!(value, Value::Whole(wanted), "{name}"),
            (Err(error), None) => assert_eq!(error.sqlstate(), "54001", "{name}: {error}"),
            (given, wanted) => panic!("{name}: {wanted:?} was wanted, and {given:?} was given"),
        }
        let taken = begun.elapsed();
        println!("{name}: {taken:.2?}");
        assert!(taken < LONGEST, "{name} took {taken:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_script_stops_while_it_is_prepared_and_others_are_answered() {
    let (_folder, engine) = engine().await;
    // Thousands of statements, each of which takes some milliseconds to plan.
    let columns = (0..30).map(|n| format!("a+{n}")).collect::<Vec<_>>().join(",");
    let script = format!("SELECT {columns} FROM (SELECT flags AS a FROM spans);").repeat(2_000);
    let preparing = {
        let session = engine.session();
        tokio::spawn(async move { session.prepare(&script).await.map(|statements| statements.len()) })
    };
    while engine.running_statements() == 0 && !preparing.is_finished() {
        tokio::task::yield_now().await;
    }
    assert_eq!(value(&engine, "SELECT count(*) FROM spans").await, Value::Whole(0));
    assert!(!preparing.is_finished(), "it should be planned still");
    preparing.abort();
    let begun = Instant::now();
    while engine.running_statements() > 0 {
        assert!(begun.elapsed() < LONGEST, "it still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
