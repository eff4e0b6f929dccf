//! Who is let in and who is not, over a file of users and tokens.

use std::collections::BTreeSet;

use super::*;
use crate::access::allowance::Pass;
use crate::access::file::{TokenEntry, UserEntry};
use crate::access::role::Role;
use crate::access::scram::Verifier;
use crate::access::stream::ClientCertificate;
use crate::access::token::NewToken;

struct Folder {
    folder: tempfile::TempDir,
    gate: Arc<Gate>,
}

impl Folder {
    fn new(plaintext: Plaintext) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let gate = Gate::open(folder.path(), GateSettings { tls: None, plaintext }).expect("a gate");
        Self { folder, gate }
    }

    fn edit(&self, change: impl FnOnce(&mut AccessFile)) {
        let edited = AccessFile::edit(self.folder.path(), |file| {
            change(file);
            Ok(())
        });
        edited.expect("written");
        self.gate.look();
    }

    fn user(&self, name: &str, roles: &[Role]) {
        let roles = roles.iter().copied().collect::<BTreeSet<_>>();
        let verifier = Verifier::of_password(&format!("{name}'s"));
        self.edit(|file| drop(file.users.insert(name.into(), UserEntry::new(verifier, roles))));
    }

    fn token(&self, id: &str, role: Role, spans_per_second: Option<u64>) -> String {
        let NewToken { text, digest } = NewToken::new(id);
        self.edit(|file| {
            file.tokens.insert(id.into(), TokenEntry { sha256: digest, role, spans_per_second, tenant: None });
        });
        text
    }

    async fn export(&self, peer: &Peer, credential: Credential<'_>) -> Result<Pass, Kind> {
        self.gate.admit_export(peer, credential, None).await.map_err(|error| error.kind)
    }
}

fn peer(address: &str, is_encrypted: bool) -> Peer {
    Peer { address: SocketAddr::new(address.parse().expect("an address"), 9), is_encrypted, certificate: None }
}

#[test]
fn without_users_only_this_machine_asks_and_with_users_all_prove_themselves() {
    let house = Folder::new(Plaintext::Anywhere);
    let admit = |address| house.gate.admit_session(&peer(address, false), "ada");
    for near in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert!(admit(near).expect("let in").is_none(), "{near}");
    }
    let error = admit("192.0.2.7").expect_err("far away");
    assert_eq!(error.sqlstate(), "28000");
    assert!(error.hint.is_some_and(|hint| hint.contains("spanhouse user add")));
    house.user("ada", &[Role::Reader]);
    house.user("bot", &[Role::Ingest]);
    for from in ["127.0.0.1", "192.0.2.7"] {
        assert!(admit(from).expect("may try").expect("a login").is_known, "{from}");
    }
    let stranger = house.gate.admit_session(&peer("127.0.0.1", false), "eve").expect("may try").expect("a login");
    assert!(!stranger.is_known);
    let shows = |name: &str, user| {
        let certificate = Some(ClientCertificate { name: Some(name.to_owned()) });
        house.gate.admit_session(&Peer { certificate, ..peer("192.0.2.7", true) }, user)
    };
    assert!(shows("ada", "ada").expect("let in").is_none(), "its certificate names it");
    assert!(shows("ada", "eve").expect("may try").is_some() && shows("eve", "eve").expect("may try").is_some());
    assert_eq!(shows("bot", "bot").expect_err("sends only").sqlstate(), "28000");
    assert!(house.gate.may_ask("ada").is_ok());
    assert_eq!(house.gate.may_ask("bot").expect_err("sends only").sqlstate(), "28000");
    assert_eq!(house.gate.may_ask("eve").expect_err("not there").sqlstate(), "28P01");
}

#[tokio::test]
async fn row_15_an_export_needs_what_lets_it_in() {
    let house = Folder::new(Plaintext::Anywhere);
    let near = peer("127.0.0.1", false);
    assert!(house.export(&near, Credential::None).await.is_ok(), "nobody was named yet");
    house.user("ada", &[Role::Reader]);
    assert!(house.export(&near, Credential::None).await.is_ok(), "who reads is no matter of who sends");
    let shop = house.token("shop", Role::Ingest, None);
    let reads = house.token("reads", Role::Reader, None);
    let admin = house.token("admin", Role::Admin, None);
    house.user("bot", &[Role::Ingest]);
    let password = |user, password| Credential::Password { user, password };
    let forged = shop.replacen("shop", "admin", 1);
    let tried = [
        (Credential::None, Err(Kind::Unauthenticated)),
        (Credential::Token(""), Err(Kind::Unauthenticated)),
        (Credential::Token("sph_shop."), Err(Kind::Unauthenticated)),
        (Credential::Token(&forged), Err(Kind::Unauthenticated)),
        (Credential::Token(&shop[..shop.len() - 1]), Err(Kind::Unauthenticated)),
        (Credential::Token(&shop), Ok(())),
        (Credential::Token(&admin), Ok(())),
        (Credential::Token(&reads), Err(Kind::Denied)),
        (password("bot", "bot's"), Ok(())),
        (password("bot", "bot's"), Ok(())),
        (password("bot", "ada's"), Err(Kind::Unauthenticated)),
        (password("ada", "ada's"), Err(Kind::Denied)),
        (password("eve", "eve's"), Err(Kind::Unauthenticated)),
    ];
    for (number, (credential, wanted)) in tried.into_iter().enumerate() {
        let passed = house.export(&near, credential).await.map(drop);
        assert_eq!(passed, wanted, "credential {number}");
    }
    let certified = Peer { certificate: Some(ClientCertificate { name: None }), ..near.clone() };
    assert!(house.export(&certified, Credential::None).await.is_ok());
    assert_eq!(house.gate.failures(), 6, "what was not even tried is no failure");
    house.edit(|file| {
        file.tokens.remove("shop");
    });
    assert_eq!(house.export(&near, Credential::Token(&shop)).await.map(drop), Err(Kind::Unauthenticated), "dropped");
    house.user("bot", &[Role::Reader]);
    assert_eq!(house.export(&near, password("bot", "bot's")).await.map(drop), Err(Kind::Denied), "revoked");
}

