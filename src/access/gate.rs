//! The gate that all listeners share: encryption where it is due, users for statements, tokens for spans.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::allowance::Pass;
use super::doorstep::{ConnectionCounts, Doorstep, Guest, Listener};
use super::failures::Failures;
use super::file::AccessFile;
use super::known::Known;
use super::rights::Granted;
use super::role::Role;
use super::scram::{Exchange, Key, Verifier, wrong_password};
use super::stream::{ClientCertificate, Stream};
use super::tenant::{Bound, TenantEntry, TenantName};
use super::tls::{Protocol, Tls, TlsFiles};
use super::watched::{Signature, Watched};
use crate::audit::{Audit, Who};
use crate::error::{Error, Kind, Result};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The first byte of TLS: a handshake record.
const TLS_RECORD: u8 = 0x16;
/// Passwords that are hashed at once, of those that come with requests: each takes milliseconds of a core, and anybody may ask for it.
const HASHED_AT_ONCE: usize = 1;

/// From where clients may come without encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plaintext {
    Never,
    /// From this machine.
    #[default]
    Loopback,
    Anywhere,
}

impl FromStr for Plaintext {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self::Never),
            "loopback" => Ok(Self::Loopback),
            "anywhere" => Ok(Self::Anywhere),
            _ => Err(format!("\"{text}\" is none of never, loopback and anywhere")),
        }
    }
}

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

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    pub is_encrypted: bool,
    /// What it showed of an authority for clients.
    pub certificate: Option<ClientCertificate>,
}

impl Peer {
    /// The client of a connection.
    pub fn of(stream: &Stream, address: SocketAddr) -> Self {
        Self { address, is_encrypted: stream.is_encrypted(), certificate: stream.client_certificate() }
    }

    /// Whether its certificate says that it is `user`.
    fn is_certified_as(&self, user: &str) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.name.as_deref() == Some(user))
    }

    fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}

/// What a sender of spans shows.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    None,
    Token(&'a str),
    Password { user: &'a str, password: &'a str },
}

/// A user who has to prove a password.
#[derive(Debug)]
pub struct Login {
    user: String,
    verifier: Verifier,
    is_known: bool,
}

impl Login {
    /// Begins the exchange; gives it with the answer to the client's first message.
    pub fn begin(self, mechanism: &str, end_point: Option<&[u8]>, client_first: &[u8]) -> Result<(Exchange, String)> {
        Exchange::begin((&self.user, self.verifier, self.is_known), mechanism, end_point, client_first)
    }
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

/// Whose spans a session of a user may be about.
fn bound<'a>(known: &'a Known, user: &str) -> Result<Bound<'a>> {
    match known.user(user) {
        Some(user) => Ok(user.bound()),
        None if known.has_users() => Err(wrong_password(user)),
        None => Ok(Bound::Free),
    }
}

/// Whether the first byte of a connection is one of TLS; waits for that byte and takes it not.
pub async fn begins_with_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first == [TLS_RECORD])
}

