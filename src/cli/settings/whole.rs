//! Every setting's value, and what of them each part of the server gets.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::values::{Listen, LogFormat};
use crate::access::{GateSettings, Plaintext, TenantName, TlsFiles};
use crate::audit::{AuditSettings, Level};
use crate::engine::EngineSettings;
use crate::error::Result;
use crate::ingest::{IngestSettings, Rules};
use crate::store::{Retention, RetentionRule, StoreSettings, TableUrl};

/// Every setting's value.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) data_dir: PathBuf,
    /// The tenant whose data directory that is, and the one that it lies in.
    pub(super) of_tenant: Option<(TenantName, PathBuf)>,
    pub(in crate::cli) otlp_grpc: Listen,
    pub(in crate::cli) otlp_http: Listen,
    pub(in crate::cli) postgres: Listen,
    pub(in crate::cli) admin_listen: Listen,
    pub(super) ingest_rules: Option<PathBuf>,
    pub(super) audit: Level,
    pub(super) audit_keep: Option<Duration>,
    /// Where reports are described; read when it is there.
    pub(in crate::cli) reports_dir: PathBuf,
    pub(in crate::cli) log: String,
    pub(in crate::cli) log_format: LogFormat,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) tls_client_ca: Option<PathBuf>,
    pub(super) plaintext: Plaintext,
    pub(super) fresh_memory_bytes: u64,
    pub(super) log_size_bytes: u64,
    pub(super) seal_after: Duration,
    pub(super) keep_removed: Duration,
    pub(super) retention: Option<Duration>,
    pub(super) table_url: Option<TableUrl>,
    pub(super) retention_rules: Vec<RetentionRule>,
    pub(super) cache_bytes: u64,
    pub(super) max_request_bytes: u64,
    pub(super) query_memory_bytes: u64,
    pub(super) column_cache_bytes: u64,
    pub(super) spill_size_bytes: u64,
    pub(super) spill_free_bytes: u64,
    pub(super) statement_timeout: Option<Duration>,
}

impl Settings {
    pub(in crate::cli) fn audit(&self) -> AuditSettings {
        AuditSettings { level: self.audit, keep: self.audit_keep }
    }

    pub(in crate::cli) fn gate(&self) -> GateSettings {
        let files = self.tls_cert.clone().zip(self.tls_key.clone());
        let tls = files.map(|(cert, key)| TlsFiles { cert, key, client_ca: self.tls_client_ca.clone() });
        GateSettings { tls, plaintext: self.plaintext }
    }

    pub(in crate::cli) fn store(&self) -> StoreSettings {
        StoreSettings {
            fresh_budget_bytes: usize::try_from(self.fresh_memory_bytes).unwrap_or(usize::MAX),
            log_budget_bytes: self.log_size_bytes,
            seal_after: self.seal_after,
            keep_removed: self.keep_removed,
            table_url: self.table_url.clone(),
            retention: Retention { age: self.retention, rules: self.retention_rules.clone() },
            cache_bytes: self.cache_bytes,
            ..StoreSettings::default()
        }
    }

    pub(in crate::cli) fn engine(&self) -> EngineSettings {
        let memory_bytes = usize::try_from(self.query_memory_bytes).unwrap_or(usize::MAX);
        let default = EngineSettings::default();
        EngineSettings {
            database: self.tenant().unwrap_or(default.database),
            memory_bytes,
            statement_memory_bytes: memory_bytes / 4 * 3,
            column_cache_bytes: usize::try_from(self.column_cache_bytes).unwrap_or(usize::MAX),
            spill_bytes: self.spill_size_bytes,
            statement_spill_bytes: self.spill_size_bytes / 4 * 3,
            spill_free_bytes: self.spill_free_bytes,
            statement_timeout: self.statement_timeout,
            spill_dir: default.spill_dir,
            threads: default.threads,
        }
    }

    /// # Errors
    /// [`crate::error::Kind::BadInput`] that tells the mistakes in the rules for sensitive data.
    pub(in crate::cli) fn ingest(&self) -> Result<IngestSettings> {
        let max_request_bytes = usize::try_from(self.max_request_bytes).unwrap_or(usize::MAX);
        let default = IngestSettings::default();
        // Less than one whole request in flight would refuse the largest one for ever.
        let max_in_flight_bytes = default.max_in_flight_bytes.max(max_request_bytes.saturating_mul(2));
        let rules = self.ingest_rules.as_deref().map(Rules::read).transpose()?.map(Arc::new);
        Ok(IngestSettings { max_request_bytes, max_in_flight_bytes, rules, ..default })
    }
}
