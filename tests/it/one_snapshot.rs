//! A statement sees one snapshot: every scan of it reads the same spans, while others append and seal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use spanhouse::engine::{Engine, EngineSettings, Outcome};

use crate::store_support::{append, open, request};

const SPANS_OF_REQUEST: u64 = 50;
const REQUESTS: u64 = 60;
/// A sealing after so many requests, so that statements meet all of: fresh only, sealed only, both.
const REQUESTS_OF_SEALING: u64 = 3;

const COUNTS: &str = "SELECT (SELECT count(*) FROM spans) AS before, count(*) AS joined, count(DISTINCT a.span_id) AS ids, \
     (SELECT count(*) FROM spans) AS after FROM spans a JOIN spans b ON a.span_id = b.span_id";

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_joins_spans_with_themselves_counts_the_same_on_both_sides_while_sealing() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open(dir.path()).await;
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writer = {
        let (store, acknowledged) = (store.clone(), acknowledged.clone());
        tokio::spawn(async move {
            for number in 0..REQUESTS {
                let first = 1 + number * SPANS_OF_REQUEST;
                append(&store, request(first..first + SPANS_OF_REQUEST)).await.expect("kept");
                acknowledged.store(first + SPANS_OF_REQUEST - 1, Ordering::SeqCst);
                if number % REQUESTS_OF_SEALING == 0 {
                    store.seal().await.expect("sealed");
                }
            }
        })
    };
    let (mut statements_meanwhile, mut last, mut is_over) = (0, 0, false);
    while !is_over {
        is_over = writer.is_finished();
        let at_least = acknowledged.load(Ordering::SeqCst);
        let counts = counts(&engine).await;
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        assert!(
            counts[0] >= at_least.max(last) && counts[0].is_multiple_of(SPANS_OF_REQUEST),
            "{counts:?}, {at_least}"
        );
        statements_meanwhile += u32::from(!is_over);
        last = counts[0];
    }
    writer.await.expect("the writer ended well");
    assert_eq!(last, REQUESTS * SPANS_OF_REQUEST);
    assert!(statements_meanwhile > 1 && store.status().sealings >= REQUESTS / REQUESTS_OF_SEALING);
}

async fn counts(engine: &Arc<Engine>) -> Vec<u64> {
    let session = engine.session();
    let statement = session.prepare(COUNTS).await.expect("a statement").remove(0);
    let Outcome::Rows(rows) = session.execute(&statement, &[]).await.expect("an answer") else { panic!("no rows") };
    let batches: Vec<_> = rows.stream.try_collect().await.expect("rows");
    let batch = batches.iter().find(|batch| batch.num_rows() == 1).expect("a row");
    batch.columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0) as u64).collect()
}
