//! Reports inside `serve`: their folder is watched, and what is due runs.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::settings::Settings;
use crate::engine::Engine;
use crate::error::Result;
use crate::report::{Folder, ReportsHome, Runner, Scheduler, SystemClock};

/// The tasks of reports; nothing else waits for them but the end of the server.
#[derive(Default)]
pub(super) struct ReportsAtWork(Vec<JoinHandle<()>>);

impl ReportsAtWork {
    /// Starts watching and scheduling. Where the journals cannot be read, no report runs and everything else goes on.
    pub(super) fn start(settings: &Settings, engine: &Arc<Engine>, shutdown: &CancellationToken) -> Self {
        match Self::try_start(settings, engine, shutdown) {
            Ok(started) => started,
            Err(error) => {
                let hint = error.hint.as_deref().unwrap_or_default();
                tracing::error!(%error, hint, "no report runs until the server starts again");
                Self::default()
            }
        }
    }

    fn try_start(settings: &Settings, engine: &Arc<Engine>, shutdown: &CancellationToken) -> Result<Self> {
        let home = ReportsHome::new(&settings.data_dir);
        let runner = Runner::open(engine.clone(), home, Arc::new(SystemClock), &settings.reports_dir)?;
        let folder = Arc::new(Folder::open(&settings.reports_dir));
        let definitions = folder.clone();
        let scheduler = Scheduler::new(runner, Arc::new(move || definitions.defined()));
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        let planned = CancellationToken::new();
        // What is wrong is told and not run: nothing is due before all is planned.
        let watching = {
            let (planned, shutdown) = (planned.clone().drop_guard(), shutdown.clone());
            tokio::spawn(async move {
                folder.plan_and_tell(&engine).await;
                drop(planned);
                folder.watch(engine, shutdown).await;
            })
        };
        let scheduling = tokio::spawn(async move {
            tokio::select! {
                () = planned.cancelled() => scheduler.run(shutdown).await,
                () = shutdown.cancelled() => {}
            }
        });
        Ok(Self(vec![watching, scheduling]))
    }

    /// Waits until everything has ended, after the shutdown was told.
    pub(super) async fn stop(self) {
        for task in self.0 {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of reports failed");
            }
        }
    }
}
