//! A real Alertmanager on a port of its own, which tells a webhook of what it takes.

use std::net::SocketAddr;
use std::process::{Child, Command};

use serde_json::Value;
use tempfile::TempDir;

use super::clients::program;
use super::object_stores::{free_address, request, start};

/// A running Alertmanager; dropping it ends the process.
pub struct Alertmanager {
    child: Child,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Alertmanager {
    /// Starts one that tells of each alert at once, and of its end; `None` with a word when none is installed.
    pub fn start(test: &str, webhook: &str) -> Option<Self> {
        let program = program(&["alertmanager", "prometheus-alertmanager"], test)?;
        let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
        let config = format!(
            "route:\n  receiver: hook\n  group_by: [report]\n  group_wait: 10ms\n  group_interval: 200ms\n  repeat_interval: 4h\n\
             receivers:\n- name: hook\n  webhook_configs:\n  - url: {webhook}\n"
        );
        let file = folder.path().join("alertmanager.yml");
        std::fs::write(&file, config).expect("written");
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}")).arg("--cluster.listen-address=");
        Some(Self { child: start(command, address), address, _folder: folder })
    }

    /// The alerts that it knows and that have not ended.
    pub fn alerts(&self) -> Vec<Value> {
        let head = format!("GET /api/v2/alerts HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
        let answer = request(self.address, &head);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        assert!(head.contains(" 200 "), "{answer}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
