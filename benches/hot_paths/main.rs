//! What ingest and queries spend their time on, one module a folder of the source.

mod requests;
mod store;

criterion::criterion_group!(benches, store::wal_append, store::seal);
criterion::criterion_main!(benches);
