//! Tokens: `sph_ID.SECRET`, where the id names the token in lists and the secret is 256 random bits.
//!
//! At rest is the SHA-256 of the whole text. A password needs a slow hash because people choose few of them; nobody tries 2²⁵⁶
//! secrets, so that a fast one does, and is cheap enough for each request.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// What tokens begin with, so that programs that look for leaked secrets know them.
const PREFIX: &str = "sph_";
const SECRET_BYTES: usize = 32;
/// Most letters of an id.
const MOST_ID_BYTES: usize = 64;

/// A token that was just made: its text is shown once and kept nowhere.
pub struct NewToken {
    pub text: String,
    pub digest: Digest,
}

impl NewToken {
    /// Makes the token `id`.
    pub fn new(id: &str) -> Self {
        let text = format!("{PREFIX}{id}.{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>()));
        Self { digest: Digest::of(&text), text }
    }
}

/// Whether `id` can be a token's: letters, digits, `-` and `_`.
pub fn token_id_is_good(id: &str) -> bool {
    let is_good = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    (1..=MOST_ID_BYTES).contains(&id.len()) && id.bytes().all(is_good)
}

/// The id that a token's text names.
pub(super) fn id_of(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX)?.split_once('.').map(|(id, _)| id)
}

/// The SHA-256 of a token's text; in files in base64.
#[derive(Debug, Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| de::Error::custom("a SHA-256 must be 32 bytes in base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_new_each_time_and_known_by_its_digest_only() {
        let (one, other) = (NewToken::new("shop"), NewToken::new("shop"));
        assert_ne!(one.text, other.text);
        assert_eq!(one.text.len(), "sph_shop.".len() + 43, "256 bits");
        assert_eq!(id_of(&one.text), Some("shop"));
        assert!(one.digest.is(&Digest::of(&one.text)) && !one.digest.is(&other.digest));
        let text = serde_json::to_string(&one.digest).expect("written");
        assert!(serde_json::from_str::<Digest>(&text).expect("read").is(&one.digest));
        for wrong in ["\"\"", "\"AAAA\"", "5", "\"?\""] {
            assert!(serde_json::from_str::<Digest>(wrong).is_err(), "{wrong}");
        }
        // NIST's example for SHA-256.
        let abc = serde_json::to_string(&Digest::of("abc")).expect("written");
        assert_eq!(abc, "\"ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=\"");
    }

    #[test]
    fn ids_are_plain() {
        for good in ["a", "shop-1_B", &"x".repeat(64)] {
            assert!(token_id_is_good(good), "{good}");
        }
        for bad in ["", "a.b", "a b", "é", "../a", &"x".repeat(65)] {
            assert!(!token_id_is_good(bad), "{bad}");
        }
        for none in ["", "sph_", "sph_shop", "shop.secret"] {
            assert_eq!(id_of(none), None, "{none}");
        }
    }
}
