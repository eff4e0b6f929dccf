//! What became of the statements of this process: counts since its start, for `system.engine` and for those who watch the server.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use futures::Stream;
use prometheus_client::metrics::histogram::Histogram;

use super::execution::RowStream;
use crate::error::{Error, Result};

/// The classes of SQLSTATEs that statements end with; all others are counted as the last one, so that there are only so many.
const CLASSES: [&str; 17] =
    ["08", "0A", "21", "22", "25", "26", "28", "34", "40", "42", "53", "54", "55", "57", "58", "XX", "other"];

/// Seconds: from what a lookup takes to what a report may.
const DURATION_BUCKETS: [f64; 13] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

/// Counts of statements with a plan; `SET`, `BEGIN` and their like are none.
#[derive(Debug)]
pub(super) struct Tally {
    started: AtomicU64,
    completed: AtomicU64,
    stopped: AtomicU64,
    failed: [AtomicU64; CLASSES.len()],
    durations: Histogram,
}

/// The counts at one moment.
#[derive(Debug, Clone)]
pub struct StatementCounts {
    pub started: u64,
    /// Ran to their last row.
    pub completed: u64,
    /// Ended before that by their client or by a cancel request.
    pub stopped: u64,
    /// By the class of the SQLSTATE; `other` for the rare ones.
    pub failed: Vec<(&'static str, u64)>,
    /// From the beginning to the last row that the client took, in seconds, however a statement ended.
    pub durations: Histogram,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            started: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
            failed: Default::default(),
            durations: Histogram::new(DURATION_BUCKETS),
        }
    }
}

impl Tally {
    pub fn counts(&self) -> StatementCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StatementCounts {
            started: load(&self.started),
            completed: load(&self.completed),
            stopped: load(&self.stopped),
            failed: CLASSES.into_iter().zip(self.failed.iter().map(load)).collect(),
            durations: self.durations.clone(),
        }
    }

    /// Statements that have begun and not ended.
    pub fn running(&self) -> usize {
        let StatementCounts { started, completed, stopped, failed, .. } = self.counts();
        let ended = completed + stopped + failed.iter().map(|(_, count)| count).sum::<u64>();
        usize::try_from(started.saturating_sub(ended)).unwrap_or(usize::MAX)
    }

    /// Counts a statement that failed before it could begin.
    pub fn refused(&self, error: &Error) {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.fail(error);
    }

    /// Counts a statement that begins.
    pub fn begin(self: &Arc<Self>) -> Begun {
        self.started.fetch_add(1, Ordering::Relaxed);
        Begun { tally: Some(self.clone()), at: Instant::now() }
    }

    fn fail(&self, error: &Error) {
        let class = error.sqlstate().get(..2).unwrap_or_default();
        let place = CLASSES.iter().position(|known| *known == class).unwrap_or(CLASSES.len() - 1);
        self.failed[place].fetch_add(1, Ordering::Relaxed);
    }
}

/// A statement that has begun; dropping it before its end counts it as stopped.
#[derive(Debug)]
pub(super) struct Begun {
    tally: Option<Arc<Tally>>,
    at: Instant,
}

impl Begun {
    pub fn failed(mut self, error: &Error) {
        if let Some(tally) = self.end() {
            tally.fail(error);
        }
    }

    /// The same rows, whose end is counted.
    pub fn over(self, rows: RowStream) -> RowStream {
        Box::pin(Counted { rows, begun: Some(self) })
    }

    fn completed(mut self) {
        if let Some(tally) = self.end() {
            tally.completed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn end(&mut self) -> Option<Arc<Tally>> {
        let tally = self.tally.take()?;
        tally.durations.observe(self.at.elapsed().as_secs_f64());
        Some(tally)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(tally) = self.end() {
            tally.stopped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Counted {
    rows: RowStream,
    begun: Option<Begun>,
}

impl Stream for Counted {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.rows.as_mut().poll_next(cx));
        match &item {
            Some(Ok(_)) => {}
            Some(Err(error)) => drop(self.begun.take().map(|begun| begun.failed(error))),
            None => drop(self.begun.take().map(Begun::completed)),
        }
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};

    use super::*;

    #[tokio::test]
    async fn each_end_is_counted_once() {
        let tally = Arc::new(Tally::default());
        let rows = |end: Option<Error>| -> RowStream { Box::pin(stream::iter(end.map(Err))) };
        assert!(tally.begin().over(rows(None)).next().await.is_none());
        let mut failing = tally.begin().over(rows(Some(Error::bad_input("why").with_sqlstate("22012"))));
        assert!(failing.next().await.is_some_and(|item| item.is_err()));
        assert!(failing.next().await.is_none());
        drop(failing);
        drop(tally.begin().over(rows(None)));
        tally.begin().failed(&Error::bad_input("why").with_sqlstate("3B001"));
        tally.refused(&Error::bad_input("why"));
        let counts = tally.counts();
        assert_eq!((counts.started, counts.completed, counts.stopped), (5, 1, 1));
        let failed: Vec<_> = counts.failed.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(failed, [("22", 1), ("42", 1), ("other", 1)]);
    }
}
