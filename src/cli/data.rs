//! The data directory as other commands than `serve` see it: where it is, and the server that has it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::settings::{SettingFlags, Settings};
use crate::error::{Error, Kind, Result};
use crate::store::{Retention, StoreReader, StoreSettings, announced_retention};

/// The file in a data directory that tells where its server listens. It is there while a server runs.
const SERVER_FILE: &str = "server.json";

/// The one setting that every command needs.
#[derive(Debug, Clone, Args)]
pub(super) struct DataDir {
    /// Where spans are kept [env: SPANHOUSE_DATA_DIR] [default: ./spanhouse-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings file to take data_dir from [env: SPANHOUSE_CONFIG] [default: spanhouse.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DataDir {
    /// The flags of a command that takes no other settings.
    pub(super) fn flags(&self) -> SettingFlags {
        let given = self.data_dir.iter().map(|dir| ("data_dir", dir.to_string_lossy().into_owned()));
        SettingFlags { given: given.collect(), config: self.config.clone() }
    }
}

/// Where a running server listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ServerFile {
    pub(super) pid: u32,
    pub(super) otlp_grpc: Option<SocketAddr>,
    pub(super) otlp_http: Option<SocketAddr>,
    pub(super) postgres: Option<SocketAddr>,
    /// Whether the listeners for spans and statements encrypt.
    #[serde(default)]
    pub(super) tls: bool,
    #[serde(default)]
    pub(super) admin: Option<SocketAddr>,
}

impl ServerFile {
    /// Writes the file whole or not at all.
    pub(super) fn write(&self, data_dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::internal(error.to_string()))?;
        let (path, partial) = (data_dir.join(SERVER_FILE), data_dir.join("server.json.partial"));
        let written = std::fs::write(&partial, text + "\n").and_then(|()| std::fs::rename(&partial, &path));
        written.map_err(|error| Error::io(format!("cannot write {}", path.display()), error))
    }

    pub(super) fn remove(data_dir: &Path) {
        // Without it nobody finds the server; a leftover is told from a running server by its process.
        let _ = std::fs::remove_file(data_dir.join(SERVER_FILE));
    }

    /// The server that has the directory now, if one does.
    pub(super) fn read(data_dir: &Path) -> Option<Self> {
        let holder = crate::store::holder(data_dir)?;
        let text = std::fs::read_to_string(data_dir.join(SERVER_FILE)).ok()?;
        serde_json::from_str::<Self>(&text).ok().filter(|file| file.pid == holder)
    }
}

/// Makes the directory of a server that is to start, where it is missing; what is wrong with it is told before anything else is looked at.
pub(super) fn make(data_dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let named = data_dir.display();
    if data_dir.exists() && !data_dir.is_dir() {
        return Err(Error::bad_input(format!("{named} is a file, and the data directory must be a directory"))
            .with_hint("name another with --data-dir"));
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    let probe = made.and_then(|()| tempfile::tempfile_in(data_dir));
    probe.map(drop).map_err(|error| {
        Error::io(format!("cannot write in the data directory {named}"), error)
            .with_hint("let the user that the server runs as write there, or name another with --data-dir")
    })
}

/// Refuses a data directory that is not there: a reader would otherwise answer that there are no spans.
pub(super) fn must_exist(data_dir: &Path) -> Result<()> {
    if data_dir.is_dir() {
        return Ok(());
    }
    let message = format!("there is no data directory {}", data_dir.display());
    Err(Error::new(Kind::NotFound, message).with_hint(OTHER_DIRECTORY))
}

/// A reader of the data directory, which takes no lock.
pub(super) async fn open_reader(settings: &Settings) -> Result<Arc<StoreReader>> {
    StoreReader::open(&settings.data_dir).await.map_err(|error| match error.kind {
        Kind::NotFound => error.with_hint(OTHER_DIRECTORY),
        _ => error,
    })
}

/// The store's settings for a command that works on a directory in the place of its server: what that had announced goes on to hold.
pub(super) fn for_upkeep(settings: &Settings) -> Result<StoreSettings> {
    let retention = announced_retention(&settings.data_dir)?;
    Ok(StoreSettings { compact: false, retention, ..settings.store() })
}

/// The store's settings for an import into a directory in the place of its server: what that had announced goes on to hold, unless this
/// command is told otherwise.
pub(super) fn for_import(settings: &Settings) -> Result<StoreSettings> {
    let own = settings.store();
    if own.retention != Retention::default() {
        return Ok(own);
    }
    Ok(StoreSettings { retention: announced_retention(&settings.data_dir)?, ..own })
}

/// What to do when a data directory is not there or holds no store.
pub(super) const OTHER_DIRECTORY: &str = "start `spanhouse serve`, import into it, or name another with --data-dir";
