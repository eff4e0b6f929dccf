//! What is watched, and what there is to say of it at one moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use super::connections;
use super::families::{self, Asked, Family, Label, Samples};
use super::process::Process;
use super::tenants::of_tenants;
use crate::access::Gate;
use crate::engine::{Engine, LateEngine};
use crate::error::{Error, Result};
use crate::ingest::Ingest;
use crate::store::Store;

/// The parts of a server that are open.
#[derive(Debug)]
pub struct Parts {
    pub store: Arc<Store>,
    pub engine: Arc<Engine>,
    pub ingest: Arc<Ingest>,
}

/// The same of a tenant beside the default one.
#[derive(Debug)]
pub struct TenantParts {
    pub store: Arc<Store>,
    pub engine: Arc<LateEngine>,
    pub ingest: Arc<Ingest>,
}

/// A server from the moment it has its ports: its parts come while it is watched already.
pub struct Watched {
    gate: Arc<Gate>,
    parts: OnceLock<Parts>,
    /// The same of tenants beside the default one, by name.
    tenants: ArcSwap<Vec<(String, TenantParts)>>,
    is_stopping: AtomicBool,
}

/// What a server says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vitals {
    pub version: String,
    pub pid: u32,
    /// Whether exports and statements are taken.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// All metrics but histograms, by name and labels as Prometheus writes them.
    pub figures: BTreeMap<String, f64>,
}

impl Watched {
    /// A server that starts, whose clients `gate` lets in.
    pub fn of(gate: Arc<Gate>) -> Self {
        Self { gate, parts: OnceLock::new(), tenants: ArcSwap::default(), is_stopping: AtomicBool::new(false) }
    }

    /// Says that the server is open; only the first call has an effect.
    pub fn opened(&self, parts: Parts) {
        let _ = self.parts.set(parts);
    }

    /// Says which tenants are open beside the default one.
    pub fn tenants_are(&self, tenants: Vec<(String, TenantParts)>) {
        self.tenants.store(Arc::new(tenants));
    }

    /// Says that the server is about to end.
    pub fn stops(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Why exports or statements are not taken now; empty when they are.
    pub(super) fn hindrances(&self) -> Vec<String> {
        let stopping = self.is_stopping.load(Ordering::Relaxed).then(|| "the server is stopping".to_owned());
        let missing = match self.parts.get() {
            None => Some("the server is starting: it reads its log".to_owned()),
            Some(parts) => parts.store.refusal().map(|error| error.to_string()),
        };
        stopping.into_iter().chain(missing).collect()
    }

    /// All figures; only that of the program before the server is open.
    pub(super) async fn families(&self) -> Result<Vec<Family>> {
        match self.parts.get() {
            None => Ok(families::of_build()),
            Some(parts) => {
                let mut families = families::of_all(&parts.ask().await?);
                families.extend(connections::of_gate(&self.gate));
                families.extend(of_tenants(parts, &self.tenants.load()));
                Ok(families)
            }
        }
    }

    pub(super) async fn vitals(&self) -> Result<Vitals> {
        let reasons = self.hindrances();
        Ok(Vitals {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            ready: reasons.is_empty(),
            reasons,
            figures: self.families().await?.iter().flat_map(figures).collect(),
        })
    }
}

impl Parts {
    async fn ask(&self) -> Result<Asked> {
        let (fresh_limit_bytes, log_limit_bytes) = self.store.budgets();
        let teller = self.engine.report_teller();
        // Journals and what the system tells are read from files.
        let asking = tokio::task::spawn_blocking(move || {
            let told = teller.map(|teller| Ok::<_, Error>((teller.runs()?, teller.alerts()?))).transpose();
            (told, Process::now())
        });
        let (told, process) =
            asking.await.map_err(|error| Error::internal(format!("asking for figures failed: {error}")))?;
        // A journal that cannot be read is for `system.report_runs` to tell of; the other figures are wanted all the same.
        let (runs, alerts) = told.ok().flatten().unwrap_or_default();
        Ok(Asked {
            ingest: self.ingest.counters(),
            rules: self.ingest.rule_counts(),
            store: self.store.status(),
            backlog: self.store.backlog(),
            disk: self.store.disk_room().ok(),
            fresh_limit_bytes,
            log_limit_bytes,
            load: self.engine.load(),
            runs,
            alerts,
            process,
        })
    }
}

fn figures(family: &Family) -> Vec<(String, f64)> {
    let (samples, suffix) = match &family.samples {
        Samples::Counter(samples) => (samples, "_total"),
        Samples::Gauge(samples) => (samples, ""),
        Samples::Histogram(_) | Samples::Info(_) => return Vec::new(),
    };
    let name = |label: &Option<Label>| match label {
        Some((label, value)) => format!("{}{suffix}{{{label}=\"{value}\"}}", family.name),
        None => format!("{}{suffix}", family.name),
    };
    samples.iter().map(|sample| (name(&sample.label), sample.value)).collect()
}
