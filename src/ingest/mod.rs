//! OTLP off the wire: the gRPC and HTTP listeners, admission, and the client that sends to such listeners.
//!
//! Knows HTTP and gRPC framing, [`crate::otlp`] and [`crate::store`]; knows nothing of SQL. Both listeners end in one front door,
//! [`Ingest::export`], which `import` uses without a network.

mod admission;
mod answer;
mod authentication;
mod body;
mod client;
mod connections;
mod connector;
mod counters;
mod doors;
mod front;
mod grpc;
mod http;
mod raw_codec;
mod rules;
mod settings;
mod share;
mod status;

pub use client::{ClientSettings, ExportClient, Receipt};
pub use connections::CONNECTION_GRACE;
pub(crate) use connections::serve as serve_connections;
pub use counters::{Counters, CountersSnapshot};
pub use doors::Doors;
pub use front::{ExportAnswer, Ingest};
pub use grpc::serve_grpc;
pub use http::serve_http;
pub use raw_codec::RawCodec;
pub use rules::{RuleCount, Rules};
pub use settings::IngestSettings;
pub use share::ShareLimits;
