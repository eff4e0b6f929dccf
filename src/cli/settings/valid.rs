//! What is wrong with values that can be read: alone, or beside others.

use std::time::Duration;

use super::values::Listen;
use super::whole::Settings;
use crate::access::Plaintext;
use crate::store::StoreSettings;
use crate::typed::size_text;

/// A shorter retention is a slip of the keyboard: it would delete what was kept.
pub(super) const LEAST_RETENTION: Duration = Duration::from_secs(3600);

/// Something wrong with values that can be read.
pub(super) struct Wrong {
    pub(super) key: &'static str,
    /// The other key that it cannot go with.
    pub(super) with: Option<&'static str>,
    pub(super) why: String,
}

impl Settings {
    /// What is wrong with values that can be read, alone or together.
    pub(super) fn validate(&self) -> Vec<Wrong> {
        let mut wrong = self.out_of_range();
        let listeners = [
            ("otlp_grpc", &self.otlp_grpc),
            ("otlp_http", &self.otlp_http),
            ("postgres", &self.postgres),
            ("admin_listen", &self.admin_listen),
        ];
        for (place, (key, listen)) in listeners.into_iter().enumerate() {
            let twin = listeners[..place].iter().find(|(_, other)| *other == listen);
            if let (Some((twin, _)), Listen::At { port: 1.., .. }) = (twin, listen) {
                wrong.push(Wrong { key, with: Some(twin), why: format!("{key} has the same address as {twin}") });
            }
        }
        wrong.extend(self.unencrypted());
        if self.max_request_bytes > self.fresh_memory_bytes {
            let (request, memory) = (size_text(self.max_request_bytes), size_text(self.fresh_memory_bytes));
            let why = format!(
                "max_request_size ({request}) is more than fresh_memory ({memory}), so the largest requests would never be taken"
            );
            wrong.push(Wrong { key: "max_request_size", with: Some("fresh_memory"), why });
        }
        wrong
    }

    /// What is wrong with who may read along.
    fn unencrypted(&self) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let mut pair = |key, with, why: &str| wrong.push(Wrong { key, with: Some(with), why: why.to_owned() });
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => pair("tls_cert", "tls_key", "tls_cert needs tls_key, its key"),
            (None, Some(_)) => pair("tls_key", "tls_cert", "tls_key needs tls_cert, its certificate"),
            (None, None) if self.tls_client_ca.is_some() => {
                pair(
                    "tls_client_ca",
                    "tls_cert",
                    "tls_client_ca needs tls_cert and tls_key: certificates are shown in TLS only",
                );
            }
            (None, None) if self.plaintext == Plaintext::Never => {
                pair("plaintext", "tls_cert", "with plaintext never, nobody could come in: give tls_cert and tls_key");
            }
            _ => {}
        }
        if self.tls_cert.is_none() && self.plaintext == Plaintext::Loopback {
            for (key, listen) in
                [("otlp_grpc", &self.otlp_grpc), ("otlp_http", &self.otlp_http), ("postgres", &self.postgres)]
            {
                if !listen.is_local() {
                    let why = "other machines reach it, and all between could read along: give tls_cert and tls_key, or plaintext anywhere if \
                               that is meant";
                    pair(key, "plaintext", why);
                }
            }
        }
        wrong
    }

    fn out_of_range(&self) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let mut alone = |key, why: String| wrong.push(Wrong { key, with: None, why });
        for (name, bytes, least) in [
            ("fresh_memory", self.fresh_memory_bytes, StoreSettings::LEAST_FRESH_BUDGET_BYTES),
            ("log_size", self.log_size_bytes, StoreSettings::LEAST_LOG_BUDGET_BYTES),
            ("query_memory", self.query_memory_bytes, 16 << 20),
            ("max_request_size", self.max_request_bytes, 1 << 10),
        ] {
            if bytes < least {
                alone(name, format!("{} is too little: give at least {}", size_text(bytes), size_text(least)));
            }
        }
        if (1..StoreSettings::LEAST_CACHE_BYTES).contains(&self.cache_bytes) {
            let least = size_text(StoreSettings::LEAST_CACHE_BYTES);
            alone("cache_size", format!("{} is too little: give at least {least}, or 0", size_text(self.cache_bytes)));
        }
        if self.seal_after.is_zero() {
            alone("seal_after", "it must be longer than nothing".to_owned());
        }
        if self.retention.is_some_and(|retention| retention < LEAST_RETENTION) {
            alone("retention", "it is too short: give at least 1h, or off".to_owned());
        }
        wrong
    }
}
