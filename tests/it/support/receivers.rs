//! Mail servers and a web server that encrypt, with certificates of an authority that nobody else trusts.

use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::clients::receivers;

const START_TIMEOUT: Duration = Duration::from_secs(120);

/// The servers of `tests/clients/receivers/receive.py`; dropping them ends the process.
pub struct Receivers {
    child: Child,
    folder: TempDir,
    ports: Value,
    /// The authority's certificate in PEM.
    pub authority: Vec<u8>,
}

impl Receivers {
    /// The user and the password that the mail servers know.
    pub const LOGIN: (&str, &str) = ("reports", "pass-w0rd-of-mail");

    /// The key that the web server expects to have signed a request.
    pub const SIGNING_KEY: &str = "k3y-of-the-hook";

    pub fn start(test: &str) -> Option<Self> {
        let runtime = receivers(test)?;
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = runtime.start("receive.py", &[folder.path().as_os_str()]);
        let give_up = Instant::now() + START_TIMEOUT;
        let ready = folder.path().join("ready.json");
        while !ready.exists() {
            assert!(child.try_wait().expect("a child of ours").is_none(), "the receivers ended at their start");
            assert!(Instant::now() < give_up, "the receivers are not ready after {START_TIMEOUT:?}");
            thread::sleep(Duration::from_millis(50));
        }
        let authority = std::fs::read(folder.path().join("authority.pem")).expect("a certificate");
        Some(Self { child, ports: json(&ready), authority, folder })
    }

    /// The port of a server of that name.
    pub fn port(&self, name: &str) -> u16 {
        self.ports[name].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port")
    }

    /// The certificate's file.
    pub fn authority_file(&self) -> std::path::PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// What a server got, the first first.
    pub fn got(&self, name: &str) -> Vec<Value> {
        let file = |number: usize| self.folder.path().join(format!("{name}-{number}.json"));
        (1..).map(file).take_while(|file| file.exists()).map(|file| json(&file)).collect()
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON")
}
