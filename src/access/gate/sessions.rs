//! Who may ask statements, and about whose spans.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Gate;
use crate::access::known::Known;
use crate::access::peer::Peer;
use crate::access::rights::Granted;
use crate::access::role::Role;
use crate::access::scram::{Exchange, Verifier, wrong_password};
use crate::access::tenant::{Bound, TenantName};
use crate::error::{Error, Kind, Result};

/// A user who has to prove a password.
#[derive(Debug)]
pub struct Login {
    user: String,
    verifier: Verifier,
    pub(super) is_known: bool,
}

impl Login {
    /// Begins the exchange; gives it with the answer to the client's first message.
    pub fn begin(self, mechanism: &str, end_point: Option<&[u8]>, client_first: &[u8]) -> Result<(Exchange, String)> {
        Exchange::begin((&self.user, self.verifier, self.is_known), mechanism, end_point, client_first)
    }
}

impl Gate {
    /// Lets a user try: gives the login that has to be proved, or nothing where there is nothing to prove: its certificate names it, or no
    /// user is set up and the client is of this machine.
    ///
    /// # Errors
    /// 28000 for a client that may not try.
    pub fn admit_session(&self, peer: &Peer, user: &str) -> Result<Option<Login>> {
        self.check_encryption(peer).map_err(|error| error.with_sqlstate("28000"))?;
        let known = self.known.load();
        if known.has_users() {
            if known.user(user).is_some() && peer.is_certified_as(user) {
                return self.may_ask(user).map(|()| None);
            }
            let (verifier, is_known) = known.verifier(user);
            return Ok(Some(Login { user: user.to_owned(), verifier, is_known }));
        }
        if peer.ip().is_loopback() {
            return Ok(None);
        }
        let message =
            format!("no password is set up, so only clients of this machine are let in, and {} is not", peer.ip());
        let hint = "set one up with `spanhouse user add NAME --role reader` on the server's machine";
        Err(Error::new(Kind::Unauthenticated, message).with_sqlstate("28000").with_hint(hint))
    }

    /// Whether a user who has proved who it is may ask statements.
    ///
    /// # Errors
    /// 28000 when not.
    pub fn may_ask(&self, user: &str) -> Result<()> {
        let known = self.known.load();
        match known.user(user) {
            Some(found) if Role::Reader.is_in(&found.roles) => Ok(()),
            Some(_) => {
                let message = format!("user \"{user}\" is not permitted to ask statements");
                let hint = format!("`spanhouse user grant {user} reader` permits it");
                Err(Error::new(Kind::Denied, message).with_sqlstate("28000").with_hint(hint))
            }
            // Dropped since the exchange began.
            None => Err(wrong_password(user)),
        }
    }

    /// What somebody who came in as `user` may do by now.
    ///
    /// # Errors
    /// 42501 for one who may not ask statements any more.
    pub fn granted(&self, user: &str, address: SocketAddr) -> Result<Arc<Granted>> {
        let known = self.known.load();
        match known.user(user) {
            Some(found) if Role::Reader.is_in(&found.roles) => Ok(found.granted.clone()),
            None if !known.has_users() && address.ip().to_canonical().is_loopback() => Ok(Granted::everything()),
            _ => {
                let message = format!("user \"{user}\" is not permitted to ask statements any more");
                Err(Error::new(Kind::Denied, message))
            }
        }
    }

    /// Whose spans a session is about that was let in, where `database` is what its client asks for.
    ///
    /// # Errors
    /// 3D000 when that is not the user's.
    pub fn tenant_of_session(&self, user: &str, database: &str) -> Result<Option<TenantName>> {
        let known = self.known.load();
        let bound = bound(&known, user)?;
        bound.of_session(user, database, |name| known.has_tenant(name), !known.tenants().is_empty())
    }

    /// Whether a session of a user may go on that is about the spans of `tenant`.
    ///
    /// # Errors
    /// 42501 when it may not any more.
    pub fn may_stay(&self, user: &str, tenant: Option<&TenantName>) -> Result<()> {
        let known = self.known.load();
        bound(&known, user)?.may_stay(tenant, |name| known.has_tenant(name))
    }
}

/// Whose spans a session of a user may be about.
fn bound<'a>(known: &'a Known, user: &str) -> Result<Bound<'a>> {
    match known.user(user) {
        Some(user) => Ok(user.bound()),
        None if known.has_users() => Err(wrong_password(user)),
        None => Ok(Bound::Free),
    }
}
