//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as a server has it: what is kept of a password, and the exchange that proves it.
//!
//! The messages are text, in this order; `c` holds what the client said of channel binding, with the binding itself:
//!
//! ```text
//! client-first   n,,n=,r=CLIENT                    or  p=tls-server-end-point,,n=,r=CLIENT
//! server-first   r=CLIENT SERVER,s=SALT,i=4096
//! client-final   c=biws,r=CLIENT SERVER,p=PROOF
//! server-final   v=SIGNATURE
//! ```

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use pgwire::api::auth::sasl::scram::gen_salted_password;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{Error, Kind, Result};

/// The mechanism's name.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The same, bound to the TLS connection that it runs over.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// The one kind of channel binding that PostgreSQL's clients have (RFC 5929).
const END_POINT: &str = "p=tls-server-end-point";
/// As PostgreSQL has them; more would make each connection slower, and help only passwords that are weak.
const ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 18;
/// Most iterations that are taken from a file: more would be a slip, and take a client minutes.
const MOST_ITERATIONS: u32 = 10_000_000;

pub(super) type Key = [u8; 32];

/// What is kept of a password: nothing that could be sent in its place. As text it is PostgreSQL's, in `pg_authid.rolpassword`:
/// `SCRAM-SHA-256$4096:SALT$STORED_KEY:SERVER_KEY`, with salt and keys in base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl Verifier {
    /// The verifier of a new password, with a salt of its own.
    pub fn of_password(password: &str) -> Self {
        Self::derive(password, rand::random::<[u8; SALT_BYTES]>().to_vec(), ITERATIONS)
    }

    /// A verifier that no password fits, the same each time for the same name: who asks for a user that is not there learns nothing.
    pub(super) fn nobody(mock_key: &Key, name: &str) -> Self {
        let mut salt = hmac(mock_key, name.as_bytes()).to_vec();
        salt.truncate(SALT_BYTES);
        let (stored_key, server_key) = (rand::random(), rand::random());
        Self { iterations: ITERATIONS, salt, stored_key, server_key }
    }

    /// Whether `password` is the one.
    pub(super) fn fits(&self, password: &str) -> bool {
        let other = Self::derive(password, self.salt.clone(), self.iterations);
        other.stored_key.ct_eq(&self.stored_key).into()
    }

    fn derive(password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let mut salted = Key::default();
        for (to, from) in salted.iter_mut().zip(gen_salted_password(password, &salt, iterations as usize)) {
            *to = from;
        }
        let stored_key = Sha256::digest(hmac(&salted, b"Client Key")).into();
        Self { iterations, salt, stored_key, server_key: hmac(&salted, b"Server Key") }
    }

    fn parse(text: &str) -> Option<Self> {
        let (iterations, rest) = text.strip_prefix(SCRAM_SHA_256)?.strip_prefix('$')?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let iterations = iterations.parse().ok().filter(|count| (1..=MOST_ITERATIONS).contains(count))?;
        let key = |text: &str| Key::try_from(BASE64.decode(text).ok()?).ok();
        let salt = BASE64.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        Some(Self { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }
}

impl TryFrom<String> for Verifier {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(&text).ok_or("a verifier must look like SCRAM-SHA-256$4096:SALT$STORED_KEY:SERVER_KEY")
    }
}

