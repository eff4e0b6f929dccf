//! Encryption: whether the certificate and its key can be used, until when, and for which names.

use std::net::IpAddr;

use super::seen::Seen;
use crate::access::{CertificateTerms, Tls, TlsFiles};
use crate::cli::note::{Note, duration};
use crate::cli::settings::Listen;

/// Certificates of public authorities are renewed when a third of their time is left, which is a month of three.
const SOON_SECONDS: i64 = 21 * 86_400;

pub(super) fn check(seen: &Seen) -> Vec<Note> {
    let Some(files) = seen.settings.gate().tls else {
        let text = match seen.server.as_ref().is_some_and(|server| server.tls) {
            true => {
                "the server encrypts, and these settings do not name its certificate: give the server's to see more of it"
            }
            false => "off: nothing is encrypted, which is well as long as only this machine connects",
        };
        return vec![Note::ok("tls", text)];
    };
    let mut notes = vec![usable(&files, &hosts(seen), seen.now_ns / 1_000_000_000)];
    if files.key_is_for_all() {
        let advice = format!("chmod o-rwx {}", files.key.display());
        notes.push(Note::warn(
            "tls",
            format!("whoever is on this machine may read the key {}", files.key.display()),
            advice,
        ));
    }
    notes
}

/// The hosts that clients connect to by a name or an address of their own.
fn hosts(seen: &Seen) -> Vec<String> {
    let settings = &seen.settings;
    let named =
        [&settings.otlp_grpc, &settings.otlp_http, &settings.postgres].into_iter().filter_map(|listen| match listen {
            Listen::At { host, .. } => Some(host.clone()),
            Listen::Off => None,
        });
    let is_one = |host: &String| host.parse::<IpAddr>().map_or(true, |ip| !ip.is_unspecified() && !ip.is_loopback());
    let mut hosts: Vec<String> = named.filter(is_one).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

fn usable(files: &TlsFiles, hosts: &[String], now_unix_seconds: i64) -> Note {
    let terms = match Tls::open(files.clone()).and_then(|_| files.terms()) {
        Ok(terms) => terms,
        Err(error) => {
            let advice = "both are PEM, and the server's user must be able to read them; one that runs keeps the last that it could use";
            return Note::bad("tls", error.to_string(), advice);
        }
    };
    holds(&terms, hosts, now_unix_seconds)
}

fn holds(terms: &CertificateTerms, hosts: &[String], now_unix_seconds: i64) -> Note {
    let CertificateTerms { from_unix_seconds, until_unix_seconds, names } = terms;
    let left = until_unix_seconds - now_unix_seconds;
    let names_text = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
    let day = |unix_seconds: i64| {
        chrono::DateTime::from_timestamp(unix_seconds, 0)
            .map_or(String::new(), |time| time.format("%Y-%m-%d").to_string())
    };
    let renew = "renew it, and put the new one in its place: a running server takes it within seconds";
    let lacking: Vec<&str> = hosts.iter().filter(|host| !covers(names, host)).map(String::as_str).collect();
    if left <= 0 {
        let text = format!(
            "the certificate for {names_text} ended on {}, {} ago",
            day(*until_unix_seconds),
            duration(-left as f64)
        );
        return Note::bad("tls", text, renew);
    }
    if now_unix_seconds < *from_unix_seconds {
        let advice = "is this machine's clock right? Clients refuse it until then";
        return Note::bad(
            "tls",
            format!("the certificate for {names_text} begins on {}", day(*from_unix_seconds)),
            advice,
        );
    }
    let text = format!(
        "the certificate fits its key, is for {names_text}, and holds until {}: {} left",
        day(*until_unix_seconds),
        duration(left as f64)
    );
    match (left < SOON_SECONDS, lacking.as_slice()) {
        (true, _) => Note::warn("tls", text, renew),
        (false, []) => Note::ok("tls", text),
        (false, lacking) => {
            let advice = format!(
                "clients that connect to {} refuse it, unless they check no name: add it as a subject alternative name",
                lacking.join(", ")
            );
            Note::warn("tls", text, advice)
        }
    }
}

/// Whether a certificate for `names` is one for `host`; `*` stands for one label (RFC 6125).
fn covers(names: &[String], host: &str) -> bool {
    let of = |name: &String| match name.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
        None => name.eq_ignore_ascii_case(host),
    };
    names.iter().any(of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::note::Level;

    #[test]
    fn a_certificate_is_judged_by_its_time_and_its_names() {
        const DAY: i64 = 86_400;
        let terms = CertificateTerms {
            from_unix_seconds: 0,
            until_unix_seconds: 100 * DAY,
            names: vec!["*.example.org".into(), "10.0.0.7".into()],
        };
        let note = |now_days: i64, hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            holds(&terms, &hosts, now_days * DAY)
        };
        let good = note(50, &["traces.example.org", "10.0.0.7"]);
        assert_eq!(
            (good.level, good.text.as_str()),
            (
                Level::Ok,
                "the certificate fits its key, is for *.example.org, 10.0.0.7, and holds until 1970-04-11: 50 days left"
            )
        );
        assert_eq!(note(80, &[]).level, Level::Warn);
        assert_eq!(note(100, &[]).level, Level::Bad);
        assert_eq!(note(110, &[]).text, "the certificate for *.example.org, 10.0.0.7 ended on 1970-04-11, 10 days ago");
        assert_eq!(note(-1, &[]).text, "the certificate for *.example.org, 10.0.0.7 begins on 1970-01-01");
        let other = note(50, &["a.traces.example.org"]);
        assert_eq!(other.level, Level::Warn);
        assert!(other.advice.is_some_and(|advice| advice.contains("connect to a.traces.example.org refuse it")));
    }
}
