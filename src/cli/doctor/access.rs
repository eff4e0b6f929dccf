//! Who may come in, on addresses that other machines reach.

use std::net::SocketAddr;

use super::seen::Seen;
use crate::access::{AccessFile, Plaintext, Role};
use crate::cli::note::Note;
use crate::cli::settings::Listen;
use crate::render::count;

/// What decides about who comes in.
struct House<'a> {
    file: &'a AccessFile,
    /// Whether certificates of clients let them in.
    takes_certificates: bool,
    has_tls: bool,
    plaintext: Plaintext,
    far_otlp: bool,
    far_postgres: bool,
    far_admin: bool,
}

pub(super) fn check(seen: &Seen) -> Vec<Note> {
    let file = match &seen.access {
        Ok(file) => file,
        Err(error) => {
            let advice = "put it back from a copy: nobody comes in on the strength of it, and the server keeps to the last that it could read";
            return vec![Note::bad("access", format!("users and tokens cannot be read: {error}"), advice)];
        }
    };
    let (settings, gate) = (&seen.settings, seen.settings.gate());
    let far = |at: fn(&crate::cli::data::ServerFile) -> Option<SocketAddr>, set: &Listen| match &seen.server {
        Some(server) => at(server).is_some_and(|address| !address.ip().to_canonical().is_loopback()),
        None => !is_near(set),
    };
    judge(&House {
        file,
        takes_certificates: gate.tls.as_ref().is_some_and(|files| files.client_ca.is_some()),
        has_tls: seen.server.as_ref().map_or(gate.tls.is_some(), |server| server.tls),
        plaintext: gate.plaintext,
        far_otlp: far(|server| server.otlp_grpc, &settings.otlp_grpc)
            || far(|server| server.otlp_http, &settings.otlp_http),
        far_postgres: far(|server| server.postgres, &settings.postgres),
        far_admin: far(|server| server.admin, &settings.admin_listen),
    })
}

fn is_near(listen: &Listen) -> bool {
    match listen {
        Listen::Off => true,
        Listen::At { host, .. } => {
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    }
}

/// Whether exports need a token or a user: somebody was given the right to send.
pub(super) fn names_senders(file: &AccessFile) -> bool {
    !file.tokens.is_empty() || file.users.values().any(|user| Role::Ingest.is_in(&user.roles))
}

fn judge(house: &House<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut warn = |text: &str, advice: &str| notes.push(Note::warn("access", text, advice));
    if house.far_otlp && !names_senders(house.file) && !house.takes_certificates {
        warn(
            "other machines reach the OTLP listeners, and whoever does may send spans",
            "make a token, after which all others are refused: spanhouse token add NAME",
        );
    }
    if house.far_postgres && house.file.users.is_empty() {
        warn(
            "other machines reach the PostgreSQL listener, and none of them is let in: there is no user",
            "add one: spanhouse user add NAME --role reader. From then on this machine needs a password too",
        );
    }
    if (house.far_otlp || house.far_postgres) && !house.has_tls && house.plaintext == Plaintext::Anywhere {
        warn(
            "other machines connect without encryption: whoever is between may read spans and tokens",
            "give tls_cert and tls_key, or keep the way to a proxy that encrypts within this machine or its network",
        );
    }
    if house.far_admin {
        warn(
            "other machines reach the admin listener, which asks nobody for a password",
            "it tells figures and nothing of spans: keep it within the network of those who watch",
        );
    }
    if notes.is_empty() {
        let (users, tokens) =
            (count(house.file.users.len() as u64, "user"), count(house.file.tokens.len() as u64, "token"));
        let who =
            match (house.far_otlp || house.far_postgres, house.file.users.is_empty() && house.file.tokens.is_empty()) {
                (false, true) => "only this machine reaches the listeners, and needs no password".to_owned(),
                (false, false) => format!("only this machine reaches the listeners; there are {users} and {tokens}"),
                (true, _) => format!("other machines reach the listeners; there are {users} and {tokens}"),
            };
        notes.push(Note::ok("access", who));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{NewToken, TokenEntry, UserEntry, Verifier};
    use crate::cli::note::Level;

    fn texts(house: &House<'_>) -> Vec<String> {
        judge(house).into_iter().map(|note| format!("{:?} {}", note.level, note.text)).collect()
    }

    #[test]
    fn what_other_machines_reach_is_looked_at() {
        let nobody = AccessFile::default();
        let near = House {
            file: &nobody,
            takes_certificates: false,
            has_tls: false,
            plaintext: Plaintext::Loopback,
            far_otlp: false,
            far_postgres: false,
            far_admin: false,
        };
        assert_eq!(texts(&near), ["Ok only this machine reaches the listeners, and needs no password"]);
        let open =
            House { far_otlp: true, far_postgres: true, far_admin: true, plaintext: Plaintext::Anywhere, ..near };
        let notes = judge(&open);
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert!(notes.iter().all(|note| note.level == Level::Warn && note.advice.is_some()));

        let mut somebody = AccessFile::default();
        let reader = UserEntry::new(Verifier::of_password("x"), [Role::Reader].into());
        somebody.users.insert("ada".into(), reader);
        let entry = TokenEntry {
            sha256: NewToken::new("shop").digest,
            role: Role::Ingest,
            spans_per_second: None,
            tenant: None,
        };
        somebody.tokens.insert("shop".into(), entry);
        let kept = House { file: &somebody, has_tls: true, far_admin: false, ..open };
        assert_eq!(texts(&kept), ["Ok other machines reach the listeners; there are 1 user and 1 token"]);
        let with_certificates = House {
            file: &nobody,
            takes_certificates: true,
            far_postgres: false,
            has_tls: true,
            far_admin: false,
            ..open
        };
        assert_eq!(texts(&with_certificates).len(), 1);
        assert!(
            is_near(&Listen::At { host: "::1".into(), port: 1 })
                && !is_near(&Listen::At { host: "0.0.0.0".into(), port: 1 })
        );
    }
}
