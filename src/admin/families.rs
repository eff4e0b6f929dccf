//! The figures by the names of their metrics: one list, which the exposition and the status are both made of.
//!
//! Labels have values from short, fixed lists only: nothing that a client sends becomes one.

use std::borrow::Cow;

use prometheus_client::metrics::histogram::Histogram;

use super::process::Process;
use crate::engine::{Load, ReportAlert, ReportRun};
use crate::ingest::{CountersSnapshot, RuleCount};
use crate::store::{Backlog, DiskRoom, StoreStatus};

/// A metric with its samples. A counter's name is without the `_total` that its samples have.
#[derive(Debug)]
pub(super) struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub samples: Samples,
}

#[derive(Debug)]
pub(super) enum Samples {
    Counter(Vec<Sample>),
    Gauge(Vec<Sample>),
    Histogram(Histogram),
    /// One sample of the value 1, whose labels are what there is to say.
    Info(Vec<Label>),
}

pub(super) type Label = (&'static str, Cow<'static, str>);

#[derive(Debug)]
pub(super) struct Sample {
    pub label: Option<Label>,
    pub value: f64,
}

/// Everything that is asked for the figures.
#[derive(Debug)]
pub(super) struct Asked {
    pub ingest: CountersSnapshot,
    pub rules: Vec<RuleCount>,
    pub store: StoreStatus,
    pub backlog: Backlog,
    pub disk: Option<DiskRoom>,
    pub fresh_limit_bytes: u64,
    pub log_limit_bytes: u64,
    pub load: Load,
    pub runs: Vec<ReportRun>,
    pub alerts: Vec<ReportAlert>,
    pub process: Option<Process>,
}

/// The version of the program, which is known before anything else is.
pub(super) fn of_build() -> Vec<Family> {
    let version = ("version", Cow::Borrowed(env!("CARGO_PKG_VERSION")));
    vec![Family { name: "spanhouse_build", help: "The program that runs", samples: Samples::Info(vec![version]) }]
}

pub(super) fn of_all(asked: &Asked) -> Vec<Family> {
    let mut families = of_build();
    families.extend(of_ingest(&asked.ingest, &asked.store));
    families.extend(of_rules(&asked.rules));
    families.extend(of_log(asked));
    families.extend(of_table(&asked.store, asked.backlog));
    families.extend(of_statements(&asked.load));
    families.extend(of_reports(&asked.runs, &asked.alerts));
    families.extend(asked.process.iter().flat_map(of_process));
    families
}

fn of_ingest(counters: &CountersSnapshot, store: &StoreStatus) -> Vec<Family> {
    vec![
        counter("spanhouse_ingest_accepted_requests", "Exports that were acknowledged", counters.accepted_requests),
        counter("spanhouse_ingest_accepted_spans", "Spans that were acknowledged", counters.accepted_spans),
        counter(
            "spanhouse_ingest_accepted_bytes",
            "Bytes of acknowledged exports as uncompressed protobuf",
            counters.accepted_bytes,
        ),
        counters_by(
            "spanhouse_ingest_refused_requests",
            "Exports that were refused whole",
            "reason",
            &counters.refused_requests,
        ),
        counters_by(
            "spanhouse_ingest_refused_spans",
            "Spans that were refused while others of their export were kept",
            "reason",
            &counters.refused_spans,
        ),
        counter("spanhouse_ingest_retries", "Exports that came again and were not stored twice", store.retries),
        gauge("spanhouse_ingest_in_flight_bytes", "Bytes of exports under way", counters.in_flight_bytes),
        Family {
            name: "spanhouse_ingest_acknowledgement_seconds",
            help: "Time from a whole export to its acknowledgement",
            samples: Samples::Histogram(counters.acknowledgements.clone()),
        },
    ]
}

/// The names of rules stand in the file of the server's owner, at most some hundred of them.
fn of_rules(rules: &[RuleCount]) -> Option<Family> {
    let samples = rules.iter().map(|count| sample(Some(("rule", Cow::Owned(count.rule.clone()))), count.values));
    let samples = Samples::Counter(samples.collect());
    let name = "spanhouse_ingest_rule_values";
    (!rules.is_empty()).then_some(Family { name, help: "Values that rules for sensitive data changed", samples })
}

