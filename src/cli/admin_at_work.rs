//! The listener that tells of the server, from before its log is read until after its last span is sealed.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::access::Gate;
use crate::admin::{self, Parts, Watched};
use crate::error::Result;

/// The listener's task. Nothing waits for it but the end of the server, and its failure ends nothing.
pub(super) struct AdminAtWork {
    watched: Arc<Watched>,
    shutdown: CancellationToken,
    task: Option<JoinHandle<Result<()>>>,
}

impl AdminAtWork {
    /// Starts to tell that the server is starting.
    pub(super) fn start(listener: Option<TcpListener>, gate: &Arc<Gate>) -> Self {
        let (watched, shutdown) = (Arc::new(Watched::of(gate.clone())), CancellationToken::new());
        let serving = |listener| admin::serve(listener, gate.clone(), watched.clone(), shutdown.clone());
        let task = listener.map(|listener| tokio::spawn(serving(listener)));
        Self { watched, shutdown, task }
    }

    /// What the listener tells of.
    pub(super) fn watched(&self) -> Arc<Watched> {
        self.watched.clone()
    }

    pub(super) fn opened(&self, parts: Parts) {
        self.watched.opened(parts);
    }

    pub(super) fn stops(&self) {
        self.watched.stops();
    }

    pub(super) async fn end(self) {
        self.shutdown.cancel();
        let Some(task) = self.task else { return };
        match task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the admin listener ended badly"),
            Err(error) => tracing::error!(%error, "the admin listener failed"),
        }
    }
}
