//! A real Collector on ports of its own, with the settings of `packaging/collector.yaml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use tempfile::TempDir;

use super::Server;
use super::object_stores::{free_address, start};

/// Names the program: the Collector's contrib distribution, which no package registry has.
const PROGRAM: &str = "TEST_COLLECTOR";

/// The settings that are shipped.
const SETTINGS: &str = include_str!("../../../packaging/collector.yaml");

/// A running Collector; dropping it ends the process.
pub struct Collector {
    child: Child,
    grpc: SocketAddr,
    folder: TempDir,
}

impl Collector {
    /// The program; `None` with a word when none was named.
    pub fn program(test: &str) -> Option<PathBuf> {
        let program = std::env::var_os(PROGRAM).map(PathBuf::from);
        if program.is_none() {
            eprintln!("SKIPPED {test}: {PROGRAM} names no Collector");
        }
        program
    }

    /// Starts one that sends to `server`, with a token, and writes what it sends into a file as well.
    pub fn start(program: &Path, server: &Server, token: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (grpc, http) = (free_address(), free_address());
        let target = server.otlp_grpc_url();
        let mut settings = SETTINGS.to_owned();
        for (shipped, here) in [
            ("0.0.0.0:4317", grpc.to_string()),
            ("0.0.0.0:4318", http.to_string()),
            ("spanhouse:4317", target.trim_start_matches("http://").to_owned()),
            ("/var/lib/otelcol", folder.path().join("queue").display().to_string()),
            (
                "    compression: zstd\n",
                format!("    compression: zstd\n    headers:\n      authorization: Bearer {token}\n"),
            ),
            (
                "exporters:\n  otlp",
                format!("exporters:\n  file:\n    path: {}\n  otlp", folder.path().join("spans.json").display()),
            ),
            ("exporters: [otlp", "exporters: [file, otlp".to_owned()),
            ("service:\n", "service:\n  telemetry:\n    metrics:\n      level: none\n".to_owned()),
        ] {
            assert!(settings.contains(shipped), "packaging/collector.yaml has no {shipped:?}");
            settings = settings.replacen(shipped, &here, 1);
        }
        let file = folder.path().join("collector.yaml");
        std::fs::write(&file, settings).expect("written");
        let mut command = Command::new(program);
        command.arg(format!("--config={}", file.display()));
        Self { child: start(command, grpc), grpc, folder }
    }

    /// Asks the program whether the shipped settings are settings.
    pub fn validate(program: &Path) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("collector.yaml");
        let here = SETTINGS.replace("/var/lib/otelcol", &folder.path().join("queue").display().to_string());
        std::fs::write(&file, here).expect("written");
        let checked = Command::new(program).arg("validate").arg(format!("--config={}", file.display())).output();
        let checked = checked.expect("it starts");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }

    /// `http://…` of the OTLP/gRPC receiver.
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// What its file exporter has written.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("spans.json")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
