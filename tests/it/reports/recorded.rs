//! Results that are kept as tables: SQL reads them as any relation, one version at a time, and sketches of months give the quantile of all.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{Float64Type, Int64Type};
use futures::StreamExt;
use spanhouse::engine::{Engine, EngineSettings, Outcome, Rows, Session};
use spanhouse::error::Error;
use spanhouse::report::record::{TablesFolder, keep};
use spanhouse::report::{Frame, Record, RecordMode, ReportsHome};
use spanhouse::store::{Store, StoreSettings};
use tempfile::TempDir;

const HOUR_MS: i64 = 3_600_000;
const FRAME_BYTES: usize = 64 << 20;
/// The bound on the sketch's relative error, as `docs/sql.md` states it.
const SKETCH_RELATIVE_ERROR: f64 = 1.0 / 128.0;

struct House {
    engine: Arc<Engine>,
    tables: TablesFolder,
    folder: TempDir,
}

impl House {
    async fn open() -> Self {
        let folder = TempDir::new().expect("folder");
        let (engine, tables) = engine_of(folder.path()).await;
        Self { engine, tables, folder }
    }

    /// Keeps what a statement gives.
    async fn keep(&self, table: &str, mode: RecordMode, window: Option<(i64, i64)>, sql: &str) -> Result<u64, Error> {
        let frame =
            Frame::collect(rows(&self.engine.session(), sql).await.expect("rows"), FRAME_BYTES).await.expect("rows");
        let (tables, record) = (self.tables.clone(), Record { table: table.to_owned(), mode, keep: None });
        tokio::task::spawn_blocking(move || keep(&tables, &record, &frame, window)).await.expect("a thread")
    }

    async fn append(&self, table: &str, sql: &str) {
        self.keep(table, RecordMode::Append, None, sql).await.expect("kept");
    }

    async fn numbers(&self, sql: &str) -> Vec<i64> {
        numbers(&self.engine.session(), sql).await
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = rows(&self.engine.session(), sql).await.unwrap_or_else(|error| panic!("{error} in {sql}"));
        let first = rows.schema.field(0).name().clone();
        let frame = Frame::collect(rows, FRAME_BYTES).await.expect("rows");
        frame.texts(&first).expect("texts").into_iter().map(|text| text.unwrap_or_else(|| "NULL".to_owned())).collect()
    }
}

async fn engine_of(folder: &Path) -> (Arc<Engine>, TablesFolder) {
    let store = Store::open(folder, StoreSettings::default()).await.expect("store");
    let engine = Engine::new(store, EngineSettings::default()).expect("engine");
    let tables = TablesFolder::of(&ReportsHome::new(folder));
    engine.show_recorded(Arc::new(tables.clone()));
    (engine, tables)
}

async fn rows(session: &Session, sql: &str) -> Result<Rows, Error> {
    let statements = session.prepare(sql).await?;
    match session.execute(&statements[0], &[]).await? {
        Outcome::Rows(rows) => Ok(rows),
        Outcome::Command(command) => panic!("{command} gives no rows"),
    }
}

