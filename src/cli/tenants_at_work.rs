//! Tenants inside `serve`: each has a store, a front door and a database of its own, opened and closed as the file of users and tokens says.
//!
//! A tenant whose store cannot be opened keeps nobody else waiting: its senders and clients are asked to come again, and it is tried again. One
//! whose store fails later ends the server, as that of the default tenant does: a disk that loses what was written is no matter of one tenant.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::house::ingest_counts;
use super::settings::{MOST_WITH_CACHES, Settings};
use crate::access::{Gate, TenantEntry, TenantName};
use crate::admin::{TenantParts, Watched};
use crate::audit::{self, Audit, Who};
use crate::engine::{Engine, EngineSettings, LateEngine};
use crate::error::{Error, Result};
use crate::ingest::{Doors, Ingest};
use crate::server::Databases;
use crate::store::Store;

/// How often it is looked whether tenants have come, gone or changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a tenant is left alone after its store could not be opened.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// What tenants are opened with.
pub(super) struct With {
    pub(super) settings: Settings,
    pub(super) gate: Arc<Gate>,
    /// Of the default tenant.
    pub(super) store: Arc<Store>,
    pub(super) engine: Arc<Engine>,
    pub(super) doors: Doors,
    pub(super) databases: Databases,
    pub(super) watched: Arc<Watched>,
    pub(super) audit: Arc<Audit>,
}

/// The tenants of a running server.
pub(super) struct TenantsAtWork {
    task: JoinHandle<()>,
    end: CancellationToken,
    failed: mpsc::Receiver<Error>,
}

impl TenantsAtWork {
    /// Opens the tenants that there are, and follows what becomes of them.
    pub(super) async fn start(with: With) -> Self {
        let ((fails, failed), end) = (mpsc::channel(1), CancellationToken::new());
        let ended = end.clone();
        let mut work = Work { with, fails, open: BTreeMap::new(), left_alone: BTreeMap::new() };
        work.look().await;
        let task = tokio::spawn(async move {
            while ended.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
                work.look().await;
            }
            work.close_all().await;
        });
        Self { task, end, failed }
    }

    /// Waits until a tenant's store has failed for good.
    pub(super) async fn failed(&mut self) -> Error {
        match self.failed.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Closes all stores. Requests and sessions have ended by then.
    pub(super) async fn stop(self) {
        self.end.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "closing the stores of tenants failed");
        }
    }
}

struct Work {
    with: With,
    fails: mpsc::Sender<Error>,
    open: BTreeMap<TenantName, Open>,
    /// Tenants whose store could not be opened, and when that was.
    left_alone: BTreeMap<TenantName, Instant>,
}

/// A tenant that is open.
struct Open {
    entry: TenantEntry,
    store: Arc<Store>,
    door: Arc<Ingest>,
    engine: Arc<LateEngine>,
    has_caches: bool,
    watching: AbortHandle,
}

impl Work {
    /// Opens, changes and closes what the file says.
    async fn look(&mut self) {
        let tenants = self.with.gate.tenants();
        let gone: Vec<TenantName> = self.open.keys().filter(|name| !tenants.contains_key(*name)).cloned().collect();
        let mut is_new = !gone.is_empty();
        for name in gone {
            self.close(&name).await;
        }
        self.left_alone.retain(|name, since| tenants.contains_key(name) && since.elapsed() < RETRY_AFTER);
        for (name, entry) in tenants.iter() {
            let done = match self.open.get(name) {
                Some(open) if open.entry == *entry => continue,
                _ if self.left_alone.contains_key(name) => continue,
                Some(_) => self.change(name, entry).await,
                None => self.open(name, entry).await,
            };
            is_new = true;
            if let Err(error) = done {
                tracing::error!(tenant = %name, %error, retry_in = ?RETRY_AFTER, "cannot open the store of a tenant, or change it");
                self.left_alone.insert(name.clone(), Instant::now());
            }
        }
        if is_new {
            let parts = self.open.iter().map(|(name, open)| (name.to_string(), open.parts()));
            self.with.watched.tenants_are(parts.collect());
        }
    }