impl From<Verifier> for String {
    fn from(verifier: Verifier) -> Self {
        let Verifier { iterations, salt, stored_key, server_key } = verifier;
        let [salt, stored_key, server_key] = [&salt[..], &stored_key, &server_key].map(|bytes| BASE64.encode(bytes));
        format!("{SCRAM_SHA_256}${iterations}:{salt}${stored_key}:{server_key}")
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

/// An exchange whose first half is done.
#[derive(Debug)]
pub struct Exchange {
    user: String,
    verifier: Verifier,
    /// Whether there is such a user.
    is_known: bool,
    /// What `c` must say.
    binding: Vec<u8>,
    nonce: String,
    client_first_bare: String,
    server_first: String,
}

impl Exchange {
    /// Reads the client's first message; gives the exchange and the answer. `end_point` is the binding to the TLS connection that
    /// this runs over, where there is one.
    ///
    /// # Errors
    /// 08P01 for what is no such message, 28000 when the client could bind and was made to believe that the server cannot.
    pub fn begin(
        (user, verifier, is_known): (&str, Verifier, bool),
        mechanism: &str,
        end_point: Option<&[u8]>,
        client_first: &[u8],
    ) -> Result<(Self, String)> {
        let nonce = BASE64.encode(rand::random::<[u8; NONCE_BYTES]>());
        let first = ClientFirst::read(client_first)?;
        let binding = binding(mechanism, end_point, first.flag)?;
        let nonce = format!("{}{nonce}", first.nonce);
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let (user, client_first_bare) = (user.to_owned(), first.bare.to_owned());
        let exchange =
            Self { user, verifier, is_known, binding, nonce, client_first_bare, server_first: server_first.clone() };
        Ok((exchange, server_first))
    }

    /// Reads the client's last message; gives the answer when its proof holds.
    ///
    /// # Errors
    /// 28P01 when it does not, whether or not there is such a user; 28000 when the connection is bound to another end than this.
    pub fn finish(self, client_final: &[u8]) -> Result<String> {
        let text = std::str::from_utf8(client_final).map_err(|_| malformed("it is no text"))?;
        let (unproved, proof) = text.rsplit_once(",p=").ok_or_else(|| malformed("there is no proof"))?;
        let mut fields = unproved.split(',');
        let binding = fields.next().and_then(|field| field.strip_prefix("c=")).and_then(|c| BASE64.decode(c).ok());
        let binding = binding.ok_or_else(|| malformed("there is no channel binding"))?;
        if binding != self.binding {
            return Err(not_bound("SCRAM channel binding check failed"));
        }
        if fields.next().and_then(|field| field.strip_prefix("r=")) != Some(&self.nonce) {
            return Err(malformed("the nonce does not match"));
        }
        let proof = BASE64.decode(proof).ok().and_then(|proof| Key::try_from(proof).ok());
        let proof = proof.ok_or_else(|| malformed("the proof is no proof"))?;
        let signed = format!("{},{},{unproved}", self.client_first_bare, self.server_first);
        let signature = hmac(&self.verifier.stored_key, signed.as_bytes());
        let client_key: Key = std::array::from_fn(|place| proof[place] ^ signature[place]);
        let fits = Key::from(Sha256::digest(client_key)).ct_eq(&self.verifier.stored_key);
        if !bool::from(fits) || !self.is_known {
            return Err(wrong_password(&self.user));
        }
        Ok(format!("v={}", BASE64.encode(hmac(&self.verifier.server_key, signed.as_bytes()))))
    }
}

/// The parts of the client's first message.
struct ClientFirst<'a> {
    /// What it says of channel binding.
    flag: &'a str,
    bare: &'a str,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    fn read(message: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(message).map_err(|_| malformed("it is no text"))?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(identity), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("it has too few parts"));
        };
        if !identity.is_empty() {
            return Err(unsupported("client uses authorization identity, but it is not supported"));
        }
        if bare.starts_with("m=") {
            return Err(unsupported("client requires an unsupported SCRAM extension"));
        }
        // The user is the one of the connection's start, whatever stands here, as in PostgreSQL.
        let mut fields = bare.split(',');
        let has_name = fields.next().is_some_and(|field| field.starts_with("n="));
        let nonce = fields.next().and_then(|field| field.strip_prefix("r="));
        let nonce = nonce.filter(|nonce| has_name && !nonce.is_empty() && nonce.bytes().all(|c| c.is_ascii_graphic()));
        Ok(Self { flag, bare, nonce: nonce.ok_or_else(|| malformed("there is no user or no nonce"))? })
    }
}

