//! A running server: store, engine and listeners, started and stopped together.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::admin_at_work::AdminAtWork;
use super::audit;
use super::audit_at_work::AuditAtWork;
use super::data::ServerFile;
use super::exit::in_use;
use super::reports_at_work::ReportsAtWork;
use super::settings::{Listen, Settings};
use super::tenants_at_work::{TenantsAtWork, With};
use crate::access::Gate;
use crate::admin::Parts;
use crate::engine::{Engine, IngestCount};
use crate::error::{Error, Kind, OBJECT_IN_USE, Result};
use crate::ingest::{Doors, Ingest, RuleCount, serve_grpc, serve_http};
use crate::report;
use crate::server::{self, Databases};
use crate::store::Store;

/// Everything that `serve` runs.
pub(super) struct House {
    settings: Settings,
    pub(super) store: Arc<Store>,
    pub(super) engine: Arc<Engine>,
    pub(super) addresses: ServerFile,
    shutdown: CancellationToken,
    listeners: JoinSet<Result<()>>,
    reports: ReportsAtWork,
    tenants: TenantsAtWork,
    admin: AdminAtWork,
    audit: AuditAtWork,
}

/// A listener that has its port and serves nobody yet.
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl House {
    /// Takes the ports, opens the data directory and serves.
    ///
    /// The ports come first: that one is taken is known at once, while a long log takes its time to replay.
    pub(super) async fn start(settings: Settings) -> Result<Self> {
        let gate = Gate::open(&settings.data_dir, settings.gate())?;
        let ingest_settings = settings.ingest()?;
        let grpc = bind(&settings.otlp_grpc, "otlp-grpc").await?;
        let http = bind(&settings.otlp_http, "otlp-http").await?;
        let postgres = bind(&settings.postgres, "postgres").await?;
        let admin = bind(&settings.admin_listen, "admin-listen").await?;
        let address = |bound: &Option<Bound>| bound.as_ref().map(|bound| bound.address);
        let addresses = ServerFile {
            pid: std::process::id(),
            otlp_grpc: address(&grpc),
            otlp_http: address(&http),
            postgres: address(&postgres),
            tls: gate.tls().is_some(),
            admin: address(&admin),
        };
        let admin = AdminAtWork::start(admin.map(|bound| bound.listener), &gate);
        tell_of_strangers(&gate, &addresses);
        let store = Store::open(&settings.data_dir, settings.store()).await?;
        let engine = Engine::new(store.clone(), settings.engine())?;
        report::show_in(&engine, &settings.data_dir);
        audit::show_in(&engine, &settings.data_dir);
        let ingest = Ingest::new(store.clone(), ingest_settings);
        let counted = ingest.clone();
        engine.count_ingest(move || ingest_counts(&counted));
        admin.opened(Parts { store: store.clone(), engine: engine.clone(), ingest: ingest.clone() });
        let shutdown = CancellationToken::new();
        let audit = AuditAtWork::start(&settings, &store, &shutdown)?;
        gate.tell(audit.audit());
        tokio::spawn(gate.clone().follow(shutdown.clone()));
        let doors = Doors::new(ingest, settings.store().fresh_budget_bytes as u64);
        let databases = Databases::from(engine.clone());
        let with = With {
            settings: settings.clone(),
            gate: gate.clone(),
            store: store.clone(),
            engine: engine.clone(),
            doors: doors.clone(),
            databases: databases.clone(),
            watched: admin.watched(),
            audit: audit.audit(),
        };
        let tenants = TenantsAtWork::start(with).await;
        let mut listeners = JoinSet::new();
        if let Some(grpc) = grpc {
            listeners.spawn(serve_grpc(grpc.listener, gate.clone(), doors.clone(), shutdown.clone()));
        }
        if let Some(http) = http {
            listeners.spawn(serve_http(http.listener, gate.clone(), doors, shutdown.clone()));
        }
        if let Some(postgres) = postgres {
            let server_settings = server::ServerSettings { audit: audit.audit(), ..Default::default() };
            let shutdown = shutdown.clone();
            listeners.spawn(server::serve(postgres.listener, gate.clone(), databases, server_settings, shutdown));
        }
        let reports = ReportsAtWork::start(&settings, &engine, &shutdown);
        addresses.write(&settings.data_dir)?;
        Ok(Self { settings, store, engine, addresses, shutdown, listeners, reports, tenants, admin, audit })
    }

    /// Waits until something goes wrong by itself: a listener ends, or the log fails.
    pub(super) async fn failed(&mut self) -> Error {
        tokio::select! {
            poisoned = self.store.poisoned() => given_up(poisoned),
            poisoned = self.tenants.failed() => given_up(poisoned),
            Some(ended) = self.listeners.join_next() => match ended {
                Ok(Ok(())) => Error::internal("a listener ended by itself"),
                Ok(Err(error)) => error,
                Err(panic) => Error::internal(format!("a listener failed: {panic}")),
            },
        }
    }

    /// Stops accepting, finishes the requests under way, seals, and lets go of the data directory.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.admin.stops();
        self.shutdown.cancel();
        let mut first_error = None;
        while let Some(ended) = self.listeners.join_next().await {
            let error = match ended {
                Ok(ended) => ended.err(),
                Err(panic) => Some(Error::internal(format!("a listener failed: {panic}"))),
            };
            first_error = first_error.or(error);
        }
        self.reports.stop().await;
        self.tenants.stop().await;
        self.audit.stop().await;
        ServerFile::remove(&self.settings.data_dir);
        let closed = self.store.close().await;
        self.admin.end().await;
        closed?;
        first_error.map_or(Ok(()), Err)
    }
}

