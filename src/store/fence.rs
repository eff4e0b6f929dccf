//! What happens to a process that may not write to the table any more.

use tokio::sync::watch;

use crate::error::{Error, Kind, OBJECT_IN_USE};

/// Closed once another process has committed to the table in this node's name: from then on the log's numbers mean different spans in both
/// processes, and nothing that this one would commit or acknowledge could be told from the other's. Closed, too, once it cannot be known what of
/// the table a power cut leaves.
#[derive(Debug, Default)]
pub(crate) struct Fence(watch::Sender<Option<Closed>>);

#[derive(Debug, Clone)]
enum Closed {
    Taken(String),
    Unsure(String),
}

impl Fence {
    /// Closes it because another process has this one's name.
    pub(crate) fn close(&self, why: String) -> Error {
        self.close_with(Closed::Taken(why))
    }

    /// Closes it because the table's place has failed.
    pub(crate) fn close_unsure(&self, why: String) -> Error {
        self.close_with(Closed::Unsure(why))
    }

    fn close_with(&self, why: Closed) -> Error {
        self.0.send_replace(Some(why.clone()));
        error(why)
    }

    /// # Errors
    /// [`Kind::Closed`] once it is closed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.0.borrow().clone().map_or(Ok(()), |why| Err(error(why)))
    }

    /// Waits until it is closed, and tells why.
    pub(crate) async fn closed(&self) -> Error {
        match self.0.subscribe().wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => error(why),
            // The sender is ours: it lives as long as this future.
            _ => std::future::pending().await,
        }
    }
}

fn error(why: Closed) -> Error {
    match why {
        Closed::Taken(why) => Error::new(Kind::Closed, why)
            .with_sqlstate(OBJECT_IN_USE)
            .with_hint("one data directory may serve once: end the other process, or give this one a new --data-dir"),
        Closed::Unsure(why) => {
            Error::new(Kind::Closed, why).with_hint("see that the disk is sound, and start again: the log is kept")
        }
    }
}
