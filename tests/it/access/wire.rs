//! Clients of the PostgreSQL wire that cheat, or begin in other ways.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{House, eventually};
use crate::support::{Authority, Server};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(("127.0.0.1", server.postgres_port().parse().expect("a port"))).await.expect("connects")
}

async fn encrypt(
    stream: TcpStream,
    authority: &Authority,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(authority.certificate()).expect("a certificate");
    roots.add(certificate).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("protocols");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Asks for encryption, as libpq does.
async fn encrypted(server: &Server, authority: &Authority) -> TlsStream<TcpStream> {
    let mut stream = connect(server).await;
    stream.write_all(&SSL_REQUEST).await.expect("written");
    assert_eq!(stream.read_u8().await.expect("an answer"), b'S');
    encrypt(stream, authority, &[]).await.expect("a handshake")
}

async fn start(stream: &mut (impl AsyncWrite + Unpin), user: &str) {
    let body = format!("\0\x03\0\0user\0{user}\0\0");
    stream.write_u32(body.len() as u32 + 4).await.expect("written");
    stream.write_all(body.as_bytes()).await.expect("written");
    stream.flush().await.expect("written");
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> (char, String) {
    let kind = stream.read_u8().await.expect("a message");
    let length = stream.read_u32().await.expect("its length") as usize;
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await.expect("its body");
    (char::from(kind), String::from_utf8_lossy(&body).into_owned())
}

async fn respond(stream: &mut (impl AsyncWrite + Unpin), mechanism: Option<&str>, message: &[u8]) {
    let mut body = Vec::new();
    if let Some(mechanism) = mechanism {
        body.extend(mechanism.as_bytes());
        body.push(0);
        body.extend((message.len() as u32).to_be_bytes());
    }
    body.extend(message);
    stream.write_u8(b'p').await.expect("written");
    stream.write_u32(body.len() as u32 + 4).await.expect("written");
    stream.write_all(&body).await.expect("written");
    stream.flush().await.expect("written");
}

/// The error's SQLSTATE, which ends the session.
async fn fatal(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let (kind, body) = read(stream).await;
    assert!(kind == 'E' && body.starts_with("SFATAL\0"), "{kind} {body}");
    let left = stream.read_u8().await;
    assert!(left.is_err(), "the session is over");
    body.split('\0').find_map(|field| field.strip_prefix('C')).expect("a code").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_39_stripped_bindings_and_wrong_proofs_are_refused() {
    let house = House::new();
    house.user("ada", "reader", "pencil");
    let server = house.serve(&[]);
    let offer = "\0\0\0\nSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    for (mechanism, first, sqlstate) in [
        ("SCRAM-SHA-256", "y,,n=,r=abc", "28000"),
        ("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=abc", "08P01"),
        ("SCRAM-SHA-256-PLUS", "n,,n=,r=abc", "08P01"),
        ("PLAIN", "\0ada\0pencil", "08P01"),
    ] {
        let mut stream = encrypted(&server, &house.authority).await;
        start(&mut stream, "ada").await;
        assert_eq!(read(&mut stream).await, ('R', offer.to_owned()));
        respond(&mut stream, Some(mechanism), first.as_bytes()).await;
        assert_eq!(fatal(&mut stream).await, sqlstate, "{mechanism} {first}");
    }
    // A proof of nothing, from a user that is there and one that is not: nothing tells them apart.
    let mut answers = Vec::new();
    for user in ["ada", "eve", "eve"] {
        let mut stream = encrypted(&server, &house.authority).await;
        start(&mut stream, user).await;
        assert_eq!(read(&mut stream).await.0, 'R');
        respond(&mut stream, Some("SCRAM-SHA-256"), b"n,,n=,r=abc").await;
        let (_, server_first) = read(&mut stream).await;
        let (nonce, rest) = server_first.split_once("r=").and_then(|(_, rest)| rest.split_once(',')).expect("a nonce");
        answers.push(rest.to_owned());
        let message = format!("c=biws,r={nonce},p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        respond(&mut stream, None, message.as_bytes()).await;
        assert_eq!(fatal(&mut stream).await, "28P01", "{user}");
    }
    assert_eq!(answers[0].len(), answers[1].len());
    assert_eq!(answers[1], answers[2], "who is not there has one salt, as those who are");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_39_what_comes_before_encryption_is_no_part_of_the_session() {
    let house = House::new();
    let server = house.serve(&[("SPANHOUSE_PLAINTEXT", "never")]);
    let mut stream = connect(&server).await;
    let injected = [&SSL_REQUEST[..], b"\0\0\0\x12\0\x03\0\0user\0eve\0\0"].concat();
    stream.write_all(&injected).await.expect("written");
    assert_eq!(stream.read_u8().await.expect("an answer"), b'S');
    assert_eq!(fatal(&mut stream).await, "08P01");
    let mut stream = connect(&server).await;
    start(&mut stream, "ada").await;
    assert_eq!(fatal(&mut stream).await, "28000", "plaintext");
    // Too long for a proof, and nothing is kept of it.
    house.user("ada", "reader", "pencil");
    eventually("a user is asked for", || std::fs::metadata(house.data_dir().join("access.json")).is_ok());
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let mut stream = encrypted(&server, &house.authority).await;
    start(&mut stream, "ada").await;
    assert_eq!(read(&mut stream).await.0, 'R');
    stream.write_all(b"p\0\x10\0\0").await.expect("written");
    stream.flush().await.expect("written");
    assert_eq!(fatal(&mut stream).await, "08P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_may_begin_at_once_as_in_postgresql_17() {
    let house = House::new();
    let server = house.serve(&[]);
    let mut stream = encrypt(connect(&server).await, &house.authority, &[b"postgresql"]).await.expect("a handshake");
    start(&mut stream, "ada").await;
    assert_eq!(read(&mut stream).await, ('R', "\0\0\0\0".to_owned()), "nobody has to log in");
    // Without the protocol's name anything could have been led here.
    let mut stream = encrypt(connect(&server).await, &house.authority, &[]).await.expect("a handshake");
    // It may be closed before this is written, or after.
    let _ = stream.write_all(b"\0\0\0\x12\0\x03\0\0user\0ada\0\0").await;
    let _ = stream.flush().await;
    assert!(stream.read_u8().await.is_err(), "closed");
    assert!(encrypt(connect(&server).await, &house.authority, &[b"h2"]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_are_taken_without_a_restart() {
    let house = House::new();
    let server = house.serve(&[]);
    let shown = async || {
        let stream = encrypted(&server, &house.authority).await;
        stream.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
    };
    let first = shown().await;
    assert_eq!(shown().await, first);
    house.authority.server();
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while shown().await == first {
        assert!(std::time::Instant::now() < give_up, "the old certificate is still shown");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
