//! Exports to an endpoint, a few at a time.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::ingest::{ExportClient, Receipt};

/// Exports under way at once: enough that many share one fsync at the server.
pub(super) const AT_ONCE: usize = 8;

/// Sends to one endpoint, with at most [`AT_ONCE`] exports under way.
pub(in crate::cli) struct Senders {
    client: Arc<ExportClient>,
    under_way: JoinSet<Result<Receipt>>,
}

impl Senders {
    pub(in crate::cli) fn new(client: ExportClient) -> Self {
        Self { client: Arc::new(client), under_way: JoinSet::new() }
    }

    /// Starts an export; first, when there is no room, ends another, whose receipt goes to `check`.
    pub(in crate::cli) async fn send(&mut self, payload: Bytes, check: impl Fn(Receipt) -> Result<()>) -> Result<()> {
        while self.under_way.len() >= AT_ONCE {
            self.end_one(&check).await?;
        }
        let client = self.client.clone();
        self.under_way.spawn(async move { client.export(payload).await });
        Ok(())
    }

    /// Ends all exports.
    pub(in crate::cli) async fn finish(mut self, check: impl Fn(Receipt) -> Result<()>) -> Result<()> {
        while !self.under_way.is_empty() {
            self.end_one(&check).await?;
        }
        Ok(())
    }

    async fn end_one(&mut self, check: &impl Fn(Receipt) -> Result<()>) -> Result<()> {
        match self.under_way.join_next().await {
            None => Ok(()),
            Some(Ok(receipt)) => check(receipt?),
            Some(Err(panic)) => Err(Error::internal(format!("an export failed: {panic}"))),
        }
    }
}
