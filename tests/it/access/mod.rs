//! Who may come in: passwords, tokens, certificates and encryption, with real servers and real clients.

mod commands;
mod doorstep;
mod exports;
mod logins;
mod rights;
mod senders;
mod tenants;
mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Authority, Server};

/// A data directory with certificates beside it.
struct House {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new(folder.path(), "ours");
        Self { folder, authority }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs a command on the data directory; its password or token comes on standard input.
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        spanhouse(&[arguments, &["--data-dir", self.data_dir().to_str().expect("UTF-8")]].concat(), input)
    }

    /// What a command prints that must succeed.
    fn must(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    fn user(&self, name: &str, role: &str, password: &str) {
        self.must(&["user", "add", name, "--role", role, "--password-file", "-"], password);
    }

    fn token(&self, arguments: &[&str]) -> String {
        self.must(&[&["token", "add"], arguments].concat(), "")
    }

    /// Starts a server that encrypts.
    fn serve(&self, environment: &[(&str, &str)]) -> Server {
        let (certificate, key) = self.authority.server();
        let tls = [("SPANHOUSE_TLS_CERT", certificate.as_str()), ("SPANHOUSE_TLS_KEY", key.as_str())];
        std::fs::create_dir_all(self.data_dir()).expect("a folder");
        Server::start_in(&self.data_dir(), &[&tls, environment].concat())
    }
}

/// Runs the program with an input.
fn spanhouse(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
        .args(arguments)
        .env_remove("SPANHOUSE_PASSWORD")
        .env_remove("SPANHOUSE_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("spanhouse starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), input.as_bytes()).expect("written");
    child.wait_with_output().expect("it ends")
}

/// Waits until a running server has taken a change over.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < give_up, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A file with a text.
fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}
