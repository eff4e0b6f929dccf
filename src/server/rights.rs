//! What a session's user may do: asked of the gate before each statement, so that a change holds for sessions that are open.

use std::sync::Arc;
use std::time::Duration;

use super::connection::Connection;
use crate::access::{Gate, Granted, TenantName};
use crate::engine::{Client, Masks, Rights, Session, Sight};
use crate::error::{Error, Kind, Result};

/// Asks what the user of a session may do, and holds the session to it.
pub(super) struct Standing {
    gate: Arc<Gate>,
    client: Client,
    /// Whose spans it is about.
    tenant: Option<TenantName>,
    granted: Arc<Granted>,
}

impl Standing {
    /// What a client may do that has just come in; `sessions` are those of its user, this one included.
    ///
    /// # Errors
    /// 53300 where its user has as many as it may have.
    pub fn new(
        gate: Arc<Gate>,
        (client, tenant): (Client, Option<TenantName>),
        session: &Session,
        sessions: usize,
    ) -> Result<Self> {
        let granted = granted(&gate, &client, tenant.as_ref())?;
        if granted.limits.connections.is_some_and(|most| sessions > most) {
            let message = format!("too many connections for role \"{}\"", client.user);
            return Err(Error::new(Kind::TooLarge, message).with_sqlstate("53300"));
        }
        session.set_rights(rights(&granted)?);
        Ok(Self { gate, client, tenant, granted })
    }
}

impl Connection {
    /// Holds what comes next to what the user may do by now. Results that were begun under other rights end.
    pub(super) fn take_rights(&mut self) -> Result<()> {
        let standing = &mut self.standing;
        let now = granted(&standing.gate, &standing.client, standing.tenant.as_ref())?;
        if Arc::ptr_eq(&now, &standing.granted) {
            return Ok(());
        }
        if now != standing.granted {
            self.session.set_rights(rights(&now)?);
            self.named.drop_all_portals();
        }
        standing.granted = now;
        Ok(())
    }
}

fn granted(gate: &Gate, client: &Client, tenant: Option<&TenantName>) -> Result<Arc<Granted>> {
    let address = client.address.ok_or_else(|| Error::internal("a client of the wire without an address"))?;
    let granted = gate.granted(&client.user, address)?;
    gate.may_stay(&client.user, tenant)?;
    Ok(granted)
}

/// The same in the engine's words.
fn rights(granted: &Granted) -> Result<Rights> {
    let (sees, limits) = (&granted.rights, granted.limits);
    let sight = match sees.is_everything() {
        true => None,
        false => Some(Arc::new(Sight {
            services: sees.services.clone(),
            resources: sees.resources.clone(),
            masks: Masks::new(sees.masks.iter().cloned())?,
        })),
    };
    Ok(Rights {
        is_admin: granted.is_admin,
        sight,
        memory_bytes: limits.memory_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        statement_timeout: limits.statement_timeout_ms.map(Duration::from_millis),
    })
}
