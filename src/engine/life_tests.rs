//! Answers of statements against a plain model in memory, whatever the store does at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::arrow::util::display::array_value_to_string;
use futures::StreamExt;
use proptest::prelude::*;

use super::{Engine, EngineSettings, Outcome};
use crate::error::Result;
use crate::store::model_tests::{live, lives};
use crate::store::testing::TestSpan;
use crate::store::{Snapshot, SnapshotSource};

/// The trace that is asked for by its id.
const TRACE: u64 = 3;

/// Gives the snapshot that was put there: statements begin when the test says.
#[derive(Debug, Default)]
struct Pinned(Mutex<Option<Snapshot>>);

#[async_trait]
impl SnapshotSource for Pinned {
    async fn snapshot(&self) -> Result<Snapshot> {
        Ok(self.0.lock().expect("pinned").clone().expect("a snapshot"))
    }

    async fn newest(&self) -> Result<Snapshot> {
        self.snapshot().await
    }
}

/// What is asked; the answers of [`says`] are in the same order.
fn statements() -> [String; 5] {
    [
        "SELECT count(*), sum(duration_ns), count(DISTINCT trace_id) FROM spans".into(),
        "SELECT service_name, count(*), max(duration_ns) FROM spans GROUP BY service_name ORDER BY service_name".into(),
        format!("SELECT span_id FROM spans WHERE trace_id = '{}' ORDER BY span_id", trace_id(TRACE)),
        "SELECT trace_id, span_count, duration_ns FROM traces.traces ORDER BY trace_id".into(),
        "SELECT count(*) FROM spans a JOIN spans b ON a.trace_id = b.trace_id WHERE a.span_id < b.span_id".into(),
    ]
}

/// The answers from the spans that should be seen.
fn says(spans: &[TestSpan]) -> Vec<String> {
    let duration_ns = |span: &TestSpan| span.span as i64 * 1000;
    let mut traces: BTreeMap<u64, Vec<&TestSpan>> = BTreeMap::new();
    spans.iter().for_each(|span| traces.entry(span.trace).or_default().push(span));
    let sum = if spans.is_empty() { String::new() } else { spans.iter().map(duration_ns).sum::<i64>().to_string() };
    let services = traces.iter().map(|(trace, spans)| {
        let slowest = spans.iter().map(|span| duration_ns(span)).max().unwrap_or_default();
        format!("service_name {trace},{},{slowest}", spans.len())
    });
    let mut of_trace: Vec<String> =
        traces.get(&TRACE).into_iter().flatten().map(|span| format!("{:016x}", span.span)).collect();
    of_trace.sort();
    let whole = traces.iter().map(|(trace, spans)| {
        let first = spans.iter().map(|span| span.start_ns).min().unwrap_or_default();
        let last = spans.iter().map(|span| span.start_ns + duration_ns(span)).max().unwrap_or_default();
        format!("{},{},{}", trace_id(*trace), spans.len(), last - first)
    });
    let pairs: usize = traces.values().map(|spans| spans.len() * (spans.len() - 1) / 2).sum();
    vec![
        format!("{},{sum},{}", spans.len(), traces.len()),
        services.collect::<Vec<_>>().join("\n"),
        of_trace.join("\n"),
        whole.collect::<Vec<_>>().join("\n"),
        pairs.to_string(),
    ]
}

fn trace_id(trace: u64) -> String {
    format!("{trace:016x}{trace:016x}")
}

/// A statement's rows, a line each.
async fn rows(engine: &Arc<Engine>, sql: &str) -> String {
    let session = engine.session();
    let statements = session.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let outcome = session.execute(&statements[0], &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let Outcome::Rows(mut rows) = outcome else { panic!("no rows") };
    let mut lines = Vec::new();
    while let Some(batch) = rows.stream.next().await {
        let batch = batch.unwrap_or_else(|error| panic!("{sql}: {error}"));
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).expect("text"));
            lines.push(cells.collect::<Vec<_>>().join(","));
        }
    }
    lines.join("\n")
}

proptest! {
    // Stores of a dozen moves and questions each: some seconds. PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..Default::default() })]

    #[test]
    fn whatever_overlaps_statements_answer_what_a_plain_model_does(moves in lives()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        runtime.block_on(async {
            let source = Arc::new(Pinned::default());
            let engine = Engine::new(source.clone(), EngineSettings::default()).expect("an engine");
            let ask = async |snapshot: Snapshot| {
                *source.0.lock().expect("pinned") = Some(snapshot);
                let mut answers = Vec::new();
                for sql in statements() {
                    answers.push(rows(&engine, &sql).await);
                }
                answers
            };
            live(&moves, ask, says).await
        })?;
    }
}
