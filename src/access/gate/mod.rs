//! The gate that all listeners share: encryption where it is due, users for statements, tokens for spans.

mod exports;
mod sessions;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::doorstep::{ConnectionCounts, Doorstep, Guest, Listener};
use super::failures::Failures;
use super::file::AccessFile;
use super::known::Known;
use super::peer::Peer;
use super::plaintext::Plaintext;
use super::scram::Key;
use super::stream::Stream;
use super::tenant::{TenantEntry, TenantName};
use super::tls::{Protocol, Tls, TlsFiles};
use super::watched::{Signature, Watched};
use crate::audit::{Audit, Who};
use crate::error::{Error, Kind, Result};

pub use exports::Credential;
pub use sessions::Login;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The first byte of TLS: a handshake record.
const TLS_RECORD: u8 = 0x16;
/// Passwords that are hashed at once, of those that come with requests: each takes milliseconds of a core, and anybody may ask for it.
const HASHED_AT_ONCE: usize = 1;

/// What a user may set about who comes in.
#[derive(Debug, Clone, Default)]
pub struct GateSettings {
    pub tls: Option<TlsFiles>,
    pub plaintext: Plaintext,
}

/// Decides who comes in.
pub struct Gate {
    plaintext: Plaintext,
    tls: Option<Tls>,
    /// Where users and tokens lie, if anywhere.
    data_dir: Option<PathBuf>,
    known: ArcSwap<Known>,
    seen: Mutex<Watched<Signature>>,
    failures: Failures,
    doorstep: Arc<Doorstep>,
    audit: OnceLock<Arc<Audit>>,
    hashing: Arc<Semaphore>,
    /// Of this process alone, for digests that leave it never.
    key: Key,
}

impl Gate {
    /// Reads certificates, and users and tokens of a data directory, which need not be there yet.
    ///
    /// # Errors
    /// When a file cannot be used; the text names it and says why.
    pub fn open(data_dir: &Path, settings: GateSettings) -> Result<Arc<Self>> {
        let seen = Signature::of(&AccessFile::path(data_dir));
        let known = Known::new(&AccessFile::read(data_dir)?, &Known::default());
        let tls = settings.tls.map(Tls::open).transpose()?;
        Ok(Arc::new(Self {
            tls,
            data_dir: Some(data_dir.to_owned()),
            known: ArcSwap::from_pointee(known),
            seen: Mutex::new(Watched::new(Some(seen))),
            ..Self::without_users(settings.plaintext)
        }))
    }

    /// A gate without users, tokens and certificates: clients of this machine may do everything.
    pub fn for_this_machine() -> Arc<Self> {
        Arc::new(Self::without_users(Plaintext::default()))
    }

    fn without_users(plaintext: Plaintext) -> Self {
        Self {
            plaintext,
            tls: None,
            data_dir: None,
            known: ArcSwap::default(),
            seen: Mutex::new(Watched::new(None)),
            failures: Failures::default(),
            doorstep: Arc::default(),
            audit: OnceLock::new(),
            hashing: Arc::new(Semaphore::new(HASHED_AT_ONCE)),
            key: rand::random(),
        }
    }

    /// Tells `audit` of exports that are refused, and of new users and tokens, from now on; only the first call has an effect.
    pub fn tell(&self, audit: Arc<Audit>) {
        let _ = self.audit.set(audit);
    }

