//! Users and tokens as a server has them in memory: one snapshot of the file, replaced whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use subtle::ConstantTimeEq;

use super::allowance::{Allowance, Pass};
use super::file::AccessFile;
use super::rights::Granted;
use super::role::Role;
use super::scram::{Key, Verifier, hmac};
use super::tenant::{Bound, TenantEntry, TenantName};
use super::token::{Digest, id_of};
use crate::error::Result;

/// Users and tokens.
#[derive(Default)]
pub(super) struct Known {
    users: HashMap<String, Arc<User>>,
    tokens: HashMap<String, Arc<Token>>,
    tenants: Arc<BTreeMap<TenantName, TenantEntry>>,
    /// What all senders of a tenant may send.
    allowances: HashMap<TenantName, Arc<Allowance>>,
    mock_key: Key,
}

/// A user.
pub(super) struct User {
    pub verifier: Verifier,
    pub roles: BTreeSet<Role>,
    pub tenant: Option<TenantName>,
    pub granted: Arc<Granted>,
    /// A digest of the password that fitted last: who sends it with each request is not made to wait for a slow hash each time.
    fitted: Mutex<Option<Key>>,
}

/// A token.
pub(super) struct Token {
    pub id: String,
    pub digest: Digest,
    pub role: Role,
    pub tenant: Option<TenantName>,
    pub allowance: Option<Arc<Allowance>>,
}

impl Known {
    /// Takes over what a file says; tokens and tenants whose rate stays keep what they have sent of it.
    pub fn new(file: &AccessFile, before: &Self) -> Self {
        let users = file.users.iter().map(|(name, entry)| {
            let user = User {
                verifier: entry.verifier.clone(),
                roles: entry.roles.clone(),
                tenant: entry.tenant.clone(),
                granted: Arc::new(Granted {
                    is_admin: entry.roles.contains(&Role::Admin),
                    rights: entry.rights.clone(),
                    limits: entry.limits,
                }),
                fitted: Mutex::default(),
            };
            (name.clone(), Arc::new(user))
        });
        let tokens = file.tokens.iter().map(|(id, entry)| {
            let old = before.tokens.get(id).and_then(|token| token.allowance.as_ref());
            let allowance = entry.spans_per_second.map(|rate| of_rate(rate, old));
            let (digest, role, tenant) = (entry.sha256, entry.role, entry.tenant.clone());
            (id.clone(), Arc::new(Token { id: id.clone(), digest, role, tenant, allowance }))
        });
        let allowances = file.tenants.iter().filter_map(|(name, entry)| {
            let allowance = of_rate(entry.spans_per_second?, before.allowances.get(name));
            Some((name.clone(), allowance))
        });
        Self {
            users: users.collect(),
            tokens: tokens.collect(),
            tenants: Arc::new(file.tenants.clone()),
            allowances: allowances.collect(),
            mock_key: file.mock_key().unwrap_or_default(),
        }
    }

    pub fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether there is a user, a token or a tenant.
    pub fn has_anybody(&self) -> bool {
        self.has_users() || !self.tokens.is_empty() || !self.tenants.is_empty()
    }

    pub fn tenants(&self) -> &Arc<BTreeMap<TenantName, TenantEntry>> {
        &self.tenants
    }

    pub fn has_tenant(&self, name: &str) -> bool {
        self.tenants.contains_key(name)
    }

    /// The pass to a tenant within its rate.
    pub fn pass_to(&self, tenant: Option<TenantName>) -> Result<Pass> {
        let Some(name) = tenant else { return Ok(Pass::to(None)) };
        let (who, allowance) = (format!("the tenant {name}"), self.allowances.get(&name));
        Pass::to(Some(name)).within(&who, allowance)
    }

    /// Whether somebody was given the right to send spans, so that all others have none.
    pub fn names_senders(&self) -> bool {
        !self.tokens.is_empty() || self.users.values().any(|user| Role::Ingest.is_in(&user.roles))
    }

    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// The verifier for a name, whether or not there is such a user.
    pub fn verifier(&self, name: &str) -> (Verifier, bool) {
        match self.users.get(name) {
            Some(user) => (user.verifier.clone(), true),
            None => (Verifier::nobody(&self.mock_key, name), false),
        }
    }

    /// The token that has this text.
    pub fn token(&self, text: &str) -> Option<&Arc<Token>> {
        let presented = Digest::of(text);
        self.tokens.get(id_of(text)?).filter(|token| token.digest.is(&presented))
    }
}

/// An allowance of a rate: the one before where that had the same.
fn of_rate(rate: u64, before: Option<&Arc<Allowance>>) -> Arc<Allowance> {
    let same = before.filter(|before| before.spans_per_second() == rate);
    same.cloned().unwrap_or_else(|| Arc::new(Allowance::new(rate, Instant::now())))
}

impl User {
    /// Whose spans it may come to.
    pub fn bound(&self) -> Bound<'_> {
        Bound::of(self.tenant.as_ref(), self.roles.contains(&Role::Admin))
    }

    /// Whether the password is the one that fitted last.
    pub fn fitted_last(&self, key: &Key, password: &str) -> bool {
        let digest = hmac(key, password.as_bytes());
        let fitted = self.fitted.lock().unwrap_or_else(PoisonError::into_inner);
        fitted.is_some_and(|fitted| fitted.ct_eq(&digest).into())
    }

    /// Remembers the password that fits.
    pub fn fits(&self, key: &Key, password: &str) {
        *self.fitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(hmac(key, password.as_bytes()));
    }
}
