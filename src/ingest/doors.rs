//! The front doors of a server: that of the default tenant, and one a tenant beside it, which come and go while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::front::Ingest;
use super::share::{Pool, ShareLimits};
use crate::access::TenantName;
use crate::error::{Error, Kind, Result};
use crate::store::Store;

/// When senders of a tenant shall come again whose store is not open yet: reading its log takes seconds.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The front doors of a server.
#[derive(Debug, Clone)]
pub struct Doors(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    own: Arc<Ingest>,
    pool: Arc<Pool>,
    tenants: ArcSwap<BTreeMap<TenantName, Arc<Ingest>>>,
    /// Held while `tenants` is replaced.
    changing: Mutex<()>,
}

impl Doors {
    /// The doors of a server whose own is `own`; the fresh spans of all tenants beside it may take `fresh_bytes` of memory.
    pub fn new(own: Arc<Ingest>, fresh_bytes: u64) -> Self {
        let pool = Pool::new(fresh_bytes);
        Self(Arc::new(Inner { own, pool, tenants: ArcSwap::default(), changing: Mutex::default() }))
    }

    /// The door of the default tenant.
    pub fn own(&self) -> &Arc<Ingest> {
        &self.0.own
    }

    /// A tenant's door; the default tenant's without a name.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] while its store is not open.
    pub(super) fn of(&self, tenant: Option<&TenantName>) -> Result<Arc<Ingest>> {
        let Some(name) = tenant else { return Ok(self.0.own.clone()) };
        let found = self.0.tenants.load().get(name).cloned();
        found.ok_or_else(|| {
            let message = format!("the store of the tenant {name} is not open; send again later");
            Error::new(Kind::Overloaded { retry_after: RETRY_AFTER }, message)
        })
    }

    /// Opens a tenant's door to its store.
    pub fn open(&self, name: &TenantName, store: Arc<Store>, limits: ShareLimits) -> Arc<Ingest> {
        let door = self.0.own.beside(store, &self.0.pool, limits);
        self.change(|tenants| drop(tenants.insert(name.clone(), door.clone())));
        door
    }

    /// Closes a tenant's door; requests that are under way there are finished.
    pub fn close(&self, name: &TenantName) {
        self.change(|tenants| drop(tenants.remove(name)));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<TenantName, Arc<Ingest>>)) {
        let _changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tenants = BTreeMap::clone(&self.0.tenants.load());
        change(&mut tenants);
        self.0.tenants.store(Arc::new(tenants));
    }
}

impl From<Arc<Ingest>> for Doors {
    /// The doors of a server without tenants.
    fn from(own: Arc<Ingest>) -> Self {
        Self::new(own, 0)
    }
}
