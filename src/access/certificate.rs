//! What is read of certificates that TLS has verified: to what a connection is bound, and whose a client's is.
//!
//! A connection is bound (RFC 5929, `tls-server-end-point`) to a hash of the server's certificate: the hash of that certificate's own
//! signature, and SHA-256 in the place of MD5 and SHA-1.
//!
//! ```text
//! Certificate    ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { algorithm OID, … }, signature }
//! tbsCertificate ::= SEQUENCE { version [0], serialNumber, signature, issuer, validity, subject Name, … }
//! Name           ::= SEQUENCE OF SET OF SEQUENCE { type OID, value string }
//! ```

use sha2::{Digest, Sha256, Sha384, Sha512};

pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const VERSION: u8 = 0xa0;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

/// `1.2.840.113549.1.1`, PKCS #1, before the algorithm's number.
const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// `1.2.840.10045.4.3`, ECDSA with SHA-2, before the algorithm's number.
const ECDSA: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];

/// `2.5.4.3`, the common name.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The common name of whom `certificate` is for, which PostgreSQL compares with the user; none where there is not exactly one.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let (parts, _) = element(SEQUENCE, certificate)?;
    let (signed, _) = element(SEQUENCE, parts)?;
    let after_version = element(VERSION, signed).map_or(signed, |(_, rest)| rest);
    // Serial number, signature, issuer and validity.
    let before_subject = (0..4).try_fold(after_version, |rest, _| Some(any_element(rest)?.2))?;
    let (mut names, _) = element(SEQUENCE, before_subject)?;
    let mut found = None;
    while !names.is_empty() {
        let (mut set, rest) = element(SET, names)?;
        names = rest;
        while !set.is_empty() {
            let (attribute, rest) = element(SEQUENCE, set)?;
            set = rest;
            let (kind, value) = element(OBJECT_IDENTIFIER, attribute)?;
            if kind == COMMON_NAME && found.replace(text(value)?).is_some() {
                return None;
            }
        }
    }
    found
}

fn text(value: &[u8]) -> Option<String> {
    let (tag, content, _) = any_element(value)?;
    let text = str::from_utf8(content).ok().filter(|_| matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING))?;
    (!text.contains('\0')).then(|| text.to_owned())
}

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

/// The content of the DER element of that kind that `bytes` begin with, and what follows it.
pub(super) fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    any_element(bytes).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// The tag and the content of the DER element that `bytes` begin with, and what follows it.
pub(super) fn any_element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) =
                rest.split_at_checked(usize::from(long & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(length).map(|(content, rest)| (tag, content, rest))
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
    fn a_client_is_called_by_its_one_common_name() {
        let named = |names: &[&str]| {
            let key = rcgen::KeyPair::generate().expect("a key");
            let mut parameters = rcgen::CertificateParams::new(Vec::<String>::new()).expect("no host");
            parameters.distinguished_name = rcgen::DistinguishedName::new();
            parameters.distinguished_name.push(rcgen::DnType::OrganizationName, "shop");
            // A second one goes under another name of the same kind.
            let kinds = [rcgen::DnType::CommonName, rcgen::DnType::CustomDnType(vec![2, 5, 4, 3])];
            for (name, kind) in names.iter().zip(kinds) {
                parameters.distinguished_name.push(kind, *name);
            }
            common_name(parameters.self_signed(&key).expect("signed").der())
        };
        assert_eq!(named(&["ada"]).as_deref(), Some("ada"));
        assert_eq!(named(&["Zoë B."]).as_deref(), Some("Zoë B."));
        assert_eq!([named(&[]), named(&["ada", "eve"]), named(&["ada\0.evil"])], [None, None, None]);
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let certificate = signed_with(&rcgen::PKCS_ECDSA_P256_SHA256);
        for length in 0..certificate.len() {
            assert_eq!(end_point(&certificate[..length]), None, "{length} bytes");
            assert_eq!(common_name(&certificate[..length]), None, "{length} bytes");
        }
        assert_eq!(end_point(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
        assert_eq!(end_point(&[SEQUENCE, 0x88, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