    async fn open(&mut self, name: &TenantName, entry: &TenantEntry) -> Result<()> {
        let with = &self.with;
        let has_caches = self.open.values().filter(|open| open.has_caches).count() < MOST_WITH_CACHES;
        let settings = with.settings.of_tenant(name, entry)?.with_part(entry, has_caches);
        make_private(&settings)?;
        let store = with.store.open_beside(&settings.data_dir, settings.store()).await?;
        let door = with.doors.open(name, store.clone(), with.settings.share(entry));
        let engine = self.engine(name, (&store, &door), settings.engine());
        self.with.databases.open(name, engine.clone());
        let (fails, watched) = (self.fails.clone(), store.clone());
        let watching = tokio::spawn(async move {
            let error = watched.poisoned().await;
            // One failure ends the server; a second one tells nothing new.
            let _ = fails.try_send(error);
        });
        let watching = watching.abort_handle();
        let open = Open { entry: entry.clone(), store, door, engine, has_caches, watching };
        self.open.insert(name.clone(), open);
        self.note(name, "opened");
        Ok(())
    }

    /// Takes over what is said of a tenant now.
    async fn change(&mut self, name: &TenantName, entry: &TenantEntry) -> Result<()> {
        let settings = self.with.settings.of_tenant(name, entry)?;
        let Some(open) = self.open.get(name) else { return Ok(()) };
        let (store, retention) = (open.store.clone(), settings.store().retention);
        let set = tokio::task::spawn_blocking(move || store.set_retention(retention)).await;
        set.map_err(|error| Error::internal(format!("changing the retention failed: {error}")))??;
        open.door.limit(self.with.settings.share(entry));
        if open.entry.query_memory_bytes != entry.query_memory_bytes {
            let engine = settings.with_part(entry, open.has_caches).engine();
            let engine = self.engine(name, (&open.store, &open.door), engine);
            // The sessions that are open hold memory of the old one.
            self.with.databases.close(name);
            self.with.databases.open(name, engine.clone());
            if let Some(open) = self.open.get_mut(name) {
                open.engine = engine;
            }
        }
        if let Some(open) = self.open.get_mut(name) {
            open.entry = entry.clone();
        }
        self.note(name, "changed");
        Ok(())
    }

    /// The engine over a tenant's store, which is made for its first session.
    fn engine(
        &self,
        name: &TenantName,
        (store, door): (&Arc<Store>, &Arc<Ingest>),
        settings: EngineSettings,
    ) -> Arc<LateEngine> {
        let (beside, store, door, name) = (self.with.engine.clone(), store.clone(), door.clone(), name.to_string());
        let audit = audit::folder(self.with.settings.home());
        LateEngine::new(move || {
            let engine = beside.beside(store.clone(), settings.clone())?;
            engine.show_audit_of(&name, audit.clone());
            let counted = door.clone();
            engine.count_ingest(move || ingest_counts(&counted));
            Ok(engine)
        })
    }

    async fn close(&mut self, name: &TenantName) {
        let Some(open) = self.open.remove(name) else { return };
        self.with.doors.close(name);
        self.with.databases.close(name);
        open.watching.abort();
        close_store(name, &open.store).await;
        self.note(name, "closed");
    }

    async fn close_all(&mut self) {
        let names: Vec<TenantName> = self.open.keys().cloned().collect();
        for name in names {
            self.close(&name).await;
        }
    }

    fn note(&self, name: &TenantName, what: &str) {
        tracing::info!(tenant = %name, "{what} the store of a tenant");
        self.with.audit.act(&Who { tenant: Some(name.to_string()), ..Who::default() }, "tenant", what);
    }
}

impl Open {
    fn parts(&self) -> TenantParts {
        TenantParts { store: self.store.clone(), engine: self.engine.clone(), ingest: self.door.clone() }
    }
}

async fn close_store(name: &TenantName, store: &Arc<Store>) {
    if let Err(error) = store.close().await {
        tracing::error!(tenant = %name, %error, "closing the store of a tenant ended badly");
    }
}

/// Makes a tenant's data directory, which is its owner's alone.
fn make_private(settings: &Settings) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&settings.data_dir);
    made.map_err(|error| Error::io(format!("cannot make {}", settings.data_dir.display()), error))
}