async fn numbers(session: &Session, sql: &str) -> Vec<i64> {
    let frame =
        Frame::collect(rows(session, sql).await.unwrap_or_else(|error| panic!("{error} in {sql}")), FRAME_BYTES).await;
    let frame = frame.unwrap_or_else(|error| panic!("{error} in {sql}"));
    frame.batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_tables_are_relations_like_others() {
    let house = House::open().await;
    let listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'reports' ORDER BY 1";
    assert_eq!(house.texts(listed).await, Vec::<String>::new());
    let error = house.engine.session().prepare("SELECT * FROM reports.daily").await.expect_err("no table");
    assert_eq!(error.sqlstate(), "42P01", "{error}");
    house.append("daily", "SELECT 'a' AS service_name, 1 AS calls, 0.5 AS p95_ms, now() AS time").await;
    house.append("other", "SELECT ARRAY['x', 'y'] AS names").await;
    assert_eq!(house.texts(listed).await, ["daily", "other"]);
    for (sql, wanted) in [
        ("SELECT schema_name FROM information_schema.schemata WHERE schema_name = 'reports'", vec!["reports"]),
        (
            "SELECT column_name || ' ' || data_type FROM information_schema.columns WHERE table_schema = 'reports' AND table_name = 'daily' ORDER BY ordinal_position",
            vec!["service_name text", "calls bigint", "p95_ms double precision", "time timestamp with time zone"],
        ),
        ("SELECT tablename FROM pg_tables WHERE schemaname = 'reports' ORDER BY 1", vec!["daily", "other"]),
        // What psql asks for \d reports.*
        (
            "SELECT c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'v') AND n.nspname OPERATOR(pg_catalog.~) '^(reports)$' ORDER BY 1",
            vec!["daily", "other"],
        ),
        (
            "SELECT a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = 'reports.daily'::regclass AND a.attnum > 0 ORDER BY a.attnum",
            vec!["service_name text", "calls bigint", "p95_ms double precision", "time timestamp with time zone"],
        ),
        ("SELECT c.oid::regclass::text FROM pg_class c WHERE relname = 'daily'", vec!["reports.daily"]),
        ("SELECT service_name FROM reports.daily WHERE calls > 0 AND time > now() - INTERVAL '1 day'", vec!["a"]),
        (
            "SELECT d.service_name FROM spanhouse.reports.daily AS d JOIN reports.other AS o ON o.names[1] = 'x'",
            vec!["a"],
        ),
        // They are not on the search path.
        ("SELECT count(*)::text FROM pg_class WHERE relname = 'daily' AND pg_table_is_visible(oid)", vec!["0"]),
        ("SELECT coalesce(to_regclass('reports.nothing')::text, 'none')", vec!["none"]),
    ] {
        assert_eq!(house.texts(sql).await, wanted, "{sql}");
    }
    for sql in [
        "DROP TABLE reports.daily",
        "DELETE FROM reports.daily",
        "INSERT INTO reports.daily SELECT * FROM reports.daily",
        "CREATE TABLE reports.new AS SELECT 1",
        "COPY reports.daily TO '/tmp/x'",
        "TRUNCATE reports.daily",
    ] {
        let error = house.engine.session().prepare(sql).await.expect_err(sql);
        assert_eq!(error.sqlstate(), "42501", "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_is_null_before_also_for_plans_that_were_kept() {
    let house = House::open().await;
    house.append("t", "SELECT 1 AS n").await;
    let all = "SELECT * FROM reports.t ORDER BY n";
    let session = house.engine.session();
    let prepared = session.prepare(all).await.expect("planned");
    assert_eq!(prepared[0].schema.as_ref().expect("columns").fields().len(), 1);
    house.append("t", "SELECT 2 AS n, 'b' AS name").await;
    assert_eq!(house.texts("SELECT coalesce(name, 'none') FROM reports.t ORDER BY n").await, ["none", "b"]);
    assert_eq!(house.numbers("SELECT n FROM reports.t WHERE name IS NULL").await, [1]);
    // A statement that was prepared before has the columns that it told its client; its rows are the newest.
    let Ok(Outcome::Rows(mut kept)) = session.execute(&prepared[0], &[]).await else { panic!("no rows") };
    let batch = kept.stream.next().await.expect("rows").expect("rows");
    assert_eq!((batch.num_columns(), batch.num_rows()), (1, 2));
    // The same text asked anew has both.
    let rows = rows(&session, all).await.expect("rows");
    assert_eq!(rows.schema.fields().len(), 2);
    let error = house.keep("t", RecordMode::Append, None, "SELECT 'three' AS n").await.expect_err("another type");
    assert!(error.message.contains("column \"n\" is bigint there and text in the result"), "{error}");
    assert_eq!(house.numbers("SELECT n FROM reports.t ORDER BY n").await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_and_a_transaction_see_one_version() {
    let house = House::open().await;
    let window = Some((0, HOUR_MS));
    let mode = || RecordMode::ReplaceWindow { column: "time".to_owned() };
    let version = |n: i64| {
        format!(
            "SELECT TIMESTAMP '1970-01-01 00:00:00Z' + i * INTERVAL '1 second' AS time, {n} AS n FROM generate_series(1, 1000) AS s(i)"
        )
    };
    house.keep("t", mode(), window, &version(0)).await.expect("kept");
    let session = house.engine.session();
    for sql in ["BEGIN", "SELECT 1"] {
        let statements = session.prepare(sql).await.expect("planned");
        session.execute(&statements[0], &[]).await.expect("run");
    }
    assert_eq!(numbers(&session, "SELECT max(n) FROM reports.t").await, [0]);
    // Two scans of one statement, whose first rows are taken before the table is replaced, and files are gone before it ends.
    let mut open = rows(&house.engine.session(), "SELECT a.n FROM reports.t AS a, reports.t AS b").await.expect("rows");
    let first = open.stream.next().await.expect("rows").expect("rows");
    for n in 1..=20 {
        house.keep("t", mode(), window, &version(n)).await.expect("kept");
        let both = house
            .numbers("SELECT DISTINCT a.n + 100 * b.n FROM reports.t AS a JOIN reports.t AS b ON a.time = b.time")
            .await;
        assert_eq!(both, [n + 100 * n]);
    }
    let mut seen = first.num_rows();
    while let Some(batch) = open.stream.next().await {
        let batch = batch.expect("rows of files that are gone");
        assert!(batch.column(0).as_primitive::<Int64Type>().values().iter().all(|n| *n == 0));
        seen += batch.num_rows();
    }
    assert_eq!(seen, 1_000_000);
    assert_eq!(numbers(&session, "SELECT max(n) FROM reports.t").await, [0], "the transaction's version");
    let statements = session.prepare("COMMIT").await.expect("planned");
    session.execute(&statements[0], &[]).await.expect("run");
    assert_eq!(numbers(&session, "SELECT max(n) FROM reports.t").await, [20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sketches_that_are_kept_give_the_quantiles_of_all_values() {
    let house = House::open().await;
    // Durations of 90 days, an hour a file, with a long tail and a day that is worse: value i of hour h.
    let value = |hour: i64, i: i64| {
        let spread = ((hour * 7919 + i * 104_729) % 10_007 + 1) as f64;
        (1e4 / spread) * if hour / 24 == 45 { 20.0 } else { 1.0 }
    };
    let mut all = Vec::new();
    for hour in 0..90 * 24 {
        all.extend((0..20).map(|i| value(hour, i)));
        if hour % 24 != 23 {
            continue;
        }
        // A day is kept at once, hour by hour; the third day twice, as a run that is repeated.
        for _ in 0..if hour / 24 == 2 { 2 } else { 1 } {
            let first = hour - 23;
            let sql = format!(
                "SELECT to_timestamp(hour * 3600) AS time, count(*) AS calls, quantile_sketch(ms) AS sketch
                 FROM (
                    SELECT hour, 10000.0 / ((hour * 7919 + i * 104729) % 10007 + 1) * CASE WHEN div(hour, 24) = 45 THEN 20.0 ELSE 1.0 END AS ms
                    FROM generate_series({first}, {hour}) AS h(hour), generate_series(0, 19) AS s(i)
                 ) AS measured GROUP BY hour"
            );
            let mode = RecordMode::ReplaceWindow { column: "time".to_owned() };
            let window = Some((first * HOUR_MS, (hour + 1) * HOUR_MS));
            assert_eq!(house.keep("hourly", mode, window, &sql).await.expect("kept"), 24);
        }
    }
    all.sort_by(f64::total_cmp);
    for (count, wanted) in
        [("sum(calls)::bigint", 43_200), ("sketch_count(sketch_merge(sketch))", 43_200), ("count(*)", 90 * 24)]
    {
        assert_eq!(house.numbers(&format!("SELECT {count} FROM reports.hourly")).await, [wanted], "{count}");
    }
    let shares = [0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999];
    for share in shares {
        let sql = format!("SELECT sketch_quantile(sketch_merge(sketch), {share}) AS q FROM reports.hourly");
        let frame =
            Frame::collect(rows(&house.engine.session(), &sql).await.expect("rows"), FRAME_BYTES).await.expect("rows");
        let told = frame.batches[0].column(0).as_primitive::<Float64Type>().value(0);
        let exact = all[(share * all.len() as f64).ceil() as usize - 1];
        assert!((told - exact).abs() <= exact * SKETCH_RELATIVE_ERROR, "{share}: {told} and not {exact}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_is_told_and_hides_no_other() {
    let house = House::open().await;
    house.append("good", "SELECT 1 AS n").await;
    house.append("bad", "SELECT 1 AS n").await;
    let manifest = house.folder.path().join("reports/tables/bad/manifest.json");
    std::fs::write(&manifest, "{").expect("written");
    let error = rows(&house.engine.session(), "SELECT * FROM reports.bad").await.err().expect("damaged");
    assert!(
        error.sqlstate() == "XX001" && error.message.contains("reports/tables/bad/manifest.json is damaged"),
        "{error}"
    );
    assert_eq!(
        house.texts("SELECT table_name FROM information_schema.columns WHERE table_schema = 'reports'").await,
        ["good"]
    );
    let error = house.keep("bad", RecordMode::Append, None, "SELECT 2 AS n").await.expect_err("damaged");
    assert_eq!(error.sqlstate(), "XX001", "{error}");
}
