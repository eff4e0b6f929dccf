//! What ingest and queries spend their time on, one module a folder of the source.

// A benchmark whose ground is not there has nothing to measure.
#![allow(clippy::expect_used)]

mod analysis;
mod decode;
mod queries;
mod requests;
mod store;

criterion::criterion_group!(
    benches,
    analysis::trees,
    analysis::functions,
    decode::decode,
    store::wal_append,
    store::seal,
    queries::queries,
    queries::quantile,
    queries::whole_traces,
    queries::attributes
);
criterion::criterion_main!(benches);
