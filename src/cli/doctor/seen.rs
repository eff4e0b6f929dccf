//! What all checks look at: the settings, the server's own words and a snapshot of the data directory.

use std::sync::Arc;

use crate::access::AccessFile;
use crate::admin::Vitals;
use crate::cli::data::{self, ServerFile};
use crate::cli::note::Note;
use crate::cli::settings::{Effective, Place, Settings};
use crate::cli::{sql, status};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::store::{Snapshot, SnapshotSource};

/// What was found before anything is judged.
pub(super) struct Seen {
    /// Those of the tenant that is asked about.
    pub settings: Settings,
    /// Those of the default tenant.
    pub home: Settings,
    /// The settings that somebody has given, by name.
    pub given: Vec<&'static str>,
    /// The server that has the data directory.
    pub server: Option<ServerFile>,
    /// What that says of itself, where it does.
    pub vitals: Option<Vitals>,
    pub access: Result<AccessFile>,
    /// The data directory, where there is one.
    pub stored: Option<Stored>,
    /// What the server and the data directory say of themselves.
    pub notes: Vec<Note>,
    pub now_ns: i64,
}

/// A data directory that could be read.
pub(super) struct Stored {
    pub engine: Arc<Engine>,
    pub snapshot: Snapshot,
}

impl Seen {
    /// Looks, and changes nothing.
    pub(super) async fn gather(settings: Settings, effective: &Effective) -> Self {
        let home = settings.home().to_owned();
        let given = effective.values.iter().filter(|(_, _, place)| *place != Place::Default).map(|value| value.0);
        let (told, vitals) = status::of_server(&home).await;
        // Whether anything arrives is told of with what to do when nothing does.
        let mut notes: Vec<Note> = told.into_iter().filter(|note| note.subject != "ingest").collect();
        let stored = match settings.data_dir.is_dir() {
            true => Some(Stored::open(&settings).await),
            false => None,
        };
        let stored = match stored {
            Some(Ok(stored)) => {
                if vitals.is_none() || settings.tenant().is_some() {
                    notes.extend(status::of_snapshot(&stored.snapshot, &settings.data_dir));
                }
                Some(stored)
            }
            Some(Err(error)) => {
                notes.push(unreadable(&error));
                None
            }
            None => {
                let text = format!("there is no data directory {}", settings.data_dir.display());
                notes.push(Note::warn(
                    "directory",
                    text,
                    format!("{}, if this is not the right one", data::OTHER_DIRECTORY),
                ));
                None
            }
        };
        Self {
            home: effective.settings.clone(),
            given: given.collect(),
            server: ServerFile::read(&home),
            vitals,
            access: AccessFile::read(&home),
            stored,
            notes,
            now_ns: chrono::Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX),
            settings,
        }
    }

    /// A figure of the server.
    pub(super) fn figure(&self, name: &str) -> Option<f64> {
        self.vitals.as_ref()?.figures.get(name).copied()
    }

    /// The time, in seconds since 1970.
    pub(super) fn now_s(&self) -> f64 {
        self.now_ns as f64 / 1e9
    }

    /// How long the server has been up, in seconds.
    pub(super) fn up_seconds(&self) -> Option<f64> {
        Some((self.now_s() - self.figure("process_start_time_seconds")?).max(0.0))
    }

    /// The start of the newest span that is in sight.
    pub(super) fn newest_ns(&self) -> Option<i64> {
        let snapshot = &self.stored.as_ref()?.snapshot;
        let fresh = snapshot.fresh.iter().filter_map(|batch| batch.starts().ok()?.iter().flatten().max());
        fresh.chain(snapshot.files.iter().map(|file| file.max_start_ns)).max()
    }
}

impl Stored {
    /// Reads a data directory, beside its server too.
    pub(super) async fn open(settings: &Settings) -> Result<Self> {
        let source = data::open_reader(settings).await?;
        let snapshot = source.snapshot().await?;
        Ok(Self { engine: sql::engine_over(source, settings)?, snapshot })
    }
}

fn unreadable(error: &Error) -> Note {
    let advice = match (&error.hint, error.kind) {
        (Some(hint), _) => hint.to_string(),
        (None, crate::error::Kind::Io) => {
            "is the disk or the object store there, and may this user read it? Run it as the server's user".to_owned()
        }
        (None, _) => "`spanhouse check` looks at all of it".to_owned(),
    };
    Note::bad("directory", format!("it cannot be read: {error}"), advice)
}
