//! What a connection is bound to (RFC 5929, `tls-server-end-point`): a hash of the server's certificate.
//!
//! The hash is the one of the certificate's own signature, and SHA-256 in the place of MD5 and SHA-1. Of a certificate only the
//! signature's algorithm is read:
//!
//! ```text
//! Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { algorithm OID, … }, signature }
//! ```

use sha2::{Digest, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// `1.2.840.113549.1.1`, PKCS #1, before the algorithm's number.
const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// `1.2.840.10045.4.3`, ECDSA with SHA-2, before the algorithm's number.
const ECDSA: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];

/// The binding to `certificate`, or none for a signature whose hash the RFC does not tell, as with Ed25519.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (parts, _) = element(SEQUENCE, certificate)?;
    let (_, after_tbs) = element(SEQUENCE, parts)?;
    let (algorithm, _) = element(SEQUENCE, after_tbs)?;
    let (algorithm, _) = element(OBJECT_IDENTIFIER, algorithm)?;
    let (last, family) = algorithm.split_last()?;
    match (family, last) {
        // MD5, SHA-1 and SHA-256 with RSA.
        (family, 4 | 5 | 11) if family == RSA => Some(Sha256::digest(certificate).to_vec()),
        (family, 12) if family == RSA => Some(Sha384::digest(certificate).to_vec()),
        (family, 13) if family == RSA => Some(Sha512::digest(certificate).to_vec()),
        (family, 2) if family == ECDSA => Some(Sha256::digest(certificate).to_vec()),
        (family, 3) if family == ECDSA => Some(Sha384::digest(certificate).to_vec()),
        (family, 4) if family == ECDSA => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// The content of the DER element that `bytes` begin with, and what follows it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) =
                rest.split_at_checked(usize::from(long & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed_with(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        parameters.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let p256 = signed_with(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(end_point(&p256), Some(Sha256::digest(&p256).to_vec()));
        let p384 = signed_with(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(end_point(&p384), Some(Sha384::digest(&p384).to_vec()));
        assert_eq!(end_point(&signed_with(&rcgen::PKCS_ED25519)), None);
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let certificate = signed_with(&rcgen::PKCS_ECDSA_P256_SHA256);
        for length in 0..certificate.len() {
            assert_eq!(end_point(&certificate[..length]), None, "{length} bytes");
        }
        assert_eq!(end_point(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
        assert_eq!(end_point(&[SEQUENCE, 0x88, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
