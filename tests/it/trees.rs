//! Trees of traces against `tests/clients/span_trees.py`, and the service map against `service_map.py` there, which make them from their definitions
//! with networkx and numpy; how traces are chosen for them, and what is read of attributes.

use spanhouse::engine::{Engine, EngineSettings};

use crate::store_support::{checked_by, drawn_by_hand, explained, keep, open_uncompacted};
use crate::support::shared_data;

#[tokio::test(flavor = "multi_thread")]
async fn trees_are_those_that_another_program_makes() {
    const TEST: &str = "trees_are_those_that_another_program_makes";
    let Some((said, has_real)) = checked_by(TEST, "span_trees.py", Some("trees.jsonl")).await else { return };
    let wanted = if has_real { "2037 spans of 39 traces" } else { "39 spans of 10 traces" };
    assert!(said.contains(wanted), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_in_traces_is_what_another_program_finds() {
    const TEST: &str = "what_is_found_in_traces_is_what_another_program_finds";
    for (fixture, spans) in [("failures.jsonl", 42), ("trees.jsonl", 39)] {
        let Some((said, has_real)) = checked_by(TEST, "trace_search.py", Some(fixture)).await else { return };
        let wanted = format!("{} spans are found", spans + if has_real { 1_998 } else { 0 });
        assert!(said.contains(&wanted), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_map_is_the_one_that_another_program_makes() {
    const TEST: &str = "the_service_map_is_the_one_that_another_program_makes";
    for (fixture, spans) in [("map.jsonl", 29), ("shop.jsonl", 8)] {
        let Some((said, has_real)) = checked_by(TEST, "service_map.py", Some(fixture)).await else { return };
        let wanted = format!("{} spans have the service map", spans + if has_real { 1_998 } else { 0 });
        assert!(said.contains(&wanted), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_traces_that_are_wanted_are_read() {
    let Some(shared) = shared_data("only_traces_that_are_wanted_are_read") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_uncompacted(folder.path()).await;
    keep(&store, &shared.join("trainticket.sample.jsonl")).await;
    store.seal().await.expect("sealed");
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");

    const ALL: &str = "output_rows=2.00 K";
    let deepest = "SELECT max(depth) FROM span_tree WHERE";
    let all = explained(&engine, "ANALYZE SELECT count(*) FROM span_tree WHERE is_orphan").await;
    assert!(all.contains("TraceTreeExec: made=[is_orphan], metrics=[output_rows=2.00 K"), "{all}");
    let trace = "0b7e4e4652d169ae7b98f16f7572f121";
    let named = explained(&engine, &format!("ANALYZE {deepest} trace_id = '{trace}'")).await;
    assert!(named.contains("TraceTreeExec") && !named.contains(ALL), "{named}");
    // The join says which traces it wants when it has read one side.
    let chosen = "SELECT trace_id FROM spans WHERE status_code = 'ERROR' ORDER BY trace_id LIMIT 1";
    let joined = explained(&engine, &format!("ANALYZE {deepest} trace_id IN ({chosen})")).await;
    let trees = joined.split("TraceTreeExec").nth(1).expect("trees");
    assert!(!trees.contains(ALL), "{joined}");
    // By a set of ids, or by a join.
    let finds_traces_first = |plan: &str| plan.contains("AmongTracesExec") || plan.contains("RightSemi");
    // An hour of a day that has no other is no small part of it; a second of it is.
    let second = "timestamp >= '2023-01-29 08:43:35' AND timestamp < '2023-01-29 08:43:36'";
    let in_time = explained(&engine, &format!("ANALYZE {deepest} {second}")).await;
    assert!(in_time.contains("AmongTracesExec") && in_time.contains("SortExec"), "{in_time}");
    // So it is for those who ask when traces start, if they want something of trees.
    for of_traces in [
        format!("SELECT max(max_depth) FROM traces WHERE {second}"),
        format!("SELECT max(max_depth) FROM traces WHERE {second} AND error_count > 0"),
        format!("SELECT * FROM anomalies(timestamp < '2023-01-29 08:42', {second})"),
    ] {
        let started = explained(&engine, &format!("ANALYZE {of_traces}")).await;
        assert!(started.contains("AmongTracesExec"), "{started}");
    }
    let either =
        explained(&engine, &format!("ANALYZE SELECT max(max_depth) FROM traces WHERE {second} OR hops > 0")).await;
    assert!(!finds_traces_first(&either), "{either}");
    // What has ended by a time had started by then; what ended later may have started whenever.
    let by = "timestamp >= '2023-01-29 08:43:35' AND end_timestamp < '2023-01-29 08:43:36'";
    let by = explained(&engine, &format!("ANALYZE SELECT max(max_depth) FROM traces WHERE {by}")).await;
    assert!(by.contains("AmongTracesExec") && by.contains("start_ns@0 < 1674981816000000000"), "{by}");
    let ended = "ANALYZE SELECT max(max_depth) FROM traces WHERE end_timestamp > '2023-01-29 08:43:44'";
    let ended = explained(&engine, ended).await;
    assert!(!finds_traces_first(&ended), "{ended}");
    // A trace's tree is made where a column of it is asked for, and then groups are those of the trees' rows.
    let sizes =
        explained(&engine, "ANALYZE SELECT trace_id, span_count, services, complete, parallelism FROM traces").await;
    assert!(!sizes.contains("TraceTreeExec"), "{sizes}");
    let paths = explained(&engine, "ANALYZE SELECT trace_id, critical_path, max_depth FROM traces").await;
    let (groups, trees) = (paths.find("TraceAggregateExec"), paths.find("TraceTreeExec"));
    assert!(groups.is_some() && groups < trees, "{paths}");
    // Windows over traces are worked out trace by trace, and so are the groups above them; times and ids in what is looked for choose traces.
    let below = explained(&engine, "ANALYZE SELECT count(*) FROM descendants_of(status_code = 'ERROR')").await;
    assert!(below.contains("TraceWindowExec") && !below.contains("SortExec") && below.contains(ALL), "{below}");
    let paths = explained(&engine, "ANALYZE SELECT * FROM critical_path(status_code = 'ERROR')").await;
    let (groups, windows) = (paths.find("TraceAggregateExec"), paths.find("TraceWindowExec"));
    assert!(
        groups.is_some() && groups < windows && !paths.contains("RepartitionExec: partitioning=Hash([trace_id"),
        "{paths}"
    );
    let of_second = format!("SELECT count(*) FROM ancestors_of(status_code = 'ERROR' AND {second})");
    let of_second = explained(&engine, &format!("ANALYZE {}", &of_second)).await;
    assert!(of_second.contains("AmongTracesExec") && of_second.contains("TraceWindowExec"), "{of_second}");
    let of_one =
        explained(&engine, &format!("ANALYZE SELECT count(*) FROM siblings_of(trace_id = '{trace}' AND depth > 1)"))
            .await;
    assert!(of_one.contains("TraceWindowExec") && !of_one.contains(ALL), "{of_one}");
    let joined = format!("SELECT count(*) FROM descendants_of(depth = 0) WHERE trace_id IN ({chosen})");
    let joined = explained(&engine, &format!("ANALYZE {}", &joined)).await;
    let windows = joined.split("TraceWindowExec").nth(1).expect("windows");
    assert!(!windows.contains(ALL), "{joined}");
    let plain =
        explained(&engine, "ANALYZE SELECT count(*) FROM span_tree WHERE service_name = 'ts-seat-service'").await;
    assert!(!plain.contains("Trace"), "{plain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn single_attributes_of_trees_are_read_by_the_scan() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_uncompacted(folder.path()).await;
    keep(&store, &drawn_by_hand("map.jsonl")).await;
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
    let of_scan = |plan: &str| plan.lines().find(|line| line.contains("WholeTracesExec")).map(str::to_owned);
    for (from, is_whole) in [
        ("SELECT span_id, attributes['db.system'] FROM span_tree WHERE depth > 1", false),
        ("SELECT span_id, depth, coalesce(attributes['a'], resource_attributes['b']) AS c FROM span_tree", false),
        ("SELECT depth, attributes FROM span_tree", true),
        ("SELECT * FROM service_map()", false),
        // Also past windows, and where groups are of traces.
        ("SELECT * FROM n_plus_one()", false),
        ("SELECT attributes['a'], depth FROM descendants_of(depth = 0) WHERE attributes['b'] = 'c'", false),
        ("SELECT count(*) FROM siblings_of(attributes['a'] = 'b')", false),
        ("SELECT trace_id, max(attributes['a']) AS a FROM span_tree WHERE depth > 1 GROUP BY trace_id", false),
        ("SELECT attributes FROM descendants_of(attributes['a'] = 'b')", true),
    ] {
        let plan = explained(&engine, &format!("ANALYZE {}", from)).await;
        let scan = of_scan(&plan).unwrap_or_else(|| panic!("whole traces in {plan}"));
        assert_eq!(scan.contains("attributes,") || scan.contains("attributes]"), is_whole, "{from}: {scan}");
    }
    let nodes = explained(&engine, "SELECT * FROM service_nodes()").await;
    assert_eq!(nodes.matches("TraceTreeExec").count(), 1, "{nodes}");
}