fn may_not_send(who: &str) -> Error {
    Error::new(Kind::Denied, format!("{who} may not send spans: it lacks the role ingest"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::access::file::{TokenEntry, UserEntry};
    use crate::access::token::NewToken;

    struct Folder {
        folder: tempfile::TempDir,
        gate: Arc<Gate>,
    }

    impl Folder {
        fn new(plaintext: Plaintext) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let gate = Gate::open(folder.path(), GateSettings { tls: None, plaintext }).expect("a gate");
            Self { folder, gate }
        }

        fn edit(&self, change: impl FnOnce(&mut AccessFile)) {
            let edited = AccessFile::edit(self.folder.path(), |file| {
                change(file);
                Ok(())
            });
            edited.expect("written");
            self.gate.look();
        }

        fn user(&self, name: &str, roles: &[Role]) {
            let roles = roles.iter().copied().collect::<BTreeSet<_>>();
            let verifier = Verifier::of_password(&format!("{name}'s"));
            self.edit(|file| drop(file.users.insert(name.into(), UserEntry::new(verifier, roles))));
        }

        fn token(&self, id: &str, role: Role, spans_per_second: Option<u64>) -> String {
            let NewToken { text, digest } = NewToken::new(id);
            self.edit(|file| {
                file.tokens.insert(id.into(), TokenEntry { sha256: digest, role, spans_per_second, tenant: None });
            });
            text
        }

        async fn export(&self, peer: &Peer, credential: Credential<'_>) -> Result<Pass, Kind> {
            self.gate.admit_export(peer, credential, None).await.map_err(|error| error.kind)
        }
    }

    fn peer(address: &str, is_encrypted: bool) -> Peer {
        Peer { address: SocketAddr::new(address.parse().expect("an address"), 9), is_encrypted, certificate: None }
    }

    #[test]
    fn without_users_only_this_machine_asks_and_with_users_all_prove_themselves() {
        let house = Folder::new(Plaintext::Anywhere);
        let admit = |address| house.gate.admit_session(&peer(address, false), "ada");
        for near in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(admit(near).expect("let in").is_none(), "{near}");
        }
        let error = admit("192.0.2.7").expect_err("far away");
        assert_eq!(error.sqlstate(), "28000");
        assert!(error.hint.is_some_and(|hint| hint.contains("spanhouse user add")));
        house.user("ada", &[Role::Reader]);
        house.user("bot", &[Role::Ingest]);
        for from in ["127.0.0.1", "192.0.2.7"] {
            assert!(admit(from).expect("may try").expect("a login").is_known, "{from}");
        }
        let stranger = house.gate.admit_session(&peer("127.0.0.1", false), "eve").expect("may try").expect("a login");
        assert!(!stranger.is_known);
        let shows = |name: &str, user| {
            let certificate = Some(ClientCertificate { name: Some(name.to_owned()) });
            house.gate.admit_session(&Peer { certificate, ..peer("192.0.2.7", true) }, user)
        };
        assert!(shows("ada", "ada").expect("let in").is_none(), "its certificate names it");
        assert!(shows("ada", "eve").expect("may try").is_some() && shows("eve", "eve").expect("may try").is_some());
        assert_eq!(shows("bot", "bot").expect_err("sends only").sqlstate(), "28000");
        assert!(house.gate.may_ask("ada").is_ok());
        assert_eq!(house.gate.may_ask("bot").expect_err("sends only").sqlstate(), "28000");
        assert_eq!(house.gate.may_ask("eve").expect_err("not there").sqlstate(), "28P01");
    }

    #[tokio::test]
    async fn row_15_an_export_needs_what_lets_it_in() {
        let house = Folder::new(Plaintext::Anywhere);
        let near = peer("127.0.0.1", false);
        assert!(house.export(&near, Credential::None).await.is_ok(), "nobody was named yet");
        house.user("ada", &[Role::Reader]);
        assert!(house.export(&near, Credential::None).await.is_ok(), "who reads is no matter of who sends");
        let shop = house.token("shop", Role::Ingest, None);
        let reads = house.token("reads", Role::Reader, None);
        let admin = house.token("admin", Role::Admin, None);
        house.user("bot", &[Role::Ingest]);
        let password = |user, password| Credential::Password { user, password };
        let forged = shop.replacen("shop", "admin", 1);
        let tried = [
            (Credential::None, Err(Kind::Unauthenticated)),
            (Credential::Token(""), Err(Kind::Unauthenticated)),
            (Credential::Token("sph_shop."), Err(Kind::Unauthenticated)),
            (Credential::Token(&forged), Err(Kind::Unauthenticated)),
            (Credential::Token(&shop[..shop.len() - 1]), Err(Kind::Unauthenticated)),
            (Credential::Token(&shop), Ok(())),
            (Credential::Token(&admin), Ok(())),
            (Credential::Token(&reads), Err(Kind::Denied)),
            (password("bot", "bot's"), Ok(())),
            (password("bot", "bot's"), Ok(())),
            (password("bot", "ada's"), Err(Kind::Unauthenticated)),
            (password("ada", "ada's"), Err(Kind::Denied)),
            (password("eve", "eve's"), Err(Kind::Unauthenticated)),
        ];
        for (number, (credential, wanted)) in tried.into_iter().enumerate() {
            let passed = house.export(&near, credential).await.map(drop);
            assert_eq!(passed, wanted, "credential {number}");
        }
        let certified = Peer { certificate: Some(ClientCertificate { name: None }), ..near.clone() };
        assert!(house.export(&certified, Credential::None).await.is_ok());
        assert_eq!(house.gate.failures(), 6, "what was not even tried is no failure");
        house.edit(|file| {
            file.tokens.remove("shop");
        });
        assert_eq!(
            house.export(&near, Credential::Token(&shop)).await.map(drop),
            Err(Kind::Unauthenticated),
            "dropped"
        );
        house.user("bot", &[Role::Reader]);
        assert_eq!(house.export(&near, password("bot", "bot's")).await.map(drop), Err(Kind::Denied), "revoked");
    }

    #[tokio::test]
    async fn an_admin_is_one_who_sends() {
        let house = Folder::new(Plaintext::Loopback);
        let near = peer("127.0.0.1", false);
        house.user("root", &[Role::Admin]);
        assert_eq!(house.export(&near, Credential::None).await.map(drop), Err(Kind::Unauthenticated));
        let password = Credential::Password { user: "root", password: "root's" };
        assert!(house.export(&near, password).await.is_ok());
    }

    #[tokio::test]
    async fn a_rate_holds_across_new_versions_of_the_file() {
        let house = Folder::new(Plaintext::Loopback);
        let near = peer("::1", false);
        let slow = house.token("slow", Role::Ingest, Some(1));
        house.export(&near, Credential::Token(&slow)).await.expect("let in").had(1_000_000);
        for _ in 0..2 {
            let over = house.export(&near, Credential::Token(&slow)).await.expect_err("over its rate");
            let Kind::OverRate { retry_after } = over else { panic!("{over:?}") };
            assert!((900_000..=1_000_000).contains(&retry_after.as_secs()), "{retry_after:?}");
            house.token("other", Role::Ingest, None);
        }
        house.edit(|file| {
            if let Some(token) = file.tokens.get_mut("slow") {
                token.spans_per_second = Some(2);
            }
        });
        assert!(house.export(&near, Credential::Token(&slow)).await.is_ok(), "another rate begins anew");
    }

    #[tokio::test]
    async fn row_39_what_must_be_encrypted_is() {
        for (plaintext, from, may) in [
            (Plaintext::Never, "127.0.0.1", false),
            (Plaintext::Never, "192.0.2.7", false),
            (Plaintext::Loopback, "127.0.0.1", true),
            (Plaintext::Anywhere, "192.0.2.7", true),
        ] {
            let house = Folder::new(plaintext);
            house.user("ada", &[Role::Reader]);
            let session = house.gate.admit_session(&peer(from, false), "ada");
            assert_eq!(session.is_ok(), may, "{plaintext:?} {from}");
            assert!(session.err().is_none_or(|error| error.sqlstate() == "28000"));
            let export = house.export(&peer(from, false), Credential::None).await;
            assert_eq!(export.map(drop), if may { Ok(()) } else { Err(Kind::Denied) }, "{plaintext:?} {from}");
            assert!(
                house.gate.admit_session(&peer(from, true), "ada").is_ok()
                    && house.export(&peer(from, true), Credential::None).await.is_ok()
            );
        }
    }

    #[test]
    fn a_damaged_file_changes_nothing_and_neither_does_one_that_goes() {
        let house = Folder::new(Plaintext::Loopback);
        house.user("ada", &[Role::Reader]);
        let path = AccessFile::path(house.folder.path());
        std::fs::write(&path, "{").expect("written");
        house.gate.look();
        assert!(house.gate.may_ask("ada").is_ok());
        assert!(Gate::open(house.folder.path(), GateSettings::default()).is_err(), "nothing is in force at the start");
        std::fs::remove_file(&path).expect("removed");
        house.gate.look();
        assert!(house.gate.admit_session(&peer("127.0.0.1", false), "ada").expect("may try").is_some());
        assert!(house.gate.may_ask("ada").is_ok());
        house.user("eve", &[Role::Reader]);
        assert!(house.gate.may_ask("eve").is_ok() && house.gate.may_ask("ada").is_err(), "a new file is taken");
        house.edit(|file| file.users.clear());
        assert!(house.gate.admit_session(&peer("127.0.0.1", false), "ada").expect("let in").is_none());
    }

    #[tokio::test]
    async fn row_41_passwords_are_not_judged_while_many_answers_wait_and_tokens_are() {
        let house = Folder::new(Plaintext::Loopback);
        house.user("bot", &[Role::Ingest]);
        let token = house.token("shop", Role::Ingest, None);
        let (near, other) = (peer("127.0.0.1", false), peer("::1", false));
        for _ in 0..100 {
            house.gate.failures.note(near.ip(), Instant::now());
        }
        let password = Credential::Password { user: "bot", password: "bot's" };
        assert!(matches!(house.export(&near, password).await, Err(Kind::OverRate { .. })));
        let refused = house.gate.may_try(&near).expect_err("too many");
        assert_eq!((refused.sqlstate(), refused.http_status(), refused.retryable()), ("53300", 429, true));
        assert!(house.export(&near, Credential::Token(&token)).await.is_ok(), "nobody guesses these");
        assert!(house.export(&other, password).await.is_ok(), "another address");
        assert!(house.export(&near, password).await.is_ok(), "known by now");
    }
}
