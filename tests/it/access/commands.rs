//! The commands that set up who may come in, and a server that cannot start.

use super::{House, file, spanhouse};
use crate::support::{Authority, python};

#[test]
fn users_are_added_changed_listed_and_dropped() {
    let house = House::new();
    let text = |arguments: &[&str], input| house.must(arguments, input);
    assert_eq!(
        text(&["user", "add", "ada", "--password-file", "-"], "pencil\n"),
        "ada is a user now, with the role reader"
    );
    assert_eq!(text(&["user", "grant", "ada", "ingest"], ""), "ada has the roles ingest, reader now");
    assert_eq!(text(&["user", "revoke", "ada", "reader"], ""), "ada has the role ingest now");
    assert_eq!(text(&["user", "passwd", "ada", "--password-file", "-"], "chalk"), "ada has a new password");
    assert_eq!(
        text(&["user", "add", "Bob B", "--role", "admin", "--password-file", "-"], "x"),
        "Bob B is a user now, with the role admin"
    );
    assert_eq!(text(&["user", "list"], ""), "Bob B: the role admin\nada: the role ingest");
    let file = std::fs::read_to_string(house.data_dir().join("access.json")).expect("the file");
    assert!(file.contains("SCRAM-SHA-256$4096:") && !file.contains("pencil") && !file.contains("chalk"), "{file}");
    for (arguments, input, code, told) in [
        (&["user", "add", "ada", "--password-file", "-"][..], "x", 1, "there is a user \"ada\" already"),
        (&["user", "add", "a:b", "--password-file", "-"], "x", 2, "cannot be a user's name"),
        (&["user", "add", "eve", "--password-file", "-"], "\n", 2, "an empty password lets everybody in"),
        (&["user", "add", "eve", "--password-file", "/nowhere"], "", 1, "cannot read /nowhere"),
        (&["user", "add", "eve", "--role", "root", "--password-file", "-"], "x", 2, "there is no role \"root\""),
        (&["user", "add", "eve", "secret"], "", 2, "unexpected argument 'secret'"),
        (&["user", "passwd", "eve", "--password-file", "-"], "x", 1, "there is no user \"eve\""),
        (&["user", "grant", "eve", "reader"], "", 1, "there is no user \"eve\""),
        (&["user", "drop", "eve"], "", 1, "there is no user \"eve\""),
    ] {
        let output = house.run(arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(told), "{arguments:?}: {errors}");
    }
    assert_eq!(text(&["user", "drop", "ada"], ""), "ada is no user any more");
    assert_eq!(text(&["user", "list"], ""), "Bob B: the role admin");
}

#[test]
fn tokens_are_shown_once() {
    let house = House::new();
    let token = house.token(&["shop", "--spans-per-second", "5000"]);
    assert!(
        token.starts_with("sph_shop.") && token.len() == "sph_shop.".len() + 43 && token.lines().count() == 1,
        "{token}"
    );
    let reads = house.token(&["reads", "--role", "reader"]);
    assert_eq!(house.must(&["token", "list"], ""), "reads: reader\nshop: ingest, 5000 spans a second");
    let file = std::fs::read_to_string(house.data_dir().join("access.json")).expect("the file");
    assert!(!file.contains(&token) && !file.contains(&reads), "{file}");
    for (arguments, code, told) in [
        (&["token", "add", "shop"][..], 1, "there is a token shop already"),
        (&["token", "add", "a.b"], 2, "cannot be a token's name"),
        (&["token", "add", "x", "--spans-per-second", "0"], 2, "0 is not in 1..=1000000000"),
        (&["token", "drop", "x"], 1, "there is no token \"x\""),
    ] {
        let output = house.run(arguments, "");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(told), "{arguments:?}: {errors}");
    }
    assert_eq!(house.must(&["token", "drop", "shop"], ""), "shop lets nobody in any more");
    assert_eq!(house.must(&["token", "list"], ""), "reads: reader");
}

#[test]
fn a_password_is_typed_twice_and_not_seen() {
    let Some(python) = python("a_password_is_typed_twice_and_not_seen") else { return };
    let house = House::new();
    let data_dir = house.data_dir();
    let told =
        python.run("password_in_a_terminal.py", &[env!("CARGO_BIN_EXE_spanhouse"), data_dir.to_str().expect("UTF-8")]);
    assert_eq!(told.trim_end(), "exit codes 0 1 1");
    assert_eq!(house.must(&["user", "list"], ""), "ada: the role reader");
}

#[test]
fn row_40_a_server_with_a_bad_key_does_not_start_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = Authority::new(folder.path(), "ours").server();
    let (_, other_key) = Authority::new(folder.path(), "other").server();
    let broken = file(folder.path(), "broken.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let data_dir = folder.path().join("data");
    let serve = |more: &[&str]| {
        let common = ["serve", "--data-dir", data_dir.to_str().expect("UTF-8"), "--otlp-grpc", "127.0.0.1:0"];
        let output = spanhouse(&[&common[..], &["--postgres", "127.0.0.1:0"], more].concat(), "");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (key, why) in [
        (other_key.as_str(), "it is not the key of the certificate in"),
        ("/nowhere/server.key", "No such file"),
        (&certificate, "it holds none in PEM"),
        (&broken, "cannot be used"),
    ] {
        let (code, told) = serve(&["--tls-cert", &certificate, "--tls-key", key]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(&format!("the TLS key {key} cannot be used: ")) && told.contains(why), "{told}");
    }
    let (code, told) = serve(&["--tls-cert", &key, "--tls-key", &key]);
    assert!(code == Some(2) && told.contains(&format!("the TLS certificate {key} cannot be used: ")), "{told}");
    let (code, told) = serve(&["--tls-cert", &certificate]);
    assert!(code == Some(2) && told.contains("tls_cert needs tls_key"), "{told}");
    let (code, told) = serve(&["--otlp-http", "0.0.0.0:0"]);
    assert!(code == Some(2) && told.contains("other machines reach it"), "{told}");
    std::fs::create_dir_all(&data_dir).expect("a folder");
    file(&data_dir, "access.json", "{\n  \"version\": 1,\n  \"mock_key\": 5\n}\n");
    let (code, told) = serve(&[]);
    assert!(code == Some(4) && told.contains("access.json: ") && told.contains("line 3"), "{told}");
}