#[tokio::test]
async fn an_admin_is_one_who_sends() {
    let house = Folder::new(Plaintext::Loopback);
    let near = peer("127.0.0.1", false);
    house.user("root", &[Role::Admin]);
    assert_eq!(house.export(&near, Credential::None).await.map(drop), Err(Kind::Unauthenticated));
    let password = Credential::Password { user: "root", password: "root's" };
    assert!(house.export(&near, password).await.is_ok());
}

#[tokio::test]
async fn a_rate_holds_across_new_versions_of_the_file() {
    let house = Folder::new(Plaintext::Loopback);
    let near = peer("::1", false);
    let slow = house.token("slow", Role::Ingest, Some(1));
    house.export(&near, Credential::Token(&slow)).await.expect("let in").had(1_000_000);
    for _ in 0..2 {
        let over = house.export(&near, Credential::Token(&slow)).await.expect_err("over its rate");
        let Kind::OverRate { retry_after } = over else { panic!("{over:?}") };
        assert!((900_000..=1_000_000).contains(&retry_after.as_secs()), "{retry_after:?}");
        house.token("other", Role::Ingest, None);
    }
    house.edit(|file| {
        if let Some(token) = file.tokens.get_mut("slow") {
            token.spans_per_second = Some(2);
        }
    });
    assert!(house.export(&near, Credential::Token(&slow)).await.is_ok(), "another rate begins anew");
}

#[tokio::test]
async fn row_39_what_must_be_encrypted_is() {
    for (plaintext, from, may) in [
        (Plaintext::Never, "127.0.0.1", false),
        (Plaintext::Never, "192.0.2.7", false),
        (Plaintext::Loopback, "127.0.0.1", true),
        (Plaintext::Anywhere, "192.0.2.7", true),
    ] {
        let house = Folder::new(plaintext);
        house.user("ada", &[Role::Reader]);
        let session = house.gate.admit_session(&peer(from, false), "ada");
        assert_eq!(session.is_ok(), may, "{plaintext:?} {from}");
        assert!(session.err().is_none_or(|error| error.sqlstate() == "28000"));
        let export = house.export(&peer(from, false), Credential::None).await;
        assert_eq!(export.map(drop), if may { Ok(()) } else { Err(Kind::Denied) }, "{plaintext:?} {from}");
        assert!(
            house.gate.admit_session(&peer(from, true), "ada").is_ok()
                && house.export(&peer(from, true), Credential::None).await.is_ok()
        );
    }
}

#[test]
fn a_damaged_file_changes_nothing_and_neither_does_one_that_goes() {
    let house = Folder::new(Plaintext::Loopback);
    house.user("ada", &[Role::Reader]);
    let path = AccessFile::path(house.folder.path());
    std::fs::write(&path, "{").expect("written");
    house.gate.look();
    assert!(house.gate.may_ask("ada").is_ok());
    assert!(Gate::open(house.folder.path(), GateSettings::default()).is_err(), "nothing is in force at the start");
    std::fs::remove_file(&path).expect("removed");
    house.gate.look();
    assert!(house.gate.admit_session(&peer("127.0.0.1", false), "ada").expect("may try").is_some());
    assert!(house.gate.may_ask("ada").is_ok());
    house.user("eve", &[Role::Reader]);
    assert!(house.gate.may_ask("eve").is_ok() && house.gate.may_ask("ada").is_err(), "a new file is taken");
    house.edit(|file| file.users.clear());
    assert!(house.gate.admit_session(&peer("127.0.0.1", false), "ada").expect("let in").is_none());
}

#[tokio::test]
async fn row_41_passwords_are_not_judged_while_many_answers_wait_and_tokens_are() {
    let house = Folder::new(Plaintext::Loopback);
    house.user("bot", &[Role::Ingest]);
    let token = house.token("shop", Role::Ingest, None);
    let (near, other) = (peer("127.0.0.1", false), peer("::1", false));
    for _ in 0..100 {
        house.gate.failures.note(near.ip(), Instant::now());
    }
    let password = Credential::Password { user: "bot", password: "bot's" };
    assert!(matches!(house.export(&near, password).await, Err(Kind::OverRate { .. })));
    let refused = house.gate.may_try(&near).expect_err("too many");
    assert_eq!((refused.sqlstate(), refused.http_status(), refused.retryable()), ("53300", 429, true));
    assert!(house.export(&near, Credential::Token(&token)).await.is_ok(), "nobody guesses these");
    assert!(house.export(&other, password).await.is_ok(), "another address");
    assert!(house.export(&near, password).await.is_ok(), "known by now");
}
