//! The table as a stranger sees it: the Python packages `deltalake`, `polars` and `duckdb` count the same spans.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use spanhouse::otlp::decode_export;

use crate::store_support::open;
use crate::support::{python, shared_data};

/// As many spans as tell: several row groups would take the test long.
const SPANS: usize = 40_000;

#[test]
fn deltalake_polars_and_duckdb_count_the_same_spans() {
    let test = "deltalake_polars_and_duckdb_count_the_same_spans";
    let Some(data) = shared_data(test) else { return };
    let Some(python) = python(test) else { return };
    let dir = tempfile::tempdir().expect("directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    let expected = runtime.block_on(async {
        let store = open(dir.path()).await;
        let mut expected = Expected::default();
        for payload in requests(&data.join("trainticket.otlp.zst")) {
            let batch = decode_export(&payload).expect("spans").batch;
            expected.add(&batch.to_record_batch().expect("expanded"));
            store.append(payload, batch).await.expect("kept");
            // Several commits and files, as a server makes them.
            if expected.rows > SPANS / 2 && store.status().sealings == 0 {
                store.seal().await.expect("sealed");
            }
            if expected.rows >= SPANS {
                break;
            }
        }
        store.close().await.expect("closed");
        expected
    });
    let table = dir.path().join("table");
    let said = python.run("read_table.py", &[table.to_str().expect("a plain path")]);
    let seen: serde_json::Value = serde_json::from_str(&said).expect("json");
    let Expected { rows, traces, spans, parents, duration_ns, attributes, events } = expected;
    let (traces, spans) = (traces.len(), spans.len());
    assert_eq!(seen["deltalake"], serde_json::json!([rows, traces, spans, duration_ns, attributes]));
    let dates = seen["polars"][7].clone();
    assert_eq!(
        seen["polars"],
        serde_json::json!([rows, traces, spans, parents, duration_ns, attributes, events, dates])
    );
    for duckdb in ["duckdb_dataset", "duckdb_files"] {
        let counts = serde_json::json!([rows, traces, spans, parents, duration_ns, attributes, events, dates]);
        assert_eq!(seen[duckdb], counts, "{duckdb}");
    }
}

/// What the decoded batches hold, counted without the table.
#[derive(Default)]
struct Expected {
    rows: usize,
    traces: HashSet<Vec<u8>>,
    spans: HashSet<Vec<u8>>,
    parents: usize,
    duration_ns: i64,
    attributes: usize,
    events: usize,
}

impl Expected {
    fn add(&mut self, batch: &RecordBatch) {
        let column = |name: &str| batch.column_by_name(name).expect("a column");
        let ids =
            |name: &str| column(name).as_fixed_size_binary().iter().flatten().map(<[u8]>::to_vec).collect::<Vec<_>>();
        self.rows += batch.num_rows();
        self.traces.extend(ids("trace_id"));
        self.spans.extend(ids("span_id"));
        self.parents += column("parent_span_id").len() - column("parent_span_id").null_count();
        self.duration_ns += column("duration_ns").as_primitive::<Int64Type>().values().iter().sum::<i64>();
        self.attributes +=
            column("attributes").as_map().value_offsets().windows(2).map(|w| (w[1] - w[0]) as usize).sum::<usize>();
        self.events +=
            column("events").as_list::<i32>().value_offsets().windows(2).map(|w| (w[1] - w[0]) as usize).sum::<usize>();
    }
}

/// The messages of a length-delimited file, one after the other.
fn requests(path: &Path) -> impl Iterator<Item = Bytes> {
    let mut file = BufReader::new(zstd::Decoder::new(File::open(path).expect("the data")).expect("zstd"));
    std::iter::from_fn(move || {
        let mut len = 0;
        for shift in (0..).step_by(7) {
            let mut byte = [0];
            if file.read(&mut byte).expect("a byte") == 0 {
                return None;
            }
            len |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut message = vec![0; len];
        file.read_exact(&mut message).expect("a message");
        Some(message.into())
    })
}
