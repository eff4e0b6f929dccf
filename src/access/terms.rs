//! Until when a certificate holds and for which names, for those who look after it.
//!
//! ```text
//! tbsCertificate ::= SEQUENCE { version [0], serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, …, extensions [3] }
//! validity       ::= SEQUENCE { notBefore Time, notAfter Time }
//! extensions     ::= SEQUENCE OF SEQUENCE { extnID OID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
//! ```

use std::net::IpAddr;

use chrono::NaiveDateTime;

use super::certificate::{OBJECT_IDENTIFIER, SEQUENCE, VERSION, any_element, common_name, element};

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const OCTET_STRING: u8 = 0x04;
const EXTENSIONS: u8 = 0xa3;
/// `2.5.29.17`, the names of the subject.
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateTerms {
    pub from_unix_seconds: i64,
    pub until_unix_seconds: i64,
    /// Hosts and addresses that it is for; the common name where it lists none.
    pub names: Vec<String>,
}

impl CertificateTerms {
    /// Reads a certificate in DER; `None` for what is none.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (parts, _) = element(SEQUENCE, certificate)?;
        let (signed, _) = element(SEQUENCE, parts)?;
        let after_version = element(VERSION, signed).map_or(signed, |(_, rest)| rest);
        // Serial number, signature and issuer.
        let before_validity = (0..3).try_fold(after_version, |rest, _| Some(any_element(rest)?.2))?;
        let (validity, after_validity) = element(SEQUENCE, before_validity)?;
        let (from_kind, from, rest) = any_element(validity)?;
        let (until_kind, until, _) = any_element(rest)?;
        let names = alternative_names(after_validity).filter(|names| !names.is_empty());
        Some(Self {
            from_unix_seconds: unix_seconds(from_kind, from)?,
            until_unix_seconds: unix_seconds(until_kind, until)?,
            names: names.unwrap_or_else(|| common_name(certificate).into_iter().collect()),
        })
    }
}

/// Times of certificates are in UTC and to the second; two digits of a year are those from 1950 on (RFC 5280, 4.1.2.5).
fn unix_seconds(kind: u8, time: &[u8]) -> Option<i64> {
    let text = str::from_utf8(time).ok()?;
    let whole = match kind {
        UTC_TIME => {
            let year: u32 = text.get(..2)?.parse().ok()?;
            format!("{}{text}", if year < 50 { "20" } else { "19" })
        }
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    NaiveDateTime::parse_from_str(&whole, "%Y%m%d%H%M%SZ").ok().map(|time| time.and_utc().timestamp())
}

/// The names among the extensions that follow.
fn alternative_names(mut rest: &[u8]) -> Option<Vec<String>> {
    let mut extensions = loop {
        let (tag, content, after) = any_element(rest)?;
        if tag == EXTENSIONS {
            break element(SEQUENCE, content)?.0;
        }
        rest = after;
    };
    while !extensions.is_empty() {
        let (extension, after) = element(SEQUENCE, extensions)?;
        extensions = after;
        let (id, mut value) = element(OBJECT_IDENTIFIER, extension)?;
        if id != ALTERNATIVE_NAMES {
            continue;
        }
        // Whether it is critical may come before its value.
        while let Some((tag, content, after)) = any_element(value) {
            if tag == OCTET_STRING {
                return names(element(SEQUENCE, content)?.0);
            }
            value = after;
        }
    }
    None
}

fn names(mut list: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while !list.is_empty() {
        let (kind, name, rest) = any_element(list)?;
        list = rest;
        names.extend(match kind {
            DNS_NAME => str::from_utf8(name).ok().map(str::to_owned),
            IP_ADDRESS => address(name).map(|address| address.to_string()),
            _ => None,
        });
    }
    Some(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn made(names: &[&str], from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).expect("names");
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "traces");
        parameters.not_before = date_time_ymd(from.0, from.1, from.2);
        parameters.not_after = date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().expect("a key");
        parameters.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn a_certificate_tells_from_when_until_when_and_for_whom() {
        let certificate = made(&["traces.example.org", "10.0.0.7", "::1"], (2026, 1, 2), (2060, 3, 4));
        let terms = CertificateTerms::of(&certificate).expect("a certificate");
        // 2026-01-02 and 2060-03-04; the latter is written with four digits of its year.
        assert_eq!((terms.from_unix_seconds, terms.until_unix_seconds), (1_767_312_000, 2_845_584_000));
        assert_eq!(terms.names, ["traces.example.org", "10.0.0.7", "::1"]);
        let nameless = CertificateTerms::of(&made(&[], (1999, 12, 31), (2026, 1, 2))).expect("a certificate");
        assert_eq!((nameless.from_unix_seconds, nameless.names), (946_598_400, vec!["traces".to_owned()]));
    }

    #[test]
    fn what_is_no_certificate_tells_nothing() {
        let certificate = made(&["localhost"], (2026, 1, 2), (2027, 1, 2));
        for length in 0..certificate.len() {
            assert_eq!(CertificateTerms::of(&certificate[..length]), None, "{length} bytes");
        }
    }
}