/// What the client's last message must say of channel binding, after what its first one said.
fn binding(mechanism: &str, end_point: Option<&[u8]>, flag: &str) -> Result<Vec<u8>> {
    let plain = || Ok(format!("{flag},,").into_bytes());
    match (mechanism, flag) {
        (SCRAM_SHA_256, "n") => plain(),
        (SCRAM_SHA_256, "y") if end_point.is_none() => plain(),
        // It can bind, and somebody between the two took the offer away.
        (SCRAM_SHA_256, "y") => Err(not_bound("SCRAM channel binding negotiation error")),
        (SCRAM_SHA_256_PLUS, END_POINT) => match end_point {
            Some(end_point) => Ok([format!("{flag},,").as_bytes(), end_point].concat()),
            None => Err(malformed("this connection cannot be bound to")),
        },
        (SCRAM_SHA_256 | SCRAM_SHA_256_PLUS, _) => Err(malformed("the mechanism and the channel binding disagree")),
        _ => Err(Error::new(Kind::BadInput, "client selected an invalid SASL authentication mechanism")
            .with_sqlstate("08P01")),
    }
}

/// The error for a password that is wrong, or a user that is not there: PostgreSQL's, which does not tell which. The name may hold anything,
/// and goes into logs.
pub(super) fn wrong_password(user: &str) -> Error {
    let message = format!("password authentication failed for user \"{}\"", user.escape_debug());
    Error::new(Kind::Unauthenticated, message).with_sqlstate("28P01")
}

fn malformed(why: &str) -> Error {
    Error::bad_input(format!("malformed SCRAM message: {why}")).with_sqlstate("08P01")
}

fn unsupported(message: &'static str) -> Error {
    Error::bad_input(message).with_sqlstate("0A000")
}

fn not_bound(message: &'static str) -> Error {
    Error::new(Kind::Unauthenticated, message).with_sqlstate("28000")
}

