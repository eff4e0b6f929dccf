//! The figures of tenants, each with the label `tenant`. Names of tenants are the server's owner's and at most 63 plain letters; nothing else that
//! is told of a tenant is its own.

use std::borrow::Cow;

use super::families::{Family, Sample, Samples};
use super::vitals::{Parts, TenantParts};
use crate::engine::{DEFAULT_DATABASE, Load};
use crate::ingest::{CountersSnapshot, Ingest};
use crate::store::{Store, StoreStatus};

/// What is told of each tenant: name, help, whether it only grows, and the figure.
type Told = (&'static str, &'static str, bool, fn(&Asked) -> u64);

const FIGURES: [Told; 20] = [
    ("spanhouse_tenant_accepted_requests", "Exports of a tenant that were acknowledged", true, |asked| {
        asked.ingest.accepted_requests
    }),
    ("spanhouse_tenant_accepted_spans", "Spans of a tenant that were acknowledged", true, |asked| {
        asked.ingest.accepted_spans
    }),
    ("spanhouse_tenant_accepted_bytes", "Bytes of such exports as uncompressed protobuf", true, |asked| {
        asked.ingest.accepted_bytes
    }),
    ("spanhouse_tenant_refused_requests", "Exports of a tenant that were refused whole", true, |asked| {
        asked.ingest.refused_requests_total()
    }),
    ("spanhouse_tenant_refused_spans", "Spans of a tenant that were refused while others were kept", true, |asked| {
        asked.ingest.refused_spans_total()
    }),
    ("spanhouse_tenant_in_flight_bytes", "Bytes of exports of a tenant under way", false, |asked| {
        asked.ingest.in_flight_bytes
    }),
    ("spanhouse_tenant_fresh_spans", "Spans of a tenant that are not in its table yet", false, |asked| {
        asked.store.fresh_rows
    }),
    ("spanhouse_tenant_fresh_bytes", "Memory of fresh spans of a tenant", false, |asked| asked.store.fresh_bytes),
    ("spanhouse_tenant_fresh_limit_bytes", "Memory that fresh spans of a tenant may take", false, |asked| {
        asked.fresh_limit_bytes
    }),
    ("spanhouse_tenant_log_bytes", "Bytes of a tenant's write-ahead log", false, |asked| asked.store.log_bytes),
    ("spanhouse_tenant_log_limit_bytes", "Bytes that it may take", false, |asked| asked.log_limit_bytes),
    ("spanhouse_tenant_table_files", "Data files of a tenant's table", false, |asked| asked.store.table_files as u64),
    ("spanhouse_tenant_table_spans", "Spans in a tenant's table", false, |asked| asked.store.table_rows),
    ("spanhouse_tenant_table_bytes", "Bytes of a tenant's data files", false, |asked| asked.store.table_bytes),
    ("spanhouse_tenant_compaction_backlog_files", "Data files of a tenant that are to be merged now", false, |asked| {
        asked.backlog_files
    }),
    ("spanhouse_tenant_expired_spans", "Spans of a tenant that retention rules took out of files", true, |asked| {
        asked.store.expired_rows
    }),
    ("spanhouse_tenant_sessions", "Sessions in a tenant's database", false, |asked| {
        asked.of_load(|load| load.sessions as u64)
    }),
    ("spanhouse_tenant_statements_started", "Statements in a tenant's database", true, |asked| {
        asked.of_load(|load| load.statements.started)
    }),
    ("spanhouse_tenant_statements_failed", "Statements that ended with an error", true, |asked| {
        asked.of_load(|load| load.statements.failed.iter().map(|(_, count)| count).sum())
    }),
    ("spanhouse_tenant_query_memory_bytes", "Memory that a tenant's statements hold", false, |asked| {
        asked.of_load(|load| load.memory_bytes as u64)
    }),
];

/// What a tenant's parts say.
struct Asked {
    ingest: CountersSnapshot,
    store: StoreStatus,
    backlog_files: u64,
    fresh_limit_bytes: u64,
    log_limit_bytes: u64,
    /// Nothing as long as nobody has asked a statement.
    load: Option<Load>,
}

impl Asked {
    fn of(store: &Store, ingest: &Ingest, load: Option<Load>) -> Self {
        let (fresh_limit_bytes, log_limit_bytes) = match ingest.limits() {
            Some(limits) => (limits.fresh_bytes, limits.log_bytes),
            None => store.budgets(),
        };
        Self {
            ingest: ingest.counters(),
            store: store.status(),
            backlog_files: store.backlog().files,
            fresh_limit_bytes,
            log_limit_bytes,
            load,
        }
    }

    fn of_load(&self, figure: fn(&Load) -> u64) -> u64 {
        self.load.as_ref().map_or(0, figure)
    }
}

/// The figures of the default tenant and of the others; none where there are no others.
pub(super) fn of_tenants(own: &Parts, tenants: &[(String, TenantParts)]) -> Vec<Family> {
    if tenants.is_empty() {
        return Vec::new();
    }
    let default = (DEFAULT_DATABASE, Asked::of(&own.store, &own.ingest, Some(own.engine.load())));
    let of = |parts: &TenantParts| {
        let load = parts.engine.made().map(|engine| engine.load());
        Asked::of(&parts.store, &parts.ingest, load)
    };
    let asked: Vec<(&str, Asked)> =
        tenants.iter().map(|(name, parts)| (name.as_str(), of(parts))).chain([default]).collect();
    let family = |(name, help, only_grows, figure): Told| {
        let samples = asked.iter().map(|(tenant, asked)| Sample {
            label: Some(("tenant", Cow::Owned((*tenant).to_owned()))),
            value: figure(asked) as f64,
        });
        let samples = samples.collect();
        Family { name, help, samples: if only_grows { Samples::Counter(samples) } else { Samples::Gauge(samples) } }
    };
    FIGURES.into_iter().map(family).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_figures_have_one_name() {
        let mut names: Vec<&str> = FIGURES.iter().map(|figure| figure.0).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FIGURES.len());
        assert!(names.iter().all(|name| name.starts_with("spanhouse_tenant_") && !name.ends_with("_total")));
    }
}
