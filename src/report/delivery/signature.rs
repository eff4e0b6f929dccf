//! The signature by which a receiver knows that a webhook is ours and fresh.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// `sha256=` and the hex HMAC-SHA-256 of `TIMESTAMP.BODY` under the key; the timestamp is in seconds since 1970.
pub(super) fn sign(key: &str, timestamp: i64, body: &[u8]) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| "the key cannot sign".to_owned())?;
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256={hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_other_programs_compute() {
        // printf '1774760400.{"a":1}' | openssl dgst -sha256 -hmac 'a key'
        let expected = "sha256=020d24e99a811bdd3ab97f20ee38319b49119fac1ff6dccf660b8058eeca5dc9";
        assert_eq!(sign("a key", 1_774_760_400, b"{\"a\":1}").as_deref(), Ok(expected));
        assert_ne!(sign("a key", 1_774_760_401, b"{\"a\":1}").as_deref(), Ok(expected));
        assert_ne!(sign("b key", 1_774_760_400, b"{\"a\":1}").as_deref(), Ok(expected));
    }
}
