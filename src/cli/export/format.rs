//! The formats that an export writes.

use std::path::Path;

use clap::ValueEnum;

use crate::engine::SpanRows;

/// How spans are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// OTLP protobuf: requests with their length before each
    Otlp,
    /// OTLP JSON: a request a line
    OtlpJson,
    /// The JSON that Jaeger's UI opens
    Jaeger,
    /// A row a span, with the columns of traces.spans
    Csv,
    /// The same as JSON, a line each
    Ndjson,
    /// The same as a Parquet file
    Parquet,
    /// Trace events in JSON, for ui.perfetto.dev and chrome://tracing
    Perfetto,
    /// Folded stacks, for viewers of flame graphs
    Folded,
}

impl Format {
    /// The format that a file's name tells.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
        Some(match name.rsplit_once('.')?.1 {
            "otlp" => Self::Otlp,
            "jsonl" => Self::OtlpJson,
            "csv" => Self::Csv,
            "ndjson" => Self::Ndjson,
            "parquet" => Self::Parquet,
            "folded" => Self::Folded,
            _ => return None,
        })
    }

    /// Whether what is written is not for a terminal.
    pub(super) fn is_binary(self) -> bool {
        matches!(self, Self::Otlp | Self::Parquet)
    }

    /// The form in which spans are needed.
    pub(super) fn rows(self) -> SpanRows {
        match self {
            Self::Otlp | Self::OtlpJson | Self::Csv | Self::Ndjson | Self::Parquet => SpanRows::Any,
            Self::Jaeger => SpanRows::ByTrace,
            Self::Perfetto => SpanRows::ByTime,
            Self::Folded => SpanRows::Folded,
        }
    }
}
