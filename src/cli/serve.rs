//! `serve`: run until told to stop.

use std::net::SocketAddr;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::data::{self, ServerFile};
use super::exit::Exit;
use super::house::House;
use super::logging;
use super::output::say;
use super::settings::SettingFlags;
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  spanhouse serve
  spanhouse serve --data-dir /var/lib/spanhouse --log-format json
  spanhouse serve --otlp-http off --postgres 127.0.0.1:0
  SPANHOUSE_SEAL_AFTER=5m spanhouse serve

Every setting can be given as a flag, as an environment variable or in a file; see `spanhouse config --help`.

The first SIGTERM or Ctrl-C stops accepting, finishes requests under way, moves all spans into the table \
and exits 0. A second one exits at once with 130: what was acknowledged is in the log and will be read at \
the next start.

While it runs, server.json in the data directory tells its process id and addresses.";

/// Take traces over OTLP and answer SQL about them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: SettingFlags,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.flags.settings()?;
    logging::start(&settings.log, settings.log_format)?;
    let mut stop = StopSignals::listen()?;
    let data_dir = settings.data_dir.clone();
    data::make(&data_dir)?;
    let house = tokio::select! {
        house = House::start(settings) => house?,
        // Nothing was accepted yet.
        () = stop.next() => return Ok(Exit::Success),
    };
    let version = env!("CARGO_PKG_VERSION");
    let (data_dir, addresses) = (data_dir.display(), addresses(&house.addresses));
    // A server serves, whether or not anybody reads what it says.
    let _ = say!("spanhouse {version} is ready; data in {data_dir}\n{addresses}Stop with Ctrl-C.");
    wait_and_stop(house, stop).await
}

/// How to reach the server, a line a listener.
pub(super) fn addresses(addresses: &ServerFile) -> String {
    let scheme = if addresses.tls { "https" } else { "http" };
    let lines = [
        addresses.otlp_grpc.map(|address| format!("  OTLP/gRPC   {scheme}://{address}\n")),
        addresses.otlp_http.map(|address| format!("  OTLP/HTTP   {scheme}://{address}/v1/traces\n")),
        addresses.postgres.map(|address| format!("  PostgreSQL  {}\n", psql(address))),
        addresses.admin.map(|address| format!("  Metrics     http://{address}/metrics\n")),
    ];
    lines.into_iter().flatten().collect()
}

/// The command that connects to the PostgreSQL listener.
pub(super) fn psql(address: SocketAddr) -> String {
    format!("psql -h {} -p {} spanhouse", address.ip(), address.port())
}

/// Serves until a signal or a failure, then stops in order.
pub(super) async fn wait_and_stop(mut house: House, mut stop: StopSignals) -> Result<Exit> {
    let failure = tokio::select! {
        () = stop.next() => None,
        error = house.failed() => Some(error),
    };
    tracing::info!("stopping: no new requests; moving spans into the table");
    let stopped = tokio::select! {
        stopped = house.stop() => stopped,
        () = stop.next() => return Ok(Exit::Interrupted),
    };
    match failure {
        Some(error) => Err(error),
        None => stopped.map(|()| Exit::Success),
    }
}

/// SIGTERM and SIGINT.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(super) fn listen() -> Result<Self> {
        let failed = |error| Error::io("cannot listen for signals", error);
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self { terminate, interrupt })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
