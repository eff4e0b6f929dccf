//! What the listeners took and refused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

use crate::error::{Error, Kind};
use crate::otlp::{RefusalReason, Refusals};

/// Counts since the start of the process.
#[derive(Debug)]
pub struct Counters {
    accepted_requests: AtomicU64,
    accepted_spans: AtomicU64,
    accepted_bytes: AtomicU64,
    acknowledgements: Histogram,
    refused_spans: [AtomicU64; RefusalReason::ALL.len()],
    refused_requests: [AtomicU64; REQUEST_REASONS.len()],
}

/// Seconds: from an fsync of a fast disk to the wait for memory and more.
const ACKNOWLEDGEMENT_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Why requests are refused, as words for counters.
const REQUEST_REASONS: [&str; 9] = [
    "bad_input",
    "too_large",
    "overloaded",
    "unavailable",
    "internal",
    "incomplete",
    "unauthenticated",
    "denied",
    "over_rate",
];

/// The counts at one moment.
#[derive(Debug, Clone)]
pub struct CountersSnapshot {
    pub accepted_requests: u64,
    pub accepted_spans: u64,
    /// Of accepted requests, as uncompressed protobuf.
    pub accepted_bytes: u64,
    /// From a request that is there whole to its acknowledgement, in seconds.
    pub acknowledgements: Histogram,
    pub in_flight_bytes: u64,
    /// By [`RefusalReason::name`].
    pub refused_spans: [(&'static str, u64); RefusalReason::ALL.len()],
    /// By reason: `bad_input`, `too_large`, `overloaded` and so on.
    pub refused_requests: [(&'static str, u64); REQUEST_REASONS.len()],
}

impl CountersSnapshot {
    /// Spans refused for whatever reason.
    pub fn refused_spans_total(&self) -> u64 {
        self.refused_spans.iter().map(|(_, count)| count).sum()
    }

    /// Requests refused for whatever reason.
    pub fn refused_requests_total(&self) -> u64 {
        self.refused_requests.iter().map(|(_, count)| count).sum()
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            accepted_requests: AtomicU64::new(0),
            accepted_spans: AtomicU64::new(0),
            accepted_bytes: AtomicU64::new(0),
            acknowledgements: Histogram::new(ACKNOWLEDGEMENT_BUCKETS),
            refused_spans: Default::default(),
            refused_requests: Default::default(),
        }
    }
}

impl Counters {
    pub(super) fn accept(&self, spans: u64, bytes: u64, took: Duration, refusals: &Refusals) {
        self.accepted_requests.fetch_add(1, Ordering::Relaxed);
        self.accepted_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.acknowledgements.observe(took.as_secs_f64());
        self.accepted_spans.fetch_add(spans, Ordering::Relaxed);
        for (counter, count) in self.refused_spans.iter().zip(refusals.counts) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn refuse(&self, error: &Error) {
        let reason = match error.kind {
            Kind::BadInput | Kind::NotFound => 0,
            Kind::TooLarge => 1,
            Kind::Overloaded { .. } => 2,
            Kind::Closed | Kind::Io | Kind::Cancelled => 3,
            Kind::OutOfResources | Kind::Corrupt | Kind::Internal => 4,
            Kind::Incomplete => 5,
            Kind::Unauthenticated => 6,
            Kind::Denied => 7,
            Kind::OverRate { .. } => 8,
        };
        self.refused_requests[reason].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, in_flight_bytes: u64) -> CountersSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CountersSnapshot {
            accepted_requests: load(&self.accepted_requests),
            accepted_spans: load(&self.accepted_spans),
            accepted_bytes: load(&self.accepted_bytes),
            acknowledgements: self.acknowledgements.clone(),
            in_flight_bytes,
            refused_spans: std::array::from_fn(|place| {
                (RefusalReason::ALL[place].name(), load(&self.refused_spans[place]))
            }),
            refused_requests: std::array::from_fn(|place| {
                (REQUEST_REASONS[place], load(&self.refused_requests[place]))
            }),
        }
    }
}