fn of_log(asked: &Asked) -> Vec<Family> {
    let store = &asked.store;
    let mut families = vec![
        gauge("spanhouse_log_bytes", "Bytes of the write-ahead log", store.log_bytes),
        gauge("spanhouse_log_limit_bytes", "Bytes that the write-ahead log may take", asked.log_limit_bytes),
        gauge("spanhouse_log_segments", "Files of the write-ahead log", store.log_segments as u64),
        seconds(
            "spanhouse_log_oldest_seconds",
            "How long the oldest span has waited for the table, 0 when none waits",
            store.oldest_fresh_ms.unwrap_or(0) as f64 / 1e3,
        ),
        gauge("spanhouse_fresh_spans", "Spans that are not in the table yet", store.fresh_rows),
        gauge("spanhouse_fresh_bytes", "Memory of fresh spans and exports under way", store.fresh_bytes),
        gauge("spanhouse_fresh_limit_bytes", "Memory that fresh spans may take", asked.fresh_limit_bytes),
    ];
    if let Some(disk) = asked.disk {
        families.push(gauge(
            "spanhouse_disk_free_bytes",
            "Free space of the disk of the data directory",
            disk.free_bytes,
        ));
        families.push(gauge("spanhouse_disk_bytes", "Size of the disk of the data directory", disk.total_bytes));
    }
    families
}

fn of_table(store: &StoreStatus, backlog: Backlog) -> Vec<Family> {
    let mut families = vec![
        counter("spanhouse_sealings", "Times that fresh spans were moved into the table", store.sealings),
        counter("spanhouse_sealed_spans", "Spans that were moved into the table", store.sealed_rows),
        gauge(
            "spanhouse_table_version",
            "Version of the table, one more with each commit",
            store.table_version.unwrap_or(0),
        ),
        gauge("spanhouse_table_files", "Data files of the table", store.table_files as u64),
        gauge("spanhouse_table_spans", "Spans in the table", store.table_rows),
        gauge("spanhouse_table_bytes", "Bytes of the data files of the table", store.table_bytes),
        counter("spanhouse_compactions", "Commits of compaction", store.compactions),
        counter("spanhouse_compacted_spans", "Spans that compaction wrote", store.compacted_rows),
        counter("spanhouse_compaction_failures", "Merges that failed", store.compaction_failures),
        gauge("spanhouse_compaction_backlog_files", "Data files that compaction is to merge now", backlog.files),
        gauge("spanhouse_compaction_backlog_spans", "Spans in such files", backlog.rows),
        gauge("spanhouse_removed_files", "Files that left the table and are not deleted yet", store.removed_files),
        counter("spanhouse_deleted_files", "Files that left the table and were deleted", store.deleted_files),
        counter("spanhouse_expired_files", "Files dropped because all their spans had expired", store.expired_files),
        counter("spanhouse_expired_spans", "Spans that retention rules took out of files", store.expired_rows),
        gauge("spanhouse_trace_index_bytes", "Memory of trace indexes", store.trace_index_bytes),
        counter("spanhouse_trace_index_failures", "Lookups that did without a trace index", store.trace_index_failures),
    ];
    if let Some(cache) = store.cache {
        families.extend([
            gauge("spanhouse_object_cache_bytes", "Disk that parts of a remote table take", cache.bytes),
            counter("spanhouse_object_cache_hits", "Blocks read from that cache", cache.hits),
            counter("spanhouse_object_cache_misses", "Blocks fetched from the object store", cache.misses),
            counter("spanhouse_object_cache_fetched_bytes", "Bytes of such blocks", cache.fetched_bytes),
            counter("spanhouse_object_cache_damaged", "Damaged blocks that were fetched again", cache.damaged),
        ]);
    }
    families
}

