//! How long a run may take, for work that nothing interrupts: it asks on its way whether it is to go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};

/// The end of a run's time; clones end together.
#[derive(Debug, Clone)]
pub struct Deadline {
    /// When it is, and how long there was; never without it.
    at: Option<(Instant, Duration)>,
    is_over: Arc<AtomicBool>,
}

impl Deadline {
    /// So long from now.
    pub fn after(timeout: Duration) -> Self {
        Self { at: Instant::now().checked_add(timeout).map(|at| (at, timeout)), ..Self::never() }
    }

    /// For what is small, and for what people wait for themselves.
    pub fn never() -> Self {
        Self { at: None, is_over: Arc::default() }
    }

    /// Ends it now: nobody waits for the work any more.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// [`Kind::Cancelled`] once the time is over.
    pub fn check(&self) -> Result<()> {
        match self.at {
            Some((at, timeout)) if Instant::now() >= at => Err(too_long(timeout)),
            _ if self.is_over.load(Ordering::Relaxed) => Err(Error::new(Kind::Cancelled, "the run is over")),
            _ => Ok(()),
        }
    }

    /// Waits for the work until the time is over.
    ///
    /// # Errors
    /// Those of the work, and [`Kind::Cancelled`].
    pub async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some((at, timeout)) = self.at else { return work.await };
        tokio::time::timeout_at(at.into(), work).await.unwrap_or_else(|_| Err(too_long(timeout)))
    }
}

fn too_long(timeout: Duration) -> Error {
    let message = format!("it took longer than its timeout of {} ms", timeout.as_millis());
    Error::new(Kind::Cancelled, message).with_hint("ask for less, or give the report a longer timeout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_goes_on_until_its_time_is_over_or_nobody_waits() {
        let (never, long, none) = (Deadline::never(), Deadline::after(Duration::MAX), Deadline::after(Duration::ZERO));
        assert!(never.check().is_ok() && long.check().is_ok());
        assert_eq!(none.check().expect_err("over").message, "it took longer than its timeout of 0 ms");
        let endless = none.within(std::future::pending::<Result<()>>());
        assert_eq!(endless.await.expect_err("over").kind, Kind::Cancelled);
        let other = long.clone();
        long.end();
        assert_eq!(other.check().expect_err("ended").message, "the run is over");
        assert!(never.check().is_ok());
    }
}
