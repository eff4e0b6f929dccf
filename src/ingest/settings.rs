//! What a user may set about the listeners.

use std::sync::Arc;
use std::time::Duration;

use super::rules::Rules;

/// What a user may set about the listeners.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// Bytes of one request, both as sent and decompressed. OTLP's recommended default is 64 MiB.
    pub max_request_bytes: usize,
    /// Bytes of all requests that are being read, decoded or written to the log. Past it senders are asked to come again.
    pub max_in_flight_bytes: usize,
    /// How long one request's body may take to arrive.
    pub body_timeout: Duration,
    /// Connections of each listener. At the cap the one that was idle longest makes room.
    pub max_connections: usize,
    /// What is taken out of requests before they are kept.
    pub rules: Option<Arc<Rules>>,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            max_request_bytes: 64 << 20,
            max_in_flight_bytes: 256 << 20,
            body_timeout: Duration::from_secs(30),
            // Two listeners and the data files fit below the usual limit of 1,024 open files.
            max_connections: 256,
            rules: None,
        }
    }
}
