//! Tables of spans that other programs wrote become OTLP: a row is a span, and a mapping says which column is what.
//!
//! Mappings of ours know the tables of the Collector's ClickHouse exporter (`otel_traces`) and of GreptimeDB (`opentelemetry_traces`); for any
//! other table the user names the columns. What a row lacks that a span must have refuses that row alone.

mod events;
mod fields;
mod jsonb;
mod mapping;
mod rows;
mod values;

#[cfg(test)]
mod tests;

pub use mapping::{Mapping, known_mapping};
pub use rows::SpanTable;
