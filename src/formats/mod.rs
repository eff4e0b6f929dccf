//! Formats that traces come in and go out as, each as a conversion to or from OTLP's messages.
//!
//! Pure: bytes, rows and messages in, the same out. Knows no files, no protocols and no SQL; who reads and writes is `cli/import`, `cli/export`
//! and `cli/replay`.

mod build;
pub mod columns;
#[doc(hidden)]
pub mod fuzzing;
pub mod jaeger;
mod names;
pub mod otlp_json;
pub mod perfetto;
mod replayed;
mod shape;
mod span_rows;
pub mod zipkin;

pub use build::{Converted, RefusedSpan, regrouped, service_of};
pub use replayed::{Replayed, latest_end_ns};
pub use shape::{JsonShape, first_keys};
pub use span_rows::{is_span_table, rows_to_request};

/// Bytes as lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
