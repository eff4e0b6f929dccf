//! Reports inside `serve`: their folder is watched, and what is due runs.

use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::settings::Settings;
use crate::engine::Engine;
use crate::error::Error;
use crate::report::{Folder, ReportsHome, Runner, Scheduler, SystemClock};

/// The task of reports; nothing else waits for it but the end of the server.
pub(super) struct ReportsAtWork(JoinHandle<()>);

impl ReportsAtWork {
    /// Starts watching and scheduling, and waits neither for the disk nor for the store. Where the journals cannot be read, no report runs and
    /// everything else goes on.
    pub(super) fn start(settings: &Settings, engine: &Arc<Engine>, shutdown: &CancellationToken) -> Self {
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        let (home, dir) = (ReportsHome::new(&settings.data_dir), settings.reports_dir.clone());
        let opened = tokio::task::spawn_blocking({
            let engine = engine.clone();
            move || {
                let runner = Runner::open(engine, home.clone(), Arc::new(SystemClock), &dir)?;
                Ok::<_, Error>((runner, Arc::new(Folder::open_to_plan(&dir, &home))))
            }
        });
        Self(tokio::spawn(async move {
            let opened = opened.await.unwrap_or_else(|error| Err(Error::internal(error.to_string())));
            match opened {
                Ok((runner, folder)) => work(runner, folder, engine, shutdown).await,
                Err(error) => {
                    let hint = error.hint.as_deref().unwrap_or_default();
                    tracing::error!(%error, hint, "no report runs until the server starts again");
                }
            }
        }))
    }

    /// Waits until everything has ended, after the shutdown was told.
    pub(super) async fn stop(self) {
        told(self.0.await);
    }
}

/// Watches the folder and schedules. A report is known to the scheduler once its statement is planned: what is wrong is told and not run, and one
/// that a disk keeps waiting holds up no other.
async fn work(runner: Runner, folder: Arc<Folder>, engine: Arc<Engine>, shutdown: CancellationToken) {
    let definitions = folder.clone();
    let scheduler = Scheduler::new(runner, Arc::new(move || definitions.defined()));
    let watching = tokio::spawn(folder.watch(engine, shutdown.clone()));
    let scheduling = tokio::spawn(scheduler.run(shutdown));
    told(watching.await);
    told(scheduling.await);
}

fn told(ended: std::result::Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of reports failed");
    }
}
