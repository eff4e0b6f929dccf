//! A receiver whose certificate is of the right authority, but for another host: whoever has taken its place gets nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use spanhouse::report::{Courier, Delivered, DeliveryStatus, Environment, Secret, Target, Tls};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::{JumpingClock, deliver_with, delivery, tries};

const ELSEWHERE: &str = "elsewhere.example.org";
const HERE: &str = "127.0.0.1";

/// An authority that a courier trusts.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority"))
    }

    /// What a server of that name shows.
    fn acceptor(&self, host: &str) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocols")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a configuration");
        TlsAcceptor::from(Arc::new(config))
    }

    fn courier(&self) -> Courier {
        let variables = [("USER", "reports"), ("PASSWORD", "pass-w0rd")];
        Courier::new(Environment::of(&variables), vec![self.0.pem().into_bytes()])
    }
}

/// How a receiver begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    Tls,
    StartTls,
}

/// A receiver, and the bytes that it got encrypted.
struct Receiver {
    port: u16,
    got_bytes: Arc<AtomicUsize>,
}

impl Receiver {
    async fn start(acceptor: TlsAcceptor, begin: Begin) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let got_bytes = Arc::<AtomicUsize>::default();
        let got = got_bytes.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(receive(stream, acceptor.clone(), begin, got.clone()));
            }
        });
        Self { port, got_bytes }
    }
}

/// Speaks as much of a protocol as comes before the first secret, and answers an HTTP request.
async fn receive(stream: TcpStream, acceptor: TlsAcceptor, begin: Begin, got: Arc<AtomicUsize>) {
    let mut stream = BufReader::new(stream);
    if begin == Begin::StartTls {
        let _ = stream.write_all(b"220 elsewhere ready\r\n").await;
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|count| count > 0) {
            let answer: &[u8] = match line.trim_end() {
                "STARTTLS" => b"220 go on\r\n",
                _ => b"250-elsewhere\r\n250 STARTTLS\r\n",
            };
            let _ = stream.write_all(answer).await;
            if line.trim_end() == "STARTTLS" {
                break;
            }
            line.clear();
        }
    }
    let Ok(mut encrypted) = acceptor.accept(stream.into_inner()).await else { return };
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = encrypted.read(&mut bytes).await {
        got.fetch_add(count, Ordering::SeqCst);
        let _ = encrypted.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    }
}

async fn deliver(authority: &Authority, target: Target) -> Delivered {
    deliver_with(&authority.courier(), &delivery(target), &tries(), &JumpingClock::new()).await
}

fn webhook(port: u16) -> Target {
    let url = Secret::Plain(format!("https://{HERE}:{port}/hook"));
    Target::Webhook { url, sign_with: None, results_url: None }
}

fn mail(port: u16, tls: Tls) -> Target {
    Target::Email {
        server: HERE.to_owned(),
        port,
        tls,
        user: Some(Secret::Env("USER".to_owned())),
        password: Some(Secret::Env("PASSWORD".to_owned())),
        from: "reports@example.com".to_owned(),
        to: vec!["ann@example.com".to_owned()],
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_by_webhooks_and_mail() {
    let authority = Authority::new();
    for (begin, tls) in [(Begin::Tls, None), (Begin::Tls, Some(Tls::Wrapped)), (Begin::StartTls, Some(Tls::StartTls))] {
        let receiver = Receiver::start(authority.acceptor(ELSEWHERE), begin).await;
        let target = tls.map_or_else(|| webhook(receiver.port), |tls| mail(receiver.port, tls));
        let delivered = deliver(&authority, target).await;
        assert_eq!(delivered.status, DeliveryStatus::Failed, "{tls:?}");
        assert!(delivered.error.as_ref().is_some_and(|error| error.contains("ertificate")), "{delivered:?}");
        assert_eq!(receiver.got_bytes.load(Ordering::SeqCst), 0, "{tls:?}");
    }
    // With one for its own name, the same receiver is trusted.
    let receiver = Receiver::start(authority.acceptor(HERE), Begin::Tls).await;
    let delivered = deliver(&authority, webhook(receiver.port)).await;
    assert_eq!(delivered.status, DeliveryStatus::Delivered, "{delivered:?}");
    assert!(receiver.got_bytes.load(Ordering::SeqCst) > 0);
}
