//! The account of spans that cannot be kept.

use std::fmt::Write;

/// Why a span cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum RefusalReason {
    TraceId,
    SpanId,
    ParentSpanId,
    StartTime,
    EndTime,
    Utf8,
}

impl RefusalReason {
    /// All reasons, in the order of [`Refusals::counts`].
    pub const ALL: [Self; 6] =
        [Self::TraceId, Self::SpanId, Self::ParentSpanId, Self::StartTime, Self::EndTime, Self::Utf8];

    /// The reason as a word for counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::TraceId => "trace_id",
            Self::SpanId => "span_id",
            Self::ParentSpanId => "parent_span_id",
            Self::StartTime => "start_time",
            Self::EndTime => "end_time",
            Self::Utf8 => "utf8",
        }
    }

    /// What such spans are like, as it follows on their number.
    pub fn text(self) -> &'static str {
        match self {
            Self::TraceId => "with a trace id that is not 16 bytes or is all zero",
            Self::SpanId => "with a span id that is not 8 bytes or is all zero",
            Self::ParentSpanId => "with a parent span id that is neither empty nor 8 bytes",
            Self::StartTime => "that start at time 0 or in the year 2100 or later",
            Self::EndTime => "that end before they start or after the year 2262",
            Self::Utf8 => "with text that is not UTF-8",
        }
    }
}

/// Spans of a request that cannot be kept, for OTLP's partial success.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    pub rejected_spans: u64,
    /// Refused spans by [`RefusalReason::ALL`].
    pub counts: [u64; RefusalReason::ALL.len()],
    /// For a person: each reason with its count and the first span it struck. Empty when nothing was refused.
    pub message: String,
}

/// Where a span stands in its request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Position {
    pub resource: usize,
    pub scope: usize,
    pub span: usize,
}

/// Counts refusals and keeps the first of each reason.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: [u64; RefusalReason::ALL.len()],
    firsts: [String; RefusalReason::ALL.len()],
}

impl Tally {
    /// Bytes of a refused span's name that its message shows.
    const NAME_SHOWN_BYTES: usize = 64;

    #[cold]
    pub fn add(&mut self, reason: RefusalReason, span_id: &[u8], name: &[u8], position: Position) {
        let place = reason as usize;
        self.counts[place] += 1;
        if self.counts[place] > 1 {
            return;
        }
        let shown = &name[..name.len().min(Self::NAME_SHOWN_BYTES)];
        let name = String::from_utf8_lossy(shown);
        let mut id = String::new();
        for byte in span_id.iter().take(16) {
            // Writing into a String cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        let Position { resource, scope, span } = position;
        self.firsts[place] =
            format!("span '{id}' {name:?} at resource_spans[{resource}].scope_spans[{scope}].spans[{span}]");
    }

    pub fn finish(self) -> Refusals {
        let rejected_spans = self.counts.iter().sum();
        let reasons = RefusalReason::ALL.iter().zip(self.counts.iter().zip(&self.firsts));
        let parts = reasons
            .filter(|(_, (count, _))| **count > 0)
            .map(|(reason, (count, first))| format!("{count} {} (first: {first})", reason.text()));
        let message = match rejected_spans {
            0 => String::new(),
            1 => format!("1 span refused: {}", parts.collect::<Vec<_>>().join("; ")),
            count => format!("{count} spans refused: {}", parts.collect::<Vec<_>>().join("; ")),
        };
        Refusals { rejected_spans, counts: self.counts, message }
    }
}