/// HMAC-SHA-256. A key that is shorter than a block stands for itself with zeros behind it, so this cannot fail.
pub(super) fn hmac(key: &Key, message: &[u8]) -> Key {
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const PROOF: &str = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn pencil() -> Verifier {
        Verifier::derive("pencil", BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64"), 4096)
    }

    /// The RFC's exchange, after its first half.
    fn exchange(is_known: bool) -> Exchange {
        let nonce = format!("{CLIENT_NONCE}{SERVER_NONCE}");
        Exchange {
            user: "user".into(),
            verifier: pencil(),
            is_known,
            binding: b"n,,".to_vec(),
            client_first_bare: format!("n=user,r={CLIENT_NONCE}"),
            server_first: format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
            nonce,
        }
    }

    #[test]
    fn the_example_of_the_rfc_holds() {
        let proved = |proof: &str| format!("c=biws,r={CLIENT_NONCE}{SERVER_NONCE},p={proof}");
        assert_eq!(exchange(true).finish(proved(PROOF).as_bytes()).expect("proved"), SIGNATURE);
        let wrong = PROOF.replacen('d', "e", 1);
        for (is_known, proof, sqlstate) in
            [(true, wrong.as_str(), "28P01"), (false, PROOF, "28P01"), (true, "AA==", "08P01"), (true, "", "08P01")]
        {
            let error = exchange(is_known).finish(proved(proof).as_bytes()).expect_err("refused");
            assert_eq!(error.sqlstate(), sqlstate, "{proof}: {error}");
        }
    }

    #[test]
    fn a_first_message_is_answered_with_the_salt_and_a_longer_nonce() {
        let begin = |message: &str| Exchange::begin(("user", pencil(), true), SCRAM_SHA_256, None, message.as_bytes());
        let (_, answer) = begin("n,,n=,r=abc").expect("begun");
        let (_, again) = begin("y,,n=x,r=abc,ext=1").expect("begun");
        for answer in [&answer, &again] {
            assert!(answer.starts_with("r=abc") && answer.ends_with(",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), "{answer}");
            assert_eq!(answer.len(), "r=abc".len() + 24 + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".len());
        }
        assert_ne!(answer, again);
        for (message, sqlstate) in [
            ("", "08P01"),
            ("n,,", "08P01"),
            ("n,,n=,r=", "08P01"),
            ("n,,n=,r=a b", "08P01"),
            ("n,,r=abc,n=", "08P01"),
            ("x,,n=,r=abc", "08P01"),
            ("p=tls-server-end-point,,n=,r=abc", "08P01"),
            ("n,a=ada,n=,r=abc", "0A000"),
            ("n,,m=1,n=,r=abc", "0A000"),
        ] {
            assert_eq!(begin(message).expect_err(message).sqlstate(), sqlstate, "{message}");
        }
        let binary = Exchange::begin(("user", pencil(), true), SCRAM_SHA_256, None, b"n,,n=\xff,r=abc");
        assert_eq!(binary.expect_err("no text").sqlstate(), "08P01");
    }

    #[test]
    fn row_39_a_binding_that_was_stripped_or_is_another_is_refused() {
        let begin = |mechanism, end_point: Option<&[u8]>, flag: &str| {
            Exchange::begin(("user", pencil(), true), mechanism, end_point, format!("{flag},,n=,r=abc").as_bytes())
        };
        for (mechanism, end_point, flag, sqlstate) in [
            (SCRAM_SHA_256, Some(&b"hash"[..]), "y", "28000"),
            (SCRAM_SHA_256, Some(b"hash"), END_POINT, "08P01"),
            (SCRAM_SHA_256_PLUS, Some(b"hash"), "n", "08P01"),
            (SCRAM_SHA_256_PLUS, Some(b"hash"), "y", "08P01"),
            (SCRAM_SHA_256_PLUS, Some(b"hash"), "p=tls-unique", "08P01"),
            (SCRAM_SHA_256_PLUS, None, END_POINT, "08P01"),
            ("PLAIN", None, "n", "08P01"),
        ] {
            let error = begin(mechanism, end_point, flag).expect_err("refused");
            assert_eq!(error.sqlstate(), sqlstate, "{mechanism} {flag}: {error}");
        }
        begin(SCRAM_SHA_256, None, "y").expect("there is nothing to bind to");
        begin(SCRAM_SHA_256, Some(b"hash"), "n").expect("a client that cannot bind");
        let (exchange, _) = begin(SCRAM_SHA_256_PLUS, Some(b"hash"), END_POINT).expect("begun");
        let elsewhere = BASE64.encode(b"p=tls-server-end-point,,other");
        let message = format!("c={elsewhere},r={},p={PROOF}", exchange.nonce);
        assert_eq!(exchange.finish(message.as_bytes()).expect_err("bound elsewhere").sqlstate(), "28000");
    }

    #[test]
    fn verifiers_are_text_as_in_postgresql() {
        let text = String::from(pencil());
        assert!(text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"), "{text}");
        let read = Verifier::try_from(text.clone()).expect("a verifier");
        assert_eq!(read, pencil());
        assert!(read.fits("pencil") && !read.fits("pencils") && !read.fits(""));
        assert_ne!(Verifier::of_password("pencil"), Verifier::of_password("pencil"), "each has a salt of its own");
        for wrong in
            ["", "md5abc", "SCRAM-SHA-256$0:AA==$AA==:AA==", &text[..text.len() - 5], &text.replace("4096", "x")]
        {
            assert!(Verifier::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert_eq!(format!("{:?}", pencil()), "Verifier");
    }

    #[test]
    fn passwords_are_normalised_as_postgresql_does() {
        // SASLprep: a non-ASCII space is a space, a soft hyphen is nothing, and a ligature is its letters.
        assert!(Verifier::of_password("a b").fits("a\u{a0}b"));
        assert!(Verifier::of_password("IX").fits("I\u{ad}X"));
        assert!(Verifier::of_password("fi").fits("\u{fb01}"));
        assert!(Verifier::of_password("\u{7}bell").fits("\u{7}bell"), "what cannot be normalised stands for itself");
    }

    #[test]
    fn who_is_not_there_has_a_salt_all_the_same() {
        let (one, again, other) =
            (Verifier::nobody(&[1; 32], "a"), Verifier::nobody(&[1; 32], "a"), Verifier::nobody(&[1; 32], "b"));
        assert_eq!(one.salt, again.salt);
        assert_ne!(one.salt, other.salt);
        assert_eq!((one.salt.len(), one.iterations), (SALT_BYTES, ITERATIONS));
    }
}
