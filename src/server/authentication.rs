//! A client proves who it is: SASL's messages around a SCRAM exchange.
//!
//! ```text
//! server  AuthenticationSASL          the mechanisms
//! client  SASLInitialResponse         one of them, and its first message
//! server  AuthenticationSASLContinue
//! client  SASLResponse                the proof
//! server  AuthenticationSASLFinal
//! ```

use bytes::{Buf, Bytes};
use pgwire::messages::startup::Authentication;

use super::wire::{Halt, Wire};
use crate::access::{Gate, Peer, SCRAM_SHA_256, SCRAM_SHA_256_PLUS};
use crate::error::{Error, Result};

/// The type of a client's message about who it is.
const PASSWORD_MESSAGE: u8 = b'p';
/// Longest such message; PostgreSQL takes as much.
pub(super) const MAX_SASL_BYTES: usize = 1024;

/// Has a client prove that it is `user`, where anybody has to.
pub(super) async fn authenticate(wire: &mut Wire, gate: &Gate, peer: &Peer, user: &str) -> Result<(), Halt> {
    let Some(login) = gate.admit_session(peer, user).map_err(Halt::Fatal)? else { return Ok(()) };
    let mut mechanisms = vec![SCRAM_SHA_256.to_owned()];
    if wire.end_point().is_some() {
        mechanisms.insert(0, SCRAM_SHA_256_PLUS.to_owned());
    }
    wire.put(&Authentication::SASL(mechanisms));
    wire.flush().await?;
    let (mechanism, client_first) = initial_response(answer(wire).await?).map_err(Halt::Fatal)?;
    let begun = login.begin(&mechanism, wire.end_point(), &client_first);
    let (exchange, server_first) = refuse(gate, peer, begun).await?;
    wire.put(&Authentication::SASLContinue(server_first.into()));
    wire.flush().await?;
    let proof = answer(wire).await?;
    gate.may_try(peer).map_err(Halt::Fatal)?;
    let server_final = refuse(gate, peer, exchange.finish(&proof)).await?;
    wire.put(&Authentication::SASLFinal(server_final.into()));
    gate.may_ask(user).map_err(Halt::Fatal)
}

/// Tells the gate of a failure.
async fn refuse<T>(gate: &Gate, peer: &Peer, outcome: Result<T>) -> Result<T, Halt> {
    if let Err(error) = &outcome {
        gate.failed(peer, error).await;
    }
    outcome.map_err(Halt::Fatal)
}

async fn answer(wire: &mut Wire) -> Result<Bytes, Halt> {
    match wire.read_message_within(MAX_SASL_BYTES).await? {
        (PASSWORD_MESSAGE, body) => Ok(body),
        (kind, _) => {
            let message = format!("expected SASL response, got message type {kind}");
            Err(Halt::Fatal(Error::bad_input(message).with_sqlstate("08P01")))
        }
    }
}

/// Reads the mechanism and what follows it: a length, and as many bytes.
pub(super) fn initial_response(mut body: Bytes) -> Result<(String, Bytes)> {
    let malformed = || Error::bad_input("invalid SASLInitialResponse message").with_sqlstate("08P01");
    let end = body.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
    let mechanism = String::from_utf8(body.split_to(end).to_vec()).map_err(|_| malformed())?;
    body.advance(1);
    let length = body.try_get_u32().map_err(|_| malformed())?;
    if length as usize != body.len() {
        return Err(malformed());
    }
    Ok((mechanism, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_response_holds_what_it_says() {
        let read = |bytes: &'static [u8]| initial_response(Bytes::from_static(bytes)).map_err(|error| error.sqlstate());
        assert_eq!(read(b"SCRAM-SHA-256\0\0\0\0\x03abc"), Ok(("SCRAM-SHA-256".into(), Bytes::from_static(b"abc"))));
        for wrong in [
            &b""[..],
            b"X",
            b"X\0",
            b"X\0\0\0\0\x04abc",
            b"X\0\0\0\0\x02abc",
            b"X\0\xff\xff\xff\xff",
            b"\xff\0\0\0\0\0",
        ] {
            assert_eq!(read(wrong), Err("08P01"), "{wrong:?}");
        }
    }
}
