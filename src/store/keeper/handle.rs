//! The store's end of the keeper.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use datafusion::object_store::path::Path;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::CompactReport;
use super::work::Work;
use crate::error::{Error, Kind, Result};
use crate::store::compact::{Rewriter, Stop};
use crate::store::priority::Priority;
use crate::store::redact::{RedactReport, SpanFilter};
use crate::store::shared::Shared;
use crate::store::table::Tombstone;

/// Explicit requests that wait for the keeper.
const QUEUE_COMMANDS: usize = 16;

/// A redaction to be carried out.
#[derive(Debug, Clone)]
pub struct Redaction {
    pub filter: Arc<dyn SpanFilter>,
    /// What the table's log calls it.
    pub receipt: String,
    /// Whether files that left the table are deleted without a grace for readers in other processes.
    pub delete_now: bool,
}

pub(super) enum Command {
    Compact(oneshot::Sender<Result<CompactReport>>),
    Redact(Redaction, oneshot::Sender<Result<RedactReport>>),
}

/// The store's end of the keeper. Dropping it ends the thread soon.
#[derive(Debug)]
pub(crate) struct Keeper {
    stop: Stop,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Starts the thread. `gone` are the files that left the table before, and `orphans` those that no commit names yet.
    pub(crate) fn start(
        shared: Arc<Shared>,
        runtime: Runtime,
        gone: Vec<Tombstone>,
        orphans: Vec<Path>,
    ) -> Result<Self> {
        let (commands, queue) = mpsc::channel(QUEUE_COMMANDS);
        let stop = Stop::default();
        let rewriter = Rewriter {
            runtime: runtime.handle().clone(),
            store: shared.rewrites.clone(),
            table: shared.table_dir.clone(),
            node: shared.node.clone(),
            stop: stop.clone(),
        };
        let work = Work::new(shared, rewriter, gone, orphans);
        let thread = thread::Builder::new()
            .name("spanhouse-keep".into())
            .spawn(move || {
                Priority::Upkeep.take();
                work.run(&runtime, queue);
                runtime.shutdown_background();
            })
            .map_err(|error| Error::io("the keeper's thread", error))?;
        Ok(Self { stop, running: Mutex::new(Some(Running { commands, thread })) })
    }

    /// Compacts until nothing is left to do.
    pub(crate) async fn compact(&self) -> Result<CompactReport> {
        self.ask(Command::Compact).await
    }

    /// Takes spans out of the files of the table.
    pub(crate) async fn redact(&self, redaction: Redaction) -> Result<RedactReport> {
        self.ask(|answer| Command::Redact(redaction, answer)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let closed = || Error::new(Kind::Closed, "the store is closed");
        let commands = self.lock().as_ref().map(|running| running.commands.clone()).ok_or_else(closed)?;
        let (answer, done) = oneshot::channel();
        commands.send(command(answer)).await.map_err(|_| closed())?;
        drop(commands);
        done.await.map_err(|_| closed())?
    }

    /// Gives up what the thread is at and ends it; blocks until then.
    pub(crate) fn stop(&self) {
        self.stop.set();
        let running = self.lock().take();
        if let Some(Running { commands, thread }) = running {
            drop(commands);
            if thread.join().is_err() {
                tracing::error!("the keeper's thread ended badly");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.set();
    }
}
