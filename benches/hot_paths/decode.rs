//! OTLP bytes to Arrow, against prost, which only builds its tree of objects.

use std::hint::black_box;
use std::path::PathBuf;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spanhouse::otlp::{decode_export, encode_export};

use crate::requests::request;

/// Spans of the built request: about what an SDK's batch processor sends at most.
const BUILT_SPANS: u64 = 512;

/// Decoding and encoding of a built request, and of a real one where the shared traces are at hand.
pub fn decode(criterion: &mut Criterion) {
    let built = request(1, BUILT_SPANS);
    for (name, payload) in [("built", Some(built)), ("boutique", boutique())] {
        let Some(payload) = payload else { continue };
        let batch = decode_export(&payload).expect("decodable").batch;
        let rows = batch.to_record_batch().expect("expanded");
        let mut group = criterion.benchmark_group("decode");
        group.throughput(Throughput::Elements(batch.num_rows() as u64));
        group.bench_function(format!("{name}/ours"), |bencher| bencher.iter(|| decode_export(black_box(&payload))));
        group.bench_function(format!("{name}/prost"), |bencher| {
            bencher.iter_batched(
                || payload.clone(),
                |payload| ExportTraceServiceRequest::decode(black_box(payload)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(format!("{name}/encode"), |bencher| bencher.iter(|| encode_export(black_box(&rows))));
    }
}

/// The largest of the first requests of the shared traces.
fn boutique() -> Option<Bytes> {
    const LOOKED_AT: usize = 200;
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("SPANHOUSE_SHARED_DATA").map_or(beside, PathBuf::from);
    let file = std::fs::File::open(folder.join("boutique.otlp.zst")).ok()?;
    let mut reader = zstd::stream::read::Decoder::new(file).ok()?;
    let requests = (0..LOOKED_AT).map_while(|_| next_message(&mut reader));
    requests.max_by_key(Bytes::len)
}

/// Reads a message with its length before it.
fn next_message(reader: &mut impl std::io::Read) -> Option<Bytes> {
    let mut len = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        reader.read_exact(&mut byte).ok()?;
        len |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut message = vec![0; len];
    reader.read_exact(&mut message).ok()?;
    Some(message.into())
}
