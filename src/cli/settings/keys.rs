//! The table of settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::log_filter::log_filter;
use super::machine::column_cache_bytes;
use super::rules::parse_rules;
use super::values::{Listen, LogFormat, parse_file, parse_listen, parse_log_format, parse_timeout};
use crate::access::{GateSettings, Plaintext, TenantName, TlsFiles};
use crate::audit::{AuditSettings, Level};
use crate::engine::EngineSettings;
use crate::error::Result;
use crate::ingest::{IngestSettings, Rules};
use crate::store::{Retention, RetentionRule, StoreSettings, TableUrl};
use crate::typed::{parse_duration, parse_size, size_text};

/// One setting: `name` in the file, `--flag` on the command line, `SPANHOUSE_NAME` in the environment.
pub(in crate::cli) struct Key {
    pub(in crate::cli) name: &'static str,
    pub(in crate::cli) flag: &'static str,
    pub(in crate::cli) value_name: &'static str,
    pub(in crate::cli) default: &'static str,
    pub(in crate::cli) help: &'static str,
    pub(in crate::cli) heading: &'static str,
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Key {
    /// The environment variable.
    pub(in crate::cli) fn variable(&self) -> String {
        format!("SPANHOUSE_{}", self.name.to_ascii_uppercase())
    }
}

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
    ingest_rules: Option<PathBuf>,
    audit: Level,
    audit_keep: Option<Duration>,
    /// Where reports are described; read when it is there.
    pub(in crate::cli) reports_dir: PathBuf,
    pub(in crate::cli) log: String,
    pub(in crate::cli) log_format: LogFormat,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_client_ca: Option<PathBuf>,
    plaintext: Plaintext,
    pub(super) fresh_memory_bytes: u64,
    pub(super) log_size_bytes: u64,
    seal_after: Duration,
    keep_removed: Duration,
    pub(super) retention: Option<Duration>,
    pub(super) table_url: Option<TableUrl>,
    pub(super) retention_rules: Vec<RetentionRule>,
    pub(super) cache_bytes: u64,
    max_request_bytes: u64,
    pub(super) query_memory_bytes: u64,
    pub(super) column_cache_bytes: u64,
    spill_size_bytes: u64,
    spill_free_bytes: u64,
    statement_timeout: Option<Duration>,
}

/// A shorter retention is a slip of the keyboard: it would delete what was kept.
pub(super) const LEAST_RETENTION: Duration = Duration::from_secs(3600);

const LISTENERS: &str = "Listeners";
const STORAGE: &str = "Storage";
const QUERIES: &str = "Queries";
const REPORTS: &str = "Reports";
const LOGGING: &str = "Logging";

