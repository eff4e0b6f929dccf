//! The table of settings.

use super::log_filter::log_filter;
use super::machine::column_cache_bytes;
use super::rules::parse_rules;
use super::values::{parse_file, parse_listen, parse_log_format, parse_timeout};
use super::whole::Settings;
use crate::store::TableUrl;
use crate::typed::{parse_duration, parse_size};

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
