//! Encryption: the certificate, its key and the clients' authorities, read from files and again when these change.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::certificate::end_point;
use super::stream::Stream;
use super::terms::CertificateTerms;
use super::watched::{Signature, Watched};
use crate::error::{Error, Result};

/// Where certificates lie, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those between it and its authority.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Authorities whose client certificates let in: exports, and the user that the certificate names.
    pub client_ca: Option<PathBuf>,
}

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Postgres,
    Otlp,
}

/// The certificates in force.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    loaded: ArcSwap<Loaded>,
    seen: Mutex<Watched<Vec<Signature>>>,
}

#[derive(Debug)]
struct Loaded {
    postgres: Arc<ServerConfig>,
    otlp: Arc<ServerConfig>,
    /// What a connection is bound to.
    end_point: Option<Arc<[u8]>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be used; the text names it and says why.
    pub fn open(files: TlsFiles) -> Result<Self> {
        let seen = files.signatures();
        let loaded = files.load()?;
        Ok(Self { files, loaded: ArcSwap::from_pointee(loaded), seen: Mutex::new(Watched::new(Some(seen))) })
    }

    /// Encrypts a connection; gives it with what it is bound to.
    pub async fn accept(&self, protocol: Protocol, stream: TcpStream) -> io::Result<(Stream, Option<Arc<[u8]>>)> {
        let loaded = self.loaded.load_full();
        let config = match protocol {
            Protocol::Postgres => loaded.postgres.clone(),
            Protocol::Otlp => loaded.otlp.clone(),
        };
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        Ok((Stream::Tls(Box::new(stream)), loaded.end_point.clone()))
    }

    /// Whether clients may show certificates.
    pub(super) fn takes_client_certificates(&self) -> bool {
        self.files.client_ca.is_some()
    }

    /// Reads the files again if one of them has changed; what cannot be used is told once and tried again, and the old ones stay in force.
    pub(super) fn look(&self) {
        let now = self.files.signatures();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = seen.look(now, || {
            self.loaded.store(Arc::new(self.files.load()?));
            tracing::info!(cert = %self.files.cert.display(), "took new TLS certificates");
            Ok(())
        });
        if let Some(error) = failed {
            tracing::error!("the TLS certificates in use stay, as the new ones cannot be used: {error}");
        }
    }
}

impl TlsFiles {
    fn signatures(&self) -> Vec<Signature> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()]
            .into_iter()
            .flatten()
            .map(|f| Signature::of(f))
            .collect()
    }

    /// What the server's certificate says of itself.
    ///
    /// # Errors
    /// When it cannot be used; the text says why.
    pub fn terms(&self) -> Result<CertificateTerms> {
        let certificates = read_certificates("certificate", &self.cert)?;
        let terms = certificates.first().and_then(|own| CertificateTerms::of(own));
        terms.ok_or_else(|| unusable("certificate", &self.cert, "it is no X.509 certificate"))
    }

    /// Whether whoever is on this machine may read the key.
    pub fn key_is_for_all(&self) -> bool {
        std::fs::metadata(&self.key).is_ok_and(|key| key.mode() & 0o007 != 0)
    }

    fn load(&self) -> Result<Loaded> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificates = read_certificates("certificate", &self.cert)?;
        let end_point = certificates.first().and_then(|own| end_point(own)).map(Arc::from);
        let clients = match &self.client_ca {
            Some(path) => client_verifier(path, &provider)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let config = |protocols: &[&[u8]]| -> Result<Arc<ServerConfig>> {
            let key = PrivateKeyDer::from_pem_file(&self.key)
                .map_err(|error| unusable("key", &self.key, &pem_text(&error)))?;
            let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
            let builder =
                builder.map_err(|error| Error::internal(error.to_string()))?.with_client_cert_verifier(clients.clone());
            let mut config = builder.with_single_cert(certificates.clone(), key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => unusable(
                    "key",
                    &self.key,
                    &format!("it is not the key of the certificate in {}", self.cert.display()),
                ),
                rustls::Error::InvalidCertificate(why) => unusable("certificate", &self.cert, &format!("{why:?}")),
                other => unusable("key", &self.key, &other.to_string()),
            })?;
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            if self.client_ca.is_some() {
                // A session that is resumed has its client's certificate verified no more: it would outlive the certificate and its authority.
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
            Ok(Arc::new(config))
        };
        let loaded = Loaded { postgres: config(&[b"postgresql"])?, otlp: config(&[b"h2", b"http/1.1"])?, end_point };
        if self.key_is_for_all() {
            tracing::warn!(
                "whoever is on this machine may read the TLS key {}; take that right away",
                self.key.display()
            );
        }
        Ok(loaded)
    }
}

