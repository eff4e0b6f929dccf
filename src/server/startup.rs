//! The first messages of a connection: encryption asked for, a cancel request, or a session's start.

use bytes::{Buf, BufMut, BytesMut};
use pgwire::messages::startup::NegotiateProtocolVersion;

use super::wire::{Halt, Wire};
use crate::access::Tls;
use crate::error::Error;

/// Largest first message, as in PostgreSQL.
const MAX_STARTUP_BYTES: usize = 10_000;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// Most encryption requests before the session starts: one of each kind is what clients send.
const MAX_ENCRYPTION_REQUESTS: usize = 4;
/// What a client that begins with TLS has to offer to speak inside, as in PostgreSQL: nobody can then lead it here by a detour.
const APPLICATION_PROTOCOL: &[u8] = b"postgresql";

/// What a client came for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Cancel { process_id: i32, secret: i32 },
    Session(Vec<(String, String)>),
}

/// Reads the first messages up to a cancel request or a session's start; encrypts when the client asks and there is `tls`.
pub(super) async fn open(wire: &mut Wire, tls: Option<&Tls>) -> Result<Opening, Halt> {
    if let Some(tls) = tls
        && wire.begins_with_tls().await?
    {
        wire.encrypt(tls).await?;
        if wire.stream().application_protocol() != Some(APPLICATION_PROTOCOL) {
            return Err(Halt::Gone);
        }
    }
    for _ in 0..=MAX_ENCRYPTION_REQUESTS {
        let length = wire.read_exact(4).await?.get_u32() as usize;
        if !(8..=MAX_STARTUP_BYTES).contains(&length) {
            // Not this protocol at all (TLS without a request, HTTP): an answer would only confuse.
            return Err(Halt::Gone);
        }
        let mut body = wire.read_exact(length - 4).await?;
        match body.get_u32() {
            SSL_REQUEST | GSS_REQUEST if wire.stream().is_encrypted() => return Err(Halt::Gone),
            code @ (SSL_REQUEST | GSS_REQUEST) => match tls.filter(|_| code == SSL_REQUEST) {
                Some(tls) => {
                    wire.output.put_u8(b'S');
                    wire.flush().await?;
                    wire.encrypt(tls).await?;
                }
                None => {
                    wire.output.put_u8(b'N');
                    wire.flush().await?;
                }
            },
            CANCEL_REQUEST if body.len() == 8 => {
                return Ok(Opening::Cancel { process_id: body.get_i32(), secret: body.get_i32() });
            }
            CANCEL_REQUEST => return Err(Halt::Gone),
            version if version >> 16 == 3 => {
                let parameters = parameters(body)?;
                negotiate(wire, version & 0xffff, &parameters);
                return Ok(Opening::Session(parameters));
            }
            version => {
                let (major, minor) = (version >> 16, version & 0xffff);
                return Err(Halt::Fatal(
                    Error::bad_input(format!(
                        "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0"
                    ))
                    .with_sqlstate("0A000"),
                ));
            }
        }
    }
    Err(Halt::Gone)
}

fn parameters(body: BytesMut) -> Result<Vec<(String, String)>, Halt> {
    let malformed = || Halt::Fatal(Error::bad_input("invalid startup packet layout").with_sqlstate("08P01"));
    let text = std::str::from_utf8(&body).map_err(|_| malformed())?;
    // `name\0value\0 … \0`
    let text = text.strip_suffix("\0").ok_or_else(malformed)?;
    let mut parts = text.split_terminator('\0');
    let mut found = Vec::new();
    while let Some(name) = parts.next() {
        found.push((name.to_owned(), parts.next().ok_or_else(malformed)?.to_owned()));
    }
    Ok(found)
}

/// Tells a client of a newer protocol that this one is 3.0, and which of its extensions are not known here.
fn negotiate(wire: &mut Wire, minor: u32, parameters: &[(String, String)]) {
    let unknown: Vec<String> =
        parameters.iter().filter(|(name, _)| name.starts_with("_pq_.")).map(|(name, _)| name.clone()).collect();
    if minor > 0 || !unknown.is_empty() {
        wire.put(&NegotiateProtocolVersion::new(3 << 16, unknown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_in_pairs() {
        let read = |bytes: &[u8]| parameters(BytesMut::from(bytes)).ok();
        assert_eq!(
            read(b"user\0ada\0database\0x\0\0"),
            Some(vec![("user".into(), "ada".into()), ("database".into(), "x".into())])
        );
        assert_eq!(read(b"\0"), Some(vec![]));
        assert_eq!(read(b"user\0\0"), None);
        assert_eq!(read(b"user"), None);
        assert_eq!(read(b"user\0\xff\0\0"), None);
    }
}