fn of_statements(load: &Load) -> Vec<Family> {
    let statements = &load.statements;
    vec![
        gauge("spanhouse_sessions", "Sessions of PostgreSQL clients that are open", load.sessions as u64),
        gauge("spanhouse_statements_running", "Statements that run", load.running_statements as u64),
        counter("spanhouse_statements_started", "Statements that were begun or refused", statements.started),
        counter("spanhouse_statements_completed", "Statements that gave their last row", statements.completed),
        counter("spanhouse_statements_stopped", "Statements that their client left or cancelled", statements.stopped),
        counters_by(
            "spanhouse_statements_failed",
            "Statements that ended with an error, by the class of its SQLSTATE",
            "class",
            &statements.failed,
        ),
        Family {
            name: "spanhouse_statement_duration_seconds",
            help: "Time from the beginning of a statement to the last row that its client took",
            samples: Samples::Histogram(statements.durations.clone()),
        },
        gauge("spanhouse_query_memory_bytes", "Memory that statements hold of their pool", load.memory_bytes as u64),
        gauge("spanhouse_query_memory_limit_bytes", "The size of that pool", load.memory_limit_bytes as u64),
        gauge("spanhouse_column_cache_bytes", "Memory of the cache of columns", load.column_cache_bytes as u64),
        gauge("spanhouse_column_cache_limit_bytes", "What that cache may take", load.column_cache_limit_bytes as u64),
        gauge("spanhouse_spill_bytes", "Temporary disk that statements take", load.spilled_bytes),
        gauge("spanhouse_spill_limit_bytes", "Temporary disk that statements may take", load.spill_limit_bytes),
    ]
}

/// How runs of reports end, and what alerts are in, as journals have it.
const RUN_STATUSES: [&str; 6] = ["running", "succeeded", "failed", "timed_out", "died", "skipped"];
const ALERT_STATES: [&str; 4] = ["ok", "pending", "firing", "resolved"];

fn of_reports(runs: &[ReportRun], alerts: &[ReportAlert]) -> Vec<Family> {
    let runs = RUN_STATUSES.map(|status| (status, runs.iter().filter(|run| run.status == status).count() as u64));
    let is_now = |alert: &&ReportAlert, state| alert.is_current && alert.state == state;
    let alerts = ALERT_STATES.map(|state| (state, alerts.iter().filter(|alert| is_now(alert, state)).count() as u64));
    vec![
        // The journal forgets old runs: what it holds can become less.
        gauges_by("spanhouse_report_runs", "Runs of reports that the journal holds", "status", &runs),
        gauges_by("spanhouse_alerts", "Alerts of reports by the state that they are in", "state", &alerts),
    ]
}

fn of_process(process: &Process) -> Vec<Family> {
    let mut families = vec![
        gauge("process_resident_memory_bytes", "Resident memory of the process", process.resident_memory_bytes),
        Family {
            name: "process_cpu_seconds",
            help: "User and system CPU time of the process",
            samples: Samples::Counter(vec![Sample { label: None, value: process.cpu_seconds }]),
        },
        gauge("process_start_time_seconds", "Start of the process in seconds since 1970", process.start_time_seconds),
    ];
    families.extend(process.open_fds.map(|open| gauge("process_open_fds", "Open file descriptors", open as u64)));
    families
}

pub(super) fn counter(name: &'static str, help: &'static str, value: u64) -> Family {
    Family { name, help, samples: Samples::Counter(vec![sample(None, value)]) }
}

pub(super) fn gauge(name: &'static str, help: &'static str, value: u64) -> Family {
    Family { name, help, samples: Samples::Gauge(vec![sample(None, value)]) }
}

fn seconds(name: &'static str, help: &'static str, value: f64) -> Family {
    Family { name, help, samples: Samples::Gauge(vec![Sample { label: None, value }]) }
}

fn counters_by(name: &'static str, help: &'static str, label: &'static str, counts: &[(&'static str, u64)]) -> Family {
    Family { name, help, samples: Samples::Counter(labelled(label, counts)) }
}

pub(super) fn gauges_by(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    counts: &[(&'static str, u64)],
) -> Family {
    Family { name, help, samples: Samples::Gauge(labelled(label, counts)) }
}

fn labelled(label: &'static str, counts: &[(&'static str, u64)]) -> Vec<Sample> {
    counts.iter().map(|(value, count)| sample(Some((label, Cow::Borrowed(*value))), *count)).collect()
}

/// Counts beyond 2⁵³ lose their last digits, as every number of Prometheus does.
fn sample(label: Option<Label>, value: u64) -> Sample {
    Sample { label, value: value as f64 }
}
