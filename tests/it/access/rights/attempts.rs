//! Ways around what a user sees: errors, plans, masked values, what other relations tell.

use std::collections::BTreeSet;
use std::sync::Arc;

use spanhouse::engine::{Rights, Session, Sight};

use super::{Stored, Two, ask, requests};

/// Conditions that fail on a span that is not seen, and on no other. Each is also put below and beside what may move it.
const ORACLES: [&str; 6] = [
    "CASE WHEN service_name = 'auth' THEN CAST(span_name AS integer) ELSE 1 END = 1",
    "9223372036854775807 + (CASE WHEN service_name IN ('auth', 'fraud') THEN 1 ELSE 0 END) > 0",
    "CAST(CASE WHEN service_name = 'auth' THEN span_name ELSE '1' END AS integer) = 1",
    "9223372036854775807 + (CASE WHEN resource_attributes['service.name'] = 'auth' THEN 1 ELSE 0 END) > 0",
    "CASE WHEN service_name = 'auth' THEN repeat(span_name, 100000000) ELSE 'x' END = 'x'",
    "CASE WHEN service_name = 'auth' THEN CAST('x' || span_id AS timestamptz) > timestamp ELSE true END",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_error_tells_of_a_span_that_is_not_seen() {
    for stored in [Stored::Nothing, Stored::All] {
        let two = Two::new(stored).await;
        let mut telling = BTreeSet::new();
        for oracle in ORACLES {
            for statement in [
                format!("SELECT count(*) FROM spans WHERE {oracle}"),
                format!(
                    "SELECT span_id FROM spans WHERE {oracle} AND timestamp > '2026-01-01' ORDER BY timestamp LIMIT 3"
                ),
                format!("SELECT service_name, count(*) FILTER (WHERE {oracle}) FROM spans GROUP BY 1"),
                format!("SELECT count(*) FROM span_tree WHERE {oracle}"),
                format!(
                    "SELECT count(*) FROM (SELECT * FROM spans WHERE {oracle}) s JOIN spans o ON o.span_id = s.parent_span_id"
                ),
            ] {
                let everybody = ask(&two.all.session(), &statement).await;
                let guest = two.same(&statement).await;
                telling.extend(everybody.is_err().then_some(oracle));
                assert!(guest.iter().all(|row| !row.contains(": ")), "{statement}: {guest:?}");
            }
        }
        assert!(telling.len() > 2, "these tell who sees everything: {telling:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_tell_nothing_of_what_is_below() {
    let two = Two::new(Stored::All).await;
    for statement in [
        "SELECT count(*) FROM spans",
        "SELECT max(duration_ns) FROM spans WHERE timestamp >= '2026-01-05'",
        "SELECT count(*) FROM span_tree WHERE depth > 1",
        "SELECT * FROM spans WHERE trace_id = '00000000000000000000000000000001'",
        "SELECT c.span_id FROM spans c JOIN spans p ON p.trace_id = c.trace_id AND p.span_id = c.parent_span_id",
    ] {
        for explain in ["EXPLAIN", "EXPLAIN VERBOSE", "EXPLAIN ANALYZE", "EXPLAIN ANALYZE VERBOSE"] {
            let asked = format!("{explain} {statement}");
            let plan = ask(&two.guest(), &asked).await.expect("a plan").join("\n");
            assert!(plan.contains("VisibleSpansExec"), "{asked}: {plan}");
            for word in ["parquet", "DataSourceExec", "file_groups", "cloud.availability_zone", "storefront-web"] {
                assert!(!plan.contains(word), "{asked} tells {word}: {plan}");
            }
            let mut scan = plan.lines().filter(|line| line.contains("VisibleSpansExec"));
            assert!(scan.all(|line| !line.contains("output_rows")), "{asked}: {plan}");
        }
    }
    let everybody = ask(&two.all.session(), "EXPLAIN SELECT count(*) FROM spans WHERE duration_ns > 5").await;
    assert!(!everybody.expect("a plan").join("\n").contains("VisibleSpansExec"), "who sees everything has no barrier");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_of_all_spans_is_refused_however_it_is_asked_for() {
    let two = Two::new(Stored::Half).await;
    let (guest, reader) = (two.guest(), two.all.session());
    reader.set_rights(Rights { is_admin: false, ..Rights::default() });
    for statement in [
        "SELECT * FROM system.files",
        "SELECT * FROM system.files WHERE false",
        "SELECT count(*) FROM internal.files",
        "SELECT * FROM spanhouse.internal.figures",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM system.promoted_attributes)",
        "WITH f AS (SELECT rows FROM system.partitions) SELECT sum(rows) FROM f",
        "SELECT (SELECT max(value) FROM system.store WHERE name = 'table_rows')",
        "EXPLAIN SELECT * FROM system.store",
        "EXPLAIN ANALYZE SELECT * FROM system.files",
        "SELECT s.span_id FROM spans s, LATERAL (SELECT rows FROM system.files LIMIT 1) f",
    ] {
        let refused = ask(&guest, statement).await.expect_err(statement);
        assert_eq!(refused.sqlstate(), "42501", "{statement}: {refused}");
        ask(&reader, statement).await.expect("who sees all spans may ask");
    }
    for session in [&guest, &reader] {
        let refused = ask(session, "SELECT * FROM system.audit").await.expect_err("for admins");
        assert_eq!(refused.sqlstate(), "42501", "{refused}");
    }
    ask(&two.all.session(), "SELECT * FROM system.audit").await.expect("an admin may");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_change_hold_for_what_was_prepared_before() {
    let two = Two::new(Stored::Half).await;
    let session = two.all.session();
    let all = ask(&session, "SELECT count(*) FROM spans").await.expect("a count");
    let prepared = session.prepare("SELECT count(*) FROM spans").await.expect("prepared").remove(0);
    ask(&session, "BEGIN").await.expect("begun");
    ask(&session, "SELECT count(*) FROM events").await.expect("a snapshot");
    session.set_rights(Rights { is_admin: false, sight: Some(Arc::new(super::sight())), ..Rights::default() });
    let some = two.same("SELECT count(*) FROM spans").await;
    assert_ne!(some, all);
    assert_eq!(count(&session, &prepared).await, some);
    assert_eq!(ask(&session, "SELECT count(*) FROM spans").await.expect("a count"), some, "in an open transaction");
    session.set_rights(Rights::default());
    assert_eq!(count(&session, &prepared).await, all);
}

async fn count(session: &Session, statement: &spanhouse::engine::Statement) -> Vec<String> {
    use futures::TryStreamExt;
    let spanhouse::engine::Outcome::Rows(rows) = session.execute(statement, &[]).await.expect("rows") else {
        return Vec::new();
    };
    let batches: Vec<_> = rows.stream.try_collect().await.expect("rows");
    let text = |batch: &datafusion::arrow::array::RecordBatch| {
        datafusion::arrow::util::display::array_value_to_string(batch.column(0), 0).expect("text")
    };
    batches.iter().filter(|batch| batch.num_rows() > 0).map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_empty_sight_sees_everything_and_one_of_nothing_nothing() {
    let two = Two::new(Stored::Half).await;
    let with = |sight: Sight| {
        let session = two.all.session();
        session.set_rights(Rights { is_admin: false, sight: Some(Arc::new(sight)), ..Rights::default() });
        session
    };
    let spans: usize = requests()
        .flat_map(|request| request.resource_spans)
        .flat_map(|of| of.scope_spans)
        .map(|of| of.spans.len())
        .sum();
    let count = "SELECT count(*) FROM spans";
    assert_eq!(ask(&with(Sight::default()), count).await.expect("a count"), [spans.to_string()]);
    let nobody = Sight { services: Some(["' OR true --".to_owned()].into()), ..Sight::default() };
    assert_eq!(ask(&with(nobody), count).await.expect("a count"), ["0"]);
}
