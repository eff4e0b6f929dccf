//! The databases that clients may ask for: that of the default tenant, and one a tenant, which come and go while the server runs. A session is
//! in one of them and knows of no other.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_util::sync::CancellationToken;

use crate::access::TenantName;
use crate::engine::{Engine, LateEngine};
use crate::error::{Error, Kind, Result};

/// The databases of a server.
#[derive(Debug, Clone)]
pub struct Databases(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    own: Arc<Engine>,
    tenants: RwLock<BTreeMap<TenantName, Open>>,
}

/// A tenant's database.
#[derive(Debug, Clone)]
struct Open {
    engine: Arc<LateEngine>,
    /// Ends its sessions.
    end: CancellationToken,
}

impl Databases {
    /// The default tenant's database.
    pub fn own(&self) -> &Arc<Engine> {
        &self.0.own
    }

    /// Opens a tenant's database, whose engine is made for the first session.
    pub fn open(&self, tenant: &TenantName, engine: Arc<LateEngine>) {
        let open = Open { engine, end: CancellationToken::new() };
        self.0.tenants.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), open);
    }

    /// Closes a tenant's database and ends its sessions.
    pub fn close(&self, tenant: &TenantName) {
        let closed = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        if let Some(Open { end, .. }) = closed {
            end.cancel();
        }
    }

    /// A tenant's database with what ends a session of it; the default tenant's without a name, where `shutdown` does.
    ///
    /// # Errors
    /// 57P03 while it is not open, 53300 when it has `most_sessions` already.
    pub(super) async fn of(
        &self,
        tenant: Option<&TenantName>,
        most_sessions: usize,
        shutdown: &CancellationToken,
    ) -> Result<(Arc<Engine>, CancellationToken)> {
        let Some(name) = tenant else { return Ok((self.0.own.clone(), shutdown.child_token())) };
        let open = self.0.tenants.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let Some(Open { engine, end }) = open else {
            let message = format!("the database \"{name}\" is not open; try again later");
            return Err(Error::new(Kind::Closed, message).with_sqlstate("57P03"));
        };
        let engine = engine.get().await?;
        if engine.activity().sessions() >= most_sessions {
            let message = format!("too many connections for database \"{name}\"");
            return Err(Error::new(Kind::TooLarge, message).with_sqlstate("53300"));
        }
        Ok((engine, end.child_token()))
    }

    /// Cancels what a session runs, of whichever database, if the secret is right.
    pub(super) fn cancel_with_secret(&self, process_id: i32, secret: i32) {
        self.0.own.activity().cancel_with_secret(process_id, secret);
        for open in self.0.tenants.read().unwrap_or_else(PoisonError::into_inner).values() {
            if let Some(engine) = open.engine.made() {
                engine.activity().cancel_with_secret(process_id, secret);
            }
        }
    }

    /// Ends the sessions of all tenants, as the server's end does those of the default one.
    pub(super) fn end_all(&self) {
        for open in self.0.tenants.read().unwrap_or_else(PoisonError::into_inner).values() {
            open.end.cancel();
        }
    }
}

impl From<Arc<Engine>> for Databases {
    /// The databases of a server without tenants.
    fn from(own: Arc<Engine>) -> Self {
        Self(Arc::new(Inner { own, tenants: RwLock::default() }))
    }
}
