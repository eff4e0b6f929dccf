//! What single runs ask, judge, keep and leave.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn limits_failures_and_writes_end_a_run_and_nothing_else() {
    let bench = Bench::at("2026-03-01T07:00:00Z", Vec::new()).await;
    let million = "SELECT g FROM generate_series(1, 1000000) AS t(g)";
    let sorted = "SELECT cardinality(array_agg(g)) FROM generate_series(1, 3000000) AS t(g)";
    let endless = "SELECT count(*) FROM generate_series(1, 1000000000000) AS t(g) WHERE g % 7 = 8";
    for (name, header, sql, status, why) in [
        ("endless", "timeout = \"1s\"", endless, Status::TimedOut, "timeout"),
        ("rows", "memory = \"1MiB\"", million, Status::Failed, "result"),
        ("memory", "memory = \"1MiB\"", sorted, Status::Failed, "memory"),
        ("writes", "", "DELETE FROM spans", Status::Failed, ""),
        ("inserts", "", "INSERT INTO spans SELECT * FROM spans", Status::Failed, ""),
        ("copies", "", "COPY (SELECT 1) TO '/tmp/spanhouse-copied.csv'", Status::Failed, ""),
        ("creates", "", "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", Status::Failed, ""),
        ("reads", "", "SELECT * FROM '/etc/passwd'", Status::Failed, ""),
        ("sets", "", "SET timezone = 'UTC'", Status::Failed, "rows"),
        ("wrong", "", "SELECT 1\nFROM nowhere", Status::Failed, "line 2"),
        ("two", "", "SELECT 1; SELECT 2", Status::Failed, ""),
    ] {
        let order = RunOrder::by_hand(bench.clock.now_ms());
        let run = bench.runner.run(&report(name, header, sql), order).await.expect("a run that fails is a run");
        assert_eq!(run.status, status, "{name}: {run:?}");
        let error = run.error.as_deref().unwrap_or_default();
        assert!(!error.is_empty() && error.contains(why), "{name}: {error}");
        assert_eq!(bench.runs(name), [run]);
    }
    let missing = RunOrder { parameters: vec![("nope".into(), "1".into())], ..RunOrder::by_hand(0) };
    assert!(bench.runner.run(&report("given", "", "SELECT 1"), missing).await.is_err());
    assert!(bench.runs("given").is_empty(), "a wrong order is no run");
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_holds_no_more_than_any_statement_may() {
    let bench = Bench::at("2026-03-01T07:00:00Z", Vec::new()).await;
    let settings = EngineSettings { statement_memory_bytes: 4 << 20, ..EngineSettings::default() };
    let engine = Engine::new(bench.store.clone(), settings).expect("an engine");
    let runner = Runner::open(engine, bench.home(), bench.clock.clone(), bench.folder.path()).expect("a runner");
    let million = report("million", "memory = \"1GiB\"", "SELECT g FROM generate_series(1, 1000000) AS t(g)");
    let run = runner.run(&million, RunOrder::by_hand(bench.clock.now_ms())).await.expect("a run");
    assert_eq!(run.status, Status::Failed, "{run:?}");
    assert!(run.error.as_deref().is_some_and(|error| error.contains("larger than 4 MiB")), "{run:?}");
    drop(runner);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_the_same_instants_in_each_zone_and_days_are_those_of_the_zone() {
    let bench = Bench::at("2026-03-29T02:00:00Z", Vec::new()).await;
    for (zone, expected) in [("UTC", "2026-03-29"), ("Asia/Tokyo", "2026-03-29"), ("America/New_York", "2026-03-28")] {
        let header = format!("schedule = {{ cron = \"0 7 * * *\", time_zone = \"{zone}\" }}\nwindow = \"1 hour\"");
        let sql = "SELECT extract(epoch FROM :from) = 1774746000 AS a, extract(epoch FROM :to) = 1774749600 AS b, timestamptz '2026-03-29 01:30:00Z' >= :from AND timestamptz '2026-03-29 01:30:00Z' < :to AS c, CAST(:to AS DATE) AS d";
        let made = bench.runner.dry_run(&report("zones", &header, sql), RunOrder::by_hand(bench.clock.now_ms())).await;
        let made = made.expect("a run");
        let frame = made.frame.expect("rows");
        let names: Vec<String> = frame.schema.fields().iter().map(|field| field.name().clone()).collect();
        let texts: Vec<Option<String>> = names.iter().flat_map(|name| frame.texts(name).expect("a column")).collect();
        let expected = ["t", "t", "t", expected].map(|text| Some(text.to_owned()));
        assert_eq!(texts, expected, "{zone}: {made:?}", made = made.run);
    }
    assert!(bench.runs("zones").is_empty(), "a dry run is not noted");
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_before_is_a_week_of_the_zones_calendar() {
    let bench = Bench::at("2026-03-29T02:00:00Z", Vec::new()).await;
    let header = "schedule = { cron = \"0 0 * * *\", time_zone = \"Europe/Berlin\" }\nwindow = \"1 day\"";
    let before = |end: &str| {
        format!(
            "extract(epoch FROM ((:{end} AT TIME ZONE :zone) - INTERVAL '7 days') AT TIME ZONE :zone)::bigint * 1000"
        )
    };
    let sql = format!("SELECT {}::text AS a, {}::text AS b", before("from"), before("to"));
    let report = report("week", header, &sql);
    for (due, expected) in [
        // The day of 23 hours, and the day a week later, which is compared with it.
        ("2026-03-30T00:00:00+02:00", ["2026-03-22T00:00:00+01:00", "2026-03-23T00:00:00+01:00"]),
        ("2026-04-06T00:00:00+02:00", ["2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"]),
        ("2026-10-26T00:00:00+01:00", ["2026-10-18T00:00:00+02:00", "2026-10-19T00:00:00+02:00"]),
        ("2026-11-02T00:00:00+01:00", ["2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"]),
    ] {
        let made = bench.runner.dry_run(&report, RunOrder::due(ms(due), Cause::Schedule)).await.expect("a run");
        let frame = made.frame.unwrap_or_else(|| panic!("{:?}", made.run));
        let texts = ["a", "b"].map(|column| frame.texts(column).expect("a column")[0].clone());
        assert_eq!(texts, expected.map(|time| Some(ms(time).to_string())), "{due}");
    }
    bench.close().await;
}

/// Keeps everybody from writing a recorded table until it is dropped.
fn table_taken(bench: &Bench, table: &str) -> std::fs::File {
    let folder = bench.home().tables().join(table);
    std::fs::create_dir_all(&folder).expect("a folder");
    let lock = std::fs::File::create(folder.join("lock")).expect("a file");
    lock.lock().expect("free");
    lock
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_ended_after_it_judged_tells_its_alerts() {
    let header = "record = { table = \"kept\" }\n[[alerts]]\nname = \"high\"\ncolumn = \"x\"\nabove = 0\n\
                  [[deliveries]]\nto = \"directory\"\nname = \"out\"\npath = \"nowhere\"\nwhen = \"firing\"";
    let sql = "SELECT 1 AS x";
    let bench = Bench::at("2026-03-01T07:00:00Z", Vec::new()).await;
    let journal = bench.home().alerts_journal();
    let is_judged = |name: &str| std::fs::read_to_string(&journal).unwrap_or_default().contains(&format!("\"{name}\""));
    let taken = table_taken(&bench, "kept");
    let order = RunOrder::due(bench.clock.now_ms(), Cause::Schedule);
    // It waits for its table when the server stops.
    let stopped = report("stopped", header, sql);
    let stop = CancellationToken::new();
    let stopping = async {
        while !is_judged("stopped") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let (made, ()) = tokio::join!(bench.runner.make(&stopped, &order, &stop), stopping);
    let (run, parcel) = made.expect("noted");
    let told: Vec<_> = parcel.notices.iter().map(|notice| (notice.rule.as_str(), notice.is_news)).collect();
    assert_eq!((run.status, told), (Status::Died, vec![("high", true)]));
    assert_eq!(run.deliveries.len(), 1, "{run:?}");
    // It waits for its table until its time is over.
    let late = report("late", &format!("timeout = \"2s\"\n{header}"), sql);
    let (run, parcel) = bench.runner.make(&late, &order, &CancellationToken::new()).await.expect("noted");
    assert_eq!(run.status, Status::TimedOut, "{run:?}");
    assert_eq!(!parcel.notices.is_empty(), is_judged("late"), "what is in the book is told");
    drop(taken);
    // What fires still is no news, and is told again to those who take an end for granted.
    let again = RunOrder::due(bench.clock.now_ms() + 1_000, Cause::Schedule);
    let failing = report("stopped", header, "SELECT 1 / 0 AS x");
    for (report, status) in [(&stopped, Status::Succeeded), (&failing, Status::Failed)] {
        let order = RunOrder { due_ms: again.due_ms + i64::from(status == Status::Failed), ..again.clone() };
        let (run, parcel) = bench.runner.make(report, &order, &CancellationToken::new()).await.expect("noted");
        let told: Vec<_> = parcel.notices.iter().map(|notice| (notice.rule.as_str(), notice.is_news)).collect();
        assert_eq!((run.status, told), (status, vec![("high", false)]), "{run:?}");
        assert!(run.deliveries.is_empty(), "{run:?}");
    }
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_recorded_of_what_the_report_asks_and_of_any_window() {
    let header = "window = \"1 day\"\nrecord = { table = \"kept\", mode = \"replace\", column = \"at\" }\n\
                  [parameters.x]\ntype = \"integer\"\ndefault = 1";
    let kept = report("kept", header, "SELECT :from AS at, :x AS x");
    let bench = Bench::at("2026-03-01T07:00:00Z", Vec::new()).await;
    let tables = crate::report::record::TablesFolder::of(&bench.home());
    let by_hand = RunOrder::by_hand(bench.clock.now_ms());
    let window = Some((ms("2026-02-01T00:00:00Z"), ms("2026-02-02T00:00:00Z")));
    for (at, parameters, is_kept) in [(0, vec![], true), (1, vec![("x".to_owned(), "2".to_owned())], false)] {
        let order = RunOrder { due_ms: by_hand.due_ms + at, window, parameters, ..by_hand.clone() };
        let run = bench.runner.run(&kept, order).await.expect("a run");
        assert_eq!((run.status, run.rows), (Status::Succeeded, Some(1)), "{run:?}");
        assert_eq!(tables.recorded(&run.id, None).expect("readable").is_some(), is_kept, "{run:?}");
    }
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_is_the_concern_of_its_report_alone() {
    let header = "schedule = { cron = \"0 7 * * *\" }";
    let records = report("records", &format!("{header}\nrecord = {{ table = \"broken\" }}"), "SELECT 1 AS x");
    let others = report("others", header, "SELECT 1 AS x");
    let mut bench = Bench::at("2026-03-01T07:00:30Z", vec![records, others.clone()]).await;
    let folder = bench.home().tables().join("broken");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("manifest.json"), "{").expect("written");
    for name in ["records", "others"] {
        let begun =
            Run { deliveries: Vec::new(), ..crate::report::history::tests::run(name, ms("2026-03-01T07:00:00Z")) };
        bench.runner.note(vec![Entry::Run(Box::new(begun))]).await.expect("noted");
    }
    bench.restart().await;
    let journal = std::fs::read_to_string(bench.home().runs_journal()).expect("the journal");
    let ended: Vec<bool> =
        ["records", "others"].map(|name| journal.contains(&format!("\"ended\",\"id\":\"{name}@"))).to_vec();
    assert_eq!(ended, [false, true], "{journal}");
    // The one whose table it is would rest by the clock, which stands.
    bench.now_has(vec![others]);
    bench.look().await;
    bench.clock.turn_to(ms("2026-03-02T07:00:00Z"));
    bench.look().await;
    assert_eq!(bench.statuses("others"), [(Cause::Schedule, Status::Died), (Cause::Schedule, Status::Succeeded)]);
    bench.close().await;
}
