//! A trace by its id and without a time range, in tables of different size.

use std::sync::Arc;

use bytes::Bytes;
use criterion::Criterion;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use futures::StreamExt;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::generate::{Generator, Limit, Parameters};
use spanhouse::model::SpanBatch;
use spanhouse::model::schema::{START_NS, TRACE_ID};
use spanhouse::otlp::decode_export;
use spanhouse::store::{SnapshotSource, Store, StoreSettings};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Sizes of the tables, in spans, comma separated; 10 million spans take some 400 MB of the directory for temporary files.
const SIZES: &str = "SPANHOUSE_BENCH_SPANS";
const DEFAULT_SIZES: &str = "200000,2000000";
/// Generated spans that are repeated with other trace ids and times.
const SPANS_OF_ROUND: usize = 100_000;
const ROUNDS_OF_SEALING: u64 = 5;
const VISITS_PER_SECOND: u32 = 200;
/// Lookups go round these.
const LOOKED_UP: usize = 1_000;

/// All columns of a trace, and what a waterfall needs of it.
pub fn trace_by_id(criterion: &mut Criterion) {
    let sizes = std::env::var(SIZES).unwrap_or_else(|_| DEFAULT_SIZES.to_owned());
    let sizes: Vec<usize> = sizes.split(',').map(|size| size.trim().parse().expect("a number of spans")).collect();
    let beds: Vec<Bed> = sizes.iter().map(|spans| Bed::new(*spans)).collect();
    let mut group = criterion.benchmark_group("trace_by_id");
    for (name, columns) in
        [("all_columns", "*"), ("waterfall", "span_id, parent_span_id, service_name, span_name, timestamp")]
    {
        for bed in &beds {
            let (mut next, runtime) = (0, &bed.runtime);
            group.bench_function(format!("{name}/{}_spans_in_{}_files", bed.spans, bed.files), |bencher| {
                bencher.iter(|| {
                    next = (next + 1) % bed.ids.len();
                    let sql = format!("SELECT {columns} FROM spans WHERE trace_id = '{}'", bed.ids[next]);
                    assert!(runtime.block_on(rows(&bed.engine, &sql)) > 0);
                });
            });
        }
    }
    group.finish();
}

/// A sealed table of generated spans.
struct Bed {
    runtime: Runtime,
    engine: Arc<Engine>,
    ids: Vec<String>,
    spans: usize,
    files: usize,
    _folder: TempDir,
}

impl Bed {
    fn new(spans: usize) -> Self {
        let runtime = Runtime::new().expect("runtime");
        let folder = TempDir::new().expect("folder");
        let settings = StoreSettings { fresh_budget_bytes: 4 << 30, seal_rows: usize::MAX, ..StoreSettings::default() };
        let mut ids = Vec::new();
        let (engine, files) = runtime.block_on(async {
            let store = Store::open(folder.path(), settings).await.expect("a store");
            let round = generated();
            for number in 0..(spans / SPANS_OF_ROUND).max(1) as u64 {
                for (index, batch) in round.iter().enumerate() {
                    let again = repeated(batch, number);
                    choose(&again, index, number, &mut ids);
                    // The log is never replayed here: any bytes do that no other request has.
                    let payload = Bytes::from(format!("{number} {index}"));
                    let again = SpanBatch::try_from(&again).expect("a batch");
                    store.append(payload, again).await.expect("kept");
                }
                if number % ROUNDS_OF_SEALING == ROUNDS_OF_SEALING - 1 {
                    store.seal().await.expect("sealed");
                }
            }
            store.seal().await.expect("sealed");
            let files = store.snapshot().await.expect("a snapshot").files.len();
            (Engine::new(store, EngineSettings::default()).expect("engine"), files)
        });
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let ids = (0..LOOKED_UP).map(|_| ids[random.random_range(0..ids.len())].clone()).collect();
        Self { runtime, engine, ids, spans, files, _folder: folder }
    }
}

fn generated() -> Vec<RecordBatch> {
    let parameters = Parameters {
        limit: Limit::Spans(SPANS_OF_ROUND as u64),
        visits_per_second: VISITS_PER_SECOND,
        ..Parameters::default()
    };
    let requests = Generator::new(parameters);
    let decoded = requests.map(|request| decode_export(&Bytes::from(request.payload)).expect("spans"));
    decoded.map(|decoded| decoded.batch.to_record_batch().expect("expanded")).collect()
}

/// The same spans in other traces, later.
fn repeated(batch: &RecordBatch, number: u64) -> RecordBatch {
    let shift_ns = number as i64 * (SPANS_OF_ROUND as i64 / i64::from(VISITS_PER_SECOND) / 20) * 1_000_000_000;
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| -> ArrayRef {
        match field.name().as_str() {
            START_NS => {
                let starts = column.as_primitive::<Int64Type>();
                Arc::new(Int64Array::from_iter_values(starts.values().iter().map(|start| start + shift_ns)))
            }
            TRACE_ID => {
                let ids = column.as_fixed_size_binary().iter().flatten().map(|id| other_id(id, number));
                Arc::new(FixedSizeBinaryArray::try_from_iter(ids).expect("ids"))
            }
            _ => column.clone(),
        }
    });
    RecordBatch::try_new(batch.schema(), columns.collect()).expect("a batch")
}

fn other_id(id: &[u8], number: u64) -> [u8; 16] {
    xxhash_rust::xxh3::xxh3_128_with_seed(id, number).to_be_bytes()
}

/// Takes a trace of every tenth batch, so that those that are looked up lie everywhere.
fn choose(batch: &RecordBatch, index: usize, number: u64, ids: &mut Vec<String>) {
    if (index as u64 + number).is_multiple_of(10) {
        let id = batch.column_by_name(TRACE_ID).expect("ids").as_fixed_size_binary();
        ids.push(id.value(id.len() / 2).iter().map(|byte| format!("{byte:02x}")).collect());
    }
}

async fn rows(engine: &Arc<Engine>, sql: &str) -> usize {
    let session = engine.session();
    let statement = session.prepare(sql).await.expect("prepared").remove(0);
    let Outcome::Rows(mut rows) = session.execute(&statement, &[]).await.expect("started") else { return 0 };
    let mut count = 0;
    while let Some(batch) = rows.stream.next().await {
        count += batch.expect("rows").num_rows();
    }
    count
}
