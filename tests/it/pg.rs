//! A PostgreSQL server in this process over a small store, for the `pg_*` topics.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use spanhouse::access::Gate;
use spanhouse::engine::{Engine, EngineSettings};
use spanhouse::ingest::{Ingest, IngestSettings};
use spanhouse::server::{ServerSettings, serve};
use spanhouse::store::{Store, StoreSettings};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Four spans of two traces, written by hand: an error below a server span, an event, a link, a span without parent.
const SPANS: &str = include_str!("../fixtures/pg.otlp.json");

/// A running server; it stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub runtime: Runtime,
    shutdown: CancellationToken,
    serving: Option<JoinHandle<()>>,
    store: Arc<Store>,
    ingest: Arc<Ingest>,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts a server with the spans of `tests/fixtures/pg.otlp.json`.
    pub fn start() -> Self {
        Self::with_settings(ServerSettings::default())
    }

    /// Starts a server with settings of its own.
    pub fn with_settings(settings: ServerSettings) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let shutdown = CancellationToken::new();
        let (address, serving, store, ingest) = runtime.block_on(async {
            let store = Store::open(folder.path(), StoreSettings::default()).await.expect("a store");
            let ingest = Ingest::new(store.clone(), IngestSettings::default());
            ingest.export_json(SPANS.into()).await.expect("the spans are kept");
            let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let stop = shutdown.clone();
            let gate = Gate::for_this_machine();
            let serving =
                tokio::spawn(async move { serve(listener, gate, engine, settings, stop).await.expect("serves") });
            (address, serving, store, ingest)
        });
        Self { address, runtime, shutdown, serving: Some(serving), store, ingest, folder }
    }

    /// Keeps more spans, which come as an OTLP JSON request.
    pub fn keep_json(&self, request: &'static str) {
        let answer = self.runtime.block_on(self.ingest.export_json(request.into())).expect("kept");
        assert_eq!(answer.refusals.rejected_spans, 0, "{}", answer.refusals.message);
    }

    /// What `spanhouse sql` writes of the same spans.
    pub fn sql(&self, format: &str, statement: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
        command.args(["sql", "--format", format, statement, "--data-dir"]).arg(self.folder.path());
        let output = command.stdin(Stdio::null()).output().expect("spanhouse runs");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Stops the server and waits until it is down.
    pub fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(serving) = self.serving.take() {
            self.runtime.block_on(serving).expect("the server ended");
        }
    }

    /// Connects with tokio-postgres.
    pub async fn connect(&self) -> tokio_postgres::Client {
        let settings = format!("host=127.0.0.1 port={} user=ada dbname=traces", self.address.port());
        let (client, connection) = tokio_postgres::connect(&settings, tokio_postgres::NoTls).await.expect("connects");
        tokio::spawn(connection);
        client
    }

    /// A `psql` command line for this server, without the user's own configuration.
    pub fn psql(&self) -> Command {
        let mut command = Command::new("psql");
        command
            .args(["-X", "-h", "127.0.0.1", "-U", "ada", "-d", "traces", "-p", &self.address.port().to_string()])
            .env("PGCONNECT_TIMEOUT", "10")
            .env_remove("PAGER")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }

    /// Runs statements or backslash commands, each a `-c` of one `psql`, and returns what it printed.
    pub fn psql_output(&self, commands: &[&str]) -> Output {
        let mut psql = self.psql();
        for command in commands {
            psql.args(["-c", command]);
        }
        psql.output().expect("psql runs")
    }

    /// What `psql` prints of a script that it reads from its standard input; fails when it says an error.
    pub fn psql_script(&self, script: &str) -> String {
        let mut psql = self
            .psql()
            .args(["-q"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql runs");
        psql.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("psql reads");
        let output = psql.wait_with_output().expect("psql ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{script}: {errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// What `psql` prints on its standard output; fails when it says an error.
    pub fn psql_text(&self, commands: &[&str]) -> String {
        let output = self.psql_output(commands);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{commands:?}: {errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        // A store that fails to close has said so in its own tests.
        let _ = self.runtime.block_on(self.store.close());
    }
}

/// Whether `psql` is installed; else the test is skipped by name.
pub fn has_psql(test: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|path: PathBuf| path.join("psql").is_file()));
    if !found {
        crate::support::skip(test, "psql is not installed");
    }
    found
}