/// Verifies clients that show a certificate; those that show none may have a token or a password.
fn client_verifier(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>> {
    const WHAT: &str = "client authority";
    let mut roots = RootCertStore::empty();
    for authority in read_certificates(WHAT, path)? {
        roots.add(authority).map_err(|error| unusable(WHAT, path, &error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier: Arc<dyn ClientCertVerifier> =
        verifier.allow_unauthenticated().build().map_err(|error| unusable(WHAT, path, &error.to_string()))?;
    Ok(verifier)
}

fn read_certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read.map_err(|error| unusable(what, path, &pem_text(&error)))? {
        none if none.is_empty() => Err(unusable(what, path, "it holds no certificate in PEM")),
        certificates => Ok(certificates),
    }
}

/// The SQLSTATE is that of a wrong setting.
fn unusable(what: &str, path: &Path, why: &str) -> Error {
    Error::bad_input(format!("the TLS {what} {} cannot be used: {why}", path.display())).with_sqlstate("22023")
}

/// What is wrong, without what the file holds: that may be a key.
fn pem_text(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it holds none in PEM".to_owned(),
        _ => "it is no PEM".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn self_signed() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        (parameters.self_signed(&key).expect("signed").pem(), key.serialize_pem())
    }

    fn files(folder: &Path) -> TlsFiles {
        TlsFiles { cert: folder.join("server.crt"), key: folder.join("server.key"), client_ca: None }
    }

    #[test]
    fn row_40_a_bad_certificate_or_key_is_named_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path());
        let ((cert, key), (_, other_key)) = (self_signed(), self_signed());
        let half = &key[..key.len() / 2];
        for (cert, key, file, why) in [
            ("", key.as_str(), "server.crt", "it holds no certificate in PEM"),
            (&key, &key, "server.crt", "it holds no certificate in PEM"),
            (&cert, "", "server.key", "it holds none in PEM"),
            (&cert, half, "server.key", "it is no PEM"),
            (&cert, &cert, "server.key", "it holds none in PEM"),
            (&cert, &other_key, "server.key", "it is not the key of the certificate in "),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key, "server.crt", "BadEncoding"),
        ] {
            std::fs::write(&files.cert, cert).expect("written");
            std::fs::write(&files.key, key).expect("written");
            let error = Tls::open(files.clone()).expect_err(why);
            assert!(error.message.contains(file) && error.message.contains(why), "{why}: {error}");
        }
        std::fs::remove_file(&files.key).expect("removed");
        std::fs::write(&files.cert, &cert).expect("written");
        let error = Tls::open(files.clone()).expect_err("no key");
        assert!(error.message.contains("server.key cannot be used: No such file"), "{error}");
        std::fs::write(&files.key, &key).expect("written");
        let authority = TlsFiles { client_ca: Some(files.key.clone()), ..files.clone() };
        let error = Tls::open(authority).expect_err("no authority");
        assert!(error.message.contains("client authority") && error.message.contains("server.key"), "{error}");
        Tls::open(files).expect("a certificate with its key");
    }

    #[test]
    fn where_clients_show_certificates_no_session_is_resumed() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path());
        let (cert, key) = self_signed();
        std::fs::write(&files.cert, cert).expect("written");
        std::fs::write(&files.key, key).expect("written");
        let with_clients = TlsFiles { client_ca: Some(files.cert.clone()), ..files.clone() };
        for (files, resumes) in [(files, true), (with_clients, false)] {
            let tls = Tls::open(files).expect("certificates");
            let loaded = tls.loaded.load_full();
            for config in [&loaded.postgres, &loaded.otlp] {
                assert_eq!(config.session_storage.can_cache(), resumes);
                assert_eq!(config.send_tls13_tickets > 0, resumes);
                assert!(!config.ticketer.enabled(), "nor by tickets that the server need not keep");
            }
        }
    }

    #[test]
    fn new_certificates_are_taken_and_bad_ones_change_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path());
        let write = |(cert, key): &(String, String)| {
            std::fs::write(&files.cert, cert).expect("written");
            std::fs::write(&files.key, key).expect("written");
        };
        write(&self_signed());
        let tls = Tls::open(files.clone()).expect("certificates");
        let bound_to = || tls.loaded.load().end_point.clone().expect("a binding");
        let first = bound_to();
        tls.look();
        assert_eq!(bound_to(), first);
        std::fs::write(&files.key, "no key").expect("written");
        tls.look();
        assert_eq!(bound_to(), first, "the old one stays");
        write(&self_signed());
        tls.look();
        assert_ne!(bound_to(), first);
    }
}