    /// Takes over what changes in the files, until `shutdown`.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let gate = self.clone();
            let looked = tokio::task::spawn_blocking(move || gate.look()).await;
            if let Err(error) = looked {
                tracing::error!("looking for new users and certificates failed: {error}");
            }
        }
    }

    /// Reads the files that have changed; one that cannot be used is told once, and what it said before stays in force. So do users and
    /// tokens whose file is gone: a server that asked for passwords does not let everybody in for that.
    pub fn look(&self) {
        if let Some(tls) = &self.tls {
            tls.look();
        }
        let Some(data_dir) = &self.data_dir else { return };
        let now = Signature::of(&AccessFile::path(data_dir));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = seen.look(now, || self.take(data_dir)) {
            tracing::error!("the users and tokens in use stay, as the new ones cannot be read: {error}");
        }
    }

    /// Takes over the users and tokens of the file.
    fn take(&self, data_dir: &Path) -> Result<()> {
        let file = match AccessFile::read_if_there(data_dir)? {
            None if self.known.load().has_anybody() => {
                let message = format!("{} is gone", AccessFile::path(data_dir).display());
                return Err(Error::new(Kind::NotFound, message));
            }
            file => file.unwrap_or_default(),
        };
        self.known.store(Arc::new(Known::new(&file, &self.known.load())));
        let (users, tokens) = (file.users.len(), file.tokens.len());
        tracing::info!(users, tokens, "took new users and tokens");
        if let Some(audit) = self.audit.get() {
            let detail = format!("users and tokens changed: {users} users, {tokens} tokens");
            audit.act(&Who::default(), "access", &detail);
        }
        Ok(())
    }

    /// The certificates, where there are some.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Passwords, tokens and proofs that were wrong, since the start.
    pub fn failures(&self) -> u64 {
        self.failures.total()
    }

    /// Takes a new connection, which counts while the [`Guest`] lives; `sent_away` is cancelled when it has to make room before it was let in.
    pub fn arrives(&self, listener: Listener, address: SocketAddr, sent_away: CancellationToken) -> Guest {
        self.doorstep.arrives(listener, address.ip(), sent_away)
    }

    /// The connections that there are.
    pub fn connections(&self) -> ConnectionCounts {
        self.doorstep.counts()
    }

    /// Whether whoever reaches a listener for spans may send some.
    pub fn takes_spans_of_anybody(&self) -> bool {
        !self.known.load().names_senders() && !self.tls.as_ref().is_some_and(Tls::takes_client_certificates)
    }

    /// Begins encryption if the client does, on a port that takes both. One that comes without is let in and told in its own terms
    /// that it may not be.
    pub async fn open_stream(&self, stream: TcpStream, address: SocketAddr) -> io::Result<(Stream, Peer)> {
        let stream = match &self.tls {
            Some(tls) if begins_with_tls(&stream).await? => tls.accept(Protocol::Otlp, stream).await?.0,
            _ => Stream::Plain(stream),
        };
        let peer = Peer::of(&stream, address);
        Ok((stream, peer))
    }

    /// Counts and tells a failure, and waits as long as its answer has to.
    pub async fn failed(&self, peer: &Peer, error: &Error) {
        let (delay, count) = self.failures.note(peer.ip(), Instant::now());
        tracing::warn!(address = %peer.address, failures = count, "refused a client: {:?}", error.message);
        tokio::time::sleep(delay).await;
    }

    /// Whether a password or proof of this client may be judged now.
    ///
    /// # Errors
    /// [`Kind::OverRate`] while the answers to many wrong ones of its address wait.
    pub fn may_try(&self, peer: &Peer) -> Result<()> {
        self.failures.may_try(peer.ip(), Instant::now()).map_err(|retry_after| {
            let message = format!("too many wrong passwords came from {}; try again in a few seconds", peer.ip());
            Error::new(Kind::OverRate { retry_after }, message).with_sqlstate("53300")
        })
    }

    /// The tenants that there are now.
    pub fn tenants(&self) -> Arc<BTreeMap<TenantName, TenantEntry>> {
        self.known.load().tenants().clone()
    }

    fn check_encryption(&self, peer: &Peer) -> Result<()> {
        let may_be_plain = match self.plaintext {
            Plaintext::Never => false,
            Plaintext::Loopback => peer.ip().is_loopback(),
            Plaintext::Anywhere => true,
        };
        if peer.is_encrypted || may_be_plain {
            return Ok(());
        }
        let message = format!("the connection from {} is not encrypted, and this server takes TLS only", peer.ip());
        Err(Error::new(Kind::Denied, message).with_hint("use sslmode=require or https://"))
    }

    /// Whether somebody who reads the server's figures may come as it does. Without a certificate there is nothing else than plaintext, and a
    /// command on this machine may always.
    ///
    /// # Errors
    /// [`Kind::Denied`] for another machine that comes without TLS where it could.
    pub fn check_watcher(&self, peer: &Peer) -> Result<()> {
        match self.tls {
            Some(_) if !peer.ip().is_loopback() => self.check_encryption(peer),
            _ => Ok(()),
        }
    }
}

/// Whether the first byte of a connection is one of TLS; waits for that byte and takes it not.
pub async fn begins_with_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first == [TLS_RECORD])
}

#[cfg(test)]
mod tests;