/// Tells of addresses at which whoever reaches them may send spans.
fn tell_of_strangers(gate: &Gate, addresses: &ServerFile) {
    let is_far = |address: &SocketAddr| !address.ip().is_loopback();
    for address in [addresses.otlp_grpc, addresses.otlp_http].into_iter().flatten().filter(is_far) {
        if gate.takes_spans_of_anybody() {
            tracing::warn!(%address, "whoever reaches this address may send spans, until `spanhouse token add` makes a token");
        }
    }
}

/// The error of a store that has failed for good: another process goes by its name, or its log could not be written.
fn given_up(mut error: Error) -> Error {
    error.message = format!("nothing more is accepted: {error}").into();
    match error.sqlstate() {
        OBJECT_IN_USE => error,
        _ => error.with_kind(Kind::Corrupt),
    }
}

pub(super) fn ingest_counts(ingest: &Ingest) -> Vec<IngestCount> {
    let counters = ingest.counters();
    let accepted = |what, count| IngestCount { what, outcome: "accepted", reason: None, count };
    let refused = |what, (reason, count): &(&'static str, u64)| IngestCount {
        what,
        outcome: "refused",
        reason: Some((*reason).into()),
        count: *count,
    };
    let mut counts = vec![
        accepted("requests", counters.accepted_requests),
        accepted("spans", counters.accepted_spans),
        accepted("bytes", counters.accepted_bytes),
    ];
    counts.extend(counters.refused_requests.iter().map(|of| refused("requests", of)));
    counts.extend(counters.refused_spans.iter().map(|of| refused("spans", of)));
    let by_rule = |RuleCount { rule, outcome, values }| IngestCount {
        what: "values",
        outcome,
        reason: Some(rule.into()),
        count: values,
    };
    counts.extend(ingest.rule_counts().into_iter().map(by_rule));
    counts
}

async fn bind(listen: &Listen, flag: &str) -> Result<Option<Bound>> {
    let Listen::At { host, port } = listen else { return Ok(None) };
    match TcpListener::bind((host.as_str(), *port)).await {
        Ok(listener) => {
            let address = listener.local_addr().map_err(|error| Error::io(format!("--{flag}"), error))?;
            Ok(Some(Bound { listener, address }))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let message = format!("port {port} on {host} (--{flag}) is in use by another program");
            let hint =
                format!("stop that program, or choose another port with --{flag} {host}:PORT; 0 takes a free one");
            Err(in_use(message).with_hint(hint))
        }
        Err(error) => Err(Error::io(format!("cannot listen on {host}:{port} (--{flag})"), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn a_second_process_is_no_damage() {
        let closed = Error::new(Kind::Closed, "why").with_hint("what to do");
        let in_use = Error::new(Kind::Closed, "why").with_sqlstate(OBJECT_IN_USE);
        for (error, exit) in [(closed, Exit::Damaged), (in_use, Exit::InUse)] {
            let hint = error.hint.clone();
            let error = given_up(error);
            assert_eq!((Exit::of(&error), &error.hint), (exit, &hint));
            assert_eq!(error.message, "nothing more is accepted: why");
        }
    }
}
