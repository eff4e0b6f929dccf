//! A real server process on a data directory, on ports of its own, for tests that look at the product from outside.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use spanhouse::ingest::{ClientSettings, ExportClient};
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// A debug build under load starts within a few seconds; replaying a log takes longer.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// What a server may take to end after the reason for it.
const END_TIMEOUT: Duration = Duration::from_secs(120);

/// A running `spanhouse serve`; dropping it kills the process.
pub struct Server {
    child: Mutex<Child>,
    addresses: Value,
    exporter: ExportClient,
    _own_folder: Option<TempDir>,
}

impl Server {
    /// Starts a server on a new directory, which goes with it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Self::start_in(folder.path(), &[]);
        server._own_folder = Some(folder);
        server
    }

    /// Starts a server on `folder` with settings by environment, and waits until it listens.
    pub fn start_in(folder: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start_logging(folder, environment, Stdio::inherit())
    }

    /// The same, with its log of events in `log`.
    pub fn start_logging(folder: &Path, environment: &[(&str, &str)], log: impl Into<Stdio>) -> Self {
        let addresses_file = folder.join("server.json");
        let _ = std::fs::remove_file(&addresses_file);
        let mut child = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
            .arg("serve")
            .arg("--data-dir")
            .arg(folder)
            .args(["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--postgres", "127.0.0.1:0"])
            .args(["--admin-listen", "127.0.0.1:0"])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("spanhouse starts");
        let addresses = wait_for(&addresses_file, &mut child);
        let endpoint = format!("http://{}/v1/traces", addresses["otlp_http"].as_str().expect("an address"));
        let settings = ClientSettings { retry_for: Duration::ZERO, ..ClientSettings::default() };
        let exporter = ExportClient::new(&endpoint, &settings).expect("an endpoint");
        Self { child: Mutex::new(child), addresses, exporter, _own_folder: None }
    }

    /// `http://…` of the OTLP/gRPC listener.
    pub fn otlp_grpc_url(&self) -> String {
        format!("http://{}", self.address("otlp_grpc"))
    }

    /// `http://…` of the OTLP/HTTP listener, without a path.
    pub fn otlp_http_url(&self) -> String {
        format!("http://{}", self.address("otlp_http"))
    }

    /// `http://…` of the admin listener, without a path.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.address("admin"))
    }

    /// The port of the Postgres listener.
    pub fn postgres_port(&self) -> &str {
        self.address("postgres").rsplit_once(':').expect("host and port").1
    }

    fn address(&self, listener: &str) -> &str {
        self.addresses[listener].as_str().expect("an address")
    }

    /// Opens a Postgres session.
    pub async fn postgres(&self) -> tokio_postgres::Client {
        let (host, port) = self.address("postgres").rsplit_once(':').expect("host and port");
        let parameters = format!("host={host} port={port} user=test dbname=spanhouse");
        let (client, connection) = tokio_postgres::connect(&parameters, NoTls).await.expect("a session");
        tokio::spawn(connection);
        client
    }

    /// Asks with the real psql: unaligned rows without a header, fields parted by `|`. `None` without a psql.
    pub fn psql(&self, statement: &str) -> Option<String> {
        let (host, port) = self.address("postgres").rsplit_once(':').expect("host and port");
        let arguments =
            ["-h", host, "-p", port, "-U", "test", "-d", "spanhouse", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-c"];
        let output = Command::new("psql").args(arguments).arg(statement).output().ok()?;
        assert!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).expect("UTF-8"))
    }

    /// Imports a file over OTLP/gRPC with the product's own command.
    pub fn import_grpc(&self, file: &Path) {
        let done = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
            .args(["import", "--to", &self.otlp_grpc_url()])
            .arg(file)
            .output()
            .expect("spanhouse starts");
        assert!(done.status.success(), "import failed: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Sends one protobuf request over OTLP/HTTP, which must be accepted.
    pub async fn post_traces(&self, request: Vec<u8>) {
        let receipt = self.exporter.export(Bytes::from(request)).await.expect("an accepted export");
        assert_eq!(receipt.rejected_spans, 0, "{}", receipt.message);
    }

    /// Sends one protobuf request over OTLP/HTTP once; tells whether it was acknowledged.
    pub async fn try_post_traces(&self, request: Vec<u8>) -> bool {
        self.exporter.export(Bytes::from(request)).await.is_ok()
    }

    /// Ends the process without a chance to tidy up.
    pub fn kill_9(&self) {
        let mut child = self.child.lock().expect("not poisoned");
        child.kill().expect("a running server");
        child.wait().expect("an ended server");
    }

    /// Waits until the process has ended by itself; gives its exit code.
    pub fn exit_code(&self) -> Option<i32> {
        let give_up = Instant::now() + END_TIMEOUT;
        loop {
            if let Some(status) = self.child.lock().expect("not poisoned").try_wait().expect("a child of ours") {
                return status.code();
            }
            assert!(Instant::now() < give_up, "the server has not ended after {END_TIMEOUT:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the process to stop.
    pub fn ask_to_stop(&self) {
        let pid = self.child.lock().expect("not poisoned").id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    }

    /// Asks the process to stop and requires that it ends well.
    pub fn stop(self) {
        self.ask_to_stop();
        let mut child = self.child.lock().expect("not poisoned");
        let status = child.wait().expect("an ended server");
        assert!(status.success(), "the server ended with {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait_for(addresses_file: &Path, child: &mut Child) -> Value {
    let give_up = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(addresses) =
            std::fs::read(addresses_file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            return addresses;
        }
        if let Some(status) = child.try_wait().expect("a child of ours") {
            panic!("the server ended at its start with {status}");
        }
        assert!(Instant::now() < give_up, "the server does not listen after {START_TIMEOUT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The most memory that the server of a folder has had; `None` where the system does not tell.
pub fn peak_bytes(folder: &Path) -> Option<u64> {
    let process = std::fs::read_to_string(folder.join("lock")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.trim())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}
