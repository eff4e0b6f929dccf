//! Who may send spans.

use super::Gate;
use crate::access::allowance::Pass;
use crate::access::known::Known;
use crate::access::peer::Peer;
use crate::access::role::Role;
use crate::access::scram::wrong_password;
use crate::access::tenant::Bound;
use crate::audit::Who;
use crate::error::{Error, Kind, Result};

/// What a sender of spans shows.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    None,
    Token(&'a str),
    Password { user: &'a str, password: &'a str },
}

impl Gate {
    /// Lets an export in, or not. `tenant` is the one that it asks for.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`], [`Kind::Denied`] or [`Kind::OverRate`].
    pub async fn admit_export(&self, peer: &Peer, credential: Credential<'_>, tenant: Option<&str>) -> Result<Pass> {
        let admitted = self.judge_export(peer, credential, tenant).await;
        // One that comes too often is let in again in a moment.
        if let (Err(error @ Error { kind: Kind::Unauthenticated | Kind::Denied, .. }), Some(audit)) =
            (&admitted, self.audit.get())
        {
            let user = match credential {
                Credential::Password { user, .. } => Some(user.to_owned()),
                Credential::None | Credential::Token(_) => None,
            };
            audit.turned_away(&Who { user, address: Some(peer.address), tenant: None }, "export", error);
        }
        admitted
    }

    async fn judge_export(&self, peer: &Peer, credential: Credential<'_>, asked: Option<&str>) -> Result<Pass> {
        self.check_encryption(peer)?;
        let known = self.known.load_full();
        let mut of_token = None;
        let bound = match credential {
            _ if self.takes_spans_of_anybody() => Bound::Free,
            Credential::Token(text) => match known.token(text) {
                Some(token) if token.role == Role::Ingest || token.role == Role::Admin => {
                    of_token = token.allowance.as_ref().map(|allowance| (format!("the token {}", token.id), allowance));
                    Bound::of(token.tenant.as_ref(), token.role == Role::Admin)
                }
                Some(token) => return Err(may_not_send(&format!("the token {}", token.id))),
                None => {
                    let error = Error::new(Kind::Unauthenticated, "the token is not known here");
                    self.failed(peer, &error).await;
                    return Err(error);
                }
            },
            Credential::Password { user, password } => {
                if !self.password_fits(peer, &known, user, password).await? {
                    let error = wrong_password(user);
                    self.failed(peer, &error).await;
                    return Err(error);
                }
                match known.user(user).filter(|found| Role::Ingest.is_in(&found.roles)) {
                    Some(found) => found.bound(),
                    None => return Err(may_not_send(&format!("user \"{user}\""))),
                }
            }
            Credential::None => match &peer.certificate {
                // One that names no user is of the default tenant.
                Some(certificate) => {
                    let user = certificate.name.as_deref().and_then(|name| known.user(name));
                    user.map_or(Bound::To(None), |user| user.bound())
                }
                None => {
                    let message = "spans are taken with a token only: send the header `authorization: Bearer TOKEN`";
                    let hint = "`spanhouse token add ID` on the server's machine makes one";
                    return Err(Error::new(Kind::Unauthenticated, message).with_hint(hint));
                }
            },
        };
        let pass = known.pass_to(bound.of_export(asked, |name| known.has_tenant(name))?)?;
        match of_token {
            Some((who, allowance)) => pass.within(&who, Some(allowance)),
            None => Ok(pass),
        }
    }

    /// Whether a password fits; takes as long for a user that is not there.
    async fn password_fits(&self, peer: &Peer, known: &Known, name: &str, password: &str) -> Result<bool> {
        let user = known.user(name);
        if user.is_some_and(|user| user.fitted_last(&self.key, password)) {
            return Ok(true);
        }
        let (verifier, is_known) = known.verifier(name);
        let (hashing, given) = (self.hashing.clone(), password.to_owned());
        let Ok(_permit) = hashing.acquire().await else { return Ok(false) };
        self.may_try(peer)?;
        let fits = tokio::task::spawn_blocking(move || verifier.fits(&given)).await.unwrap_or(false) && is_known;
        if let (true, Some(user)) = (fits, user) {
            user.fits(&self.key, password);
        }
        Ok(fits)
    }
}

fn may_not_send(who: &str) -> Error {
    Error::new(Kind::Denied, format!("{who} may not send spans: it lacks the role ingest"))
}