/// All settings, in the order in which help and `config show` list them.
pub(in crate::cli) static KEYS: [Key; 29] = [
    Key {
        name: "data_dir",
        flag: "data-dir",
        value_name: "DIR",
        default: "./spanhouse-data",
        help: "Where spans are kept; made when it is missing",
        heading: STORAGE,
        set: |settings, text| match text {
            "" => Err("a data directory needs a name".to_owned()),
            path => {
                settings.data_dir = path.into();
                Ok(())
            }
        },
    },
    Key {
        name: "table_url",
        flag: "table-url",
        value_name: "URL",
        default: "",
        help: "Where the table lies, if not in the data directory: s3://BUCKET/PREFIX, az://…, gs://… or file:///…; credentials come \
               from AWS_*, AZURE_* and GOOGLE_* variables",
        heading: STORAGE,
        set: |settings, text| {
            settings.table_url = match text {
                "" => None,
                url => Some(TableUrl::parse(url).map_err(|error| error.to_string())?),
            };
            Ok(())
        },
    },
    Key {
        name: "cache_size",
        flag: "cache-size",
        value_name: "SIZE",
        default: "10GiB",
        help: "Disk for parts of a table on an object store that were read before; 0 keeps none",
        heading: STORAGE,
        set: |settings, text| parse_size(text).map(|bytes| settings.cache_bytes = bytes),
    },
    Key {
        name: "otlp_grpc",
        flag: "otlp-grpc",
        value_name: "ADDRESS",
        default: "127.0.0.1:4317",
        help: "Where to take OTLP over gRPC, or off; port 0 takes a free one",
        heading: LISTENERS,
        set: |settings, text| parse_listen(text).map(|listen| settings.otlp_grpc = listen),
    },
    Key {
        name: "otlp_http",
        flag: "otlp-http",
        value_name: "ADDRESS",
        default: "127.0.0.1:4318",
        help: "Where to take OTLP over HTTP, or off",
        heading: LISTENERS,
        set: |settings, text| parse_listen(text).map(|listen| settings.otlp_http = listen),
    },
    Key {
        name: "postgres",
        flag: "postgres",
        value_name: "ADDRESS",
        default: "127.0.0.1:5433",
        help: "Where to answer psql and other PostgreSQL clients, or off; those of other machines need a password (`spanhouse user`)",
        heading: LISTENERS,
        set: |settings, text| parse_listen(text).map(|listen| settings.postgres = listen),
    },
    Key {
        name: "admin_listen",
        flag: "admin-listen",
        value_name: "ADDRESS",
        default: "127.0.0.1:9464",
        help: "Where to tell of health and metrics over HTTP, or off; nobody is asked for a password there, and nothing of spans is told",
        heading: LISTENERS,
        set: |settings, text| parse_listen(text).map(|listen| settings.admin_listen = listen),
    },
    Key {
        name: "tls_cert",
        flag: "tls-cert",
        value_name: "FILE",
        default: "",
        help: "The server's certificate and those between it and its authority, in PEM; read again when it changes",
        heading: LISTENERS,
        set: |settings, text| parse_file(text).map(|file| settings.tls_cert = file),
    },
    Key {
        name: "tls_key",
        flag: "tls-key",
        value_name: "FILE",
        default: "",
        help: "The key of the certificate, in PEM",
        heading: LISTENERS,
        set: |settings, text| parse_file(text).map(|file| settings.tls_key = file),
    },
    Key {
        name: "tls_client_ca",
        flag: "tls-client-ca",
        value_name: "FILE",
        default: "",
        help: "Authorities in PEM; whoever shows a certificate of theirs needs no token, and no password for the user that it names",
        heading: LISTENERS,
        set: |settings, text| parse_file(text).map(|file| settings.tls_client_ca = file),
    },
    Key {
        name: "plaintext",
        flag: "plaintext",
        value_name: "FROM",
        default: "loopback",
        help: "From where clients may come without TLS: never, loopback (this machine), or anywhere, such as behind a proxy",
        heading: LISTENERS,
        set: |settings, text| text.parse().map(|plaintext| settings.plaintext = plaintext),
    },
    Key {
        name: "ingest_rules",
        flag: "ingest-rules",
        value_name: "FILE",
        default: "",
        help: "Rules for sensitive data, in TOML: what of spans is deleted, hashed or masked before anything of them is kept",
        heading: LISTENERS,
        set: |settings, text| parse_file(text).map(|file| settings.ingest_rules = file),
    },
    Key {
        name: "max_request_size",
        flag: "max-request-size",
        value_name: "SIZE",
        default: "64MiB",
        help: "The largest OTLP request, as sent and decompressed",
        heading: LISTENERS,
        set: |settings, text| parse_size(text).map(|bytes| settings.max_request_bytes = bytes),
    },
    Key {
        name: "fresh_memory",
        flag: "fresh-memory",
        value_name: "SIZE",
        default: "256MiB",
        help: "Memory for spans that are not in the table yet; past it senders are asked to wait",
        heading: STORAGE,
        set: |settings, text| parse_size(text).map(|bytes| settings.fresh_memory_bytes = bytes),
    },
    Key {
        name: "log_size",
        flag: "log-size",
        value_name: "SIZE",
        default: "4GiB",
        help: "Disk for the write-ahead log; past it senders are asked to wait",
        heading: STORAGE,
        set: |settings, text| parse_size(text).map(|bytes| settings.log_size_bytes = bytes),
    },
    Key {
        name: "seal_after",
        flag: "seal-after",
        value_name: "DURATION",
        default: "60s",
        help: "How long a span waits at most before it is moved into the table",
        heading: STORAGE,
        set: |settings, text| parse_duration(text).map(|duration| settings.seal_after = duration),
    },
    Key {
        name: "retention",
        flag: "retention",
        value_name: "DURATION",
        default: "off",
        help: "The age at which spans expire, such as 30d, or off to keep them for ever",
        heading: STORAGE,
        set: |settings, text| parse_timeout(text).map(|retention| settings.retention = retention),
    },
    Key {
        name: "retention_rules",
        flag: "retention-rules",
        value_name: "RULES",
        default: "",
        help: "Traces that are kept longer or shorter, as in \"errors keep=90d; service=shop slower_than=2s keep=365d\"",
        heading: STORAGE,
        set: |settings, text| parse_rules(text).map(|rules| settings.retention_rules = rules),
    },
    Key {
        name: "keep_removed",
        flag: "keep-removed",
        value_name: "DURATION",
        default: "10m",
        help: "How long a data file that was replaced stays on disk, for other programs that read it",
        heading: STORAGE,
        set: |settings, text| parse_duration(text).map(|duration| settings.keep_removed = duration),
    },
    Key {
        name: "query_memory",
        flag: "query-memory",
        value_name: "SIZE",
        default: "512MiB",
        help: "Memory that all running statements share; one may hold three quarters of it",
        heading: QUERIES,
        set: |settings, text| parse_size(text).map(|bytes| settings.query_memory_bytes = bytes),
    },
    Key {
        name: "column_cache",
        flag: "column-cache",
        value_name: "SIZE",
        default: "auto",
        help: "Memory for columns of stored spans that were read before; 0 keeps none, auto takes an eighth of the machine's, 4GiB at most",
        heading: QUERIES,
        set: |settings, text| {
            settings.column_cache_bytes = match text {
                "auto" => column_cache_bytes(),
                size => parse_size(size)?,
            };
            Ok(())
        },
    },
    Key {
        name: "spill_size",
        flag: "spill-size",
        value_name: "SIZE",
        default: "16GiB",
        help: "Temporary disk that all running statements share; one may use three quarters of it",
        heading: QUERIES,
        set: |settings, text| parse_size(text).map(|bytes| settings.spill_size_bytes = bytes),
    },
    Key {
        name: "spill_free",
        flag: "spill-free",
        value_name: "SIZE",
        default: "1GiB",
        help: "Free space that temporary files leave on their disk, which is that of TMPDIR, so that ingest goes on; 0 leaves none",
        heading: QUERIES,
        set: |settings, text| parse_size(text).map(|bytes| settings.spill_free_bytes = bytes),
    },
    Key {
        name: "statement_timeout",
        flag: "statement-timeout",
        value_name: "DURATION",
        default: "off",
        help: "How long a statement may run, unless its session sets another limit; or off",
        heading: QUERIES,
        set: |settings, text| parse_timeout(text).map(|timeout| settings.statement_timeout = timeout),
    },
    Key {
        name: "reports_dir",
        flag: "reports-dir",
        value_name: "DIR",
        default: "./reports",
        help: "Where reports are described, a file each; those with a schedule run while the server does. It need not be there",
        heading: REPORTS,
        set: |settings, text| match text {
            "" => Err("a reports folder needs a name".to_owned()),
            path => {
                settings.reports_dir = path.into();
                Ok(())
            }
        },
    },
    Key {
        name: "audit",
        flag: "audit",
        value_name: "LEVEL",
        default: "acts",
        help: "What the audit log notes: off, acts (and refusals), connections (and those), or statements (and all)",
        heading: LOGGING,
        set: |settings, text| text.parse().map(|level| settings.audit = level),
    },
    Key {
        name: "audit_keep",
        flag: "audit-keep",
        value_name: "DURATION",
        default: "90d",
        help: "How long the audit log is kept, or off to keep it until it has 1GiB",
        heading: LOGGING,
        set: |settings, text| parse_timeout(text).map(|keep| settings.audit_keep = keep),
    },
    Key {
        name: "log",
        flag: "log",
        value_name: "FILTER",
        default: "info",
        help: "What to log on stderr: off, error, warn, info, debug or trace, and other levels by component, as in info,store=debug,ingest=warn",
        heading: LOGGING,
        set: |settings, text| {
            log_filter(text)?;
            settings.log = text.to_owned();
            Ok(())
        },
    },
    Key {
        name: "log_format",
        flag: "log-format",
        value_name: "FORMAT",
        default: "text",
        help: "How to log: text or json",
        heading: LOGGING,
        set: |settings, text| parse_log_format(text).map(|format| settings.log_format = format),
    },
];

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
