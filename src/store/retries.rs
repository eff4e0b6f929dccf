//! Retries: an identical request within a window of time is stored once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::wal::{Refusal, RequestHash};

/// The most requests that are remembered, about 6 MiB: beyond, the oldest are forgotten before the window ends.
const REMEMBERED_REQUESTS: usize = 100_000;

/// What became of a request, for those who wait for it; `None` while it is under way.
pub(crate) type Outcome = Option<Result<(), Refusal>>;

/// The requests that are under way or were stored lately.
#[derive(Debug)]
pub(crate) struct Retries {
    window_ms: i64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_hash: HashMap<RequestHash, Known>,
    /// Stored requests with the time they came, oldest first.
    stored: VecDeque<(i64, RequestHash)>,
}

#[derive(Debug)]
enum Known {
    UnderWay(watch::Sender<Outcome>),
    /// When it came last.
    Stored(i64),
}

/// How a request stands to those before it.
#[derive(Debug)]
pub(crate) enum Standing {
    /// Nobody brought it before: it is now under way.
    New,
    /// It is stored.
    Stored,
    /// Another sender's copy is under way; its outcome is this one's too.
    UnderWay(watch::Receiver<Outcome>),
}

impl Retries {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window_ms: window.as_millis().min(i64::MAX as u128) as i64, inner: Mutex::default() }
    }

    /// How a request stands, without entering it.
    pub(crate) fn look(&self, hash: RequestHash, now_unix_ms: i64) -> Standing {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.forget(now_unix_ms.saturating_sub(self.window_ms));
        inner.standing(hash)
    }

    /// Enters a request that is about to be sent to the log, unless it is known.
    pub(crate) fn begin(&self, hash: RequestHash) -> Standing {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = inner.standing(hash);
        if matches!(standing, Standing::New) {
            inner.by_hash.insert(hash, Known::UnderWay(watch::Sender::new(None)));
        }
        standing
    }

    /// Remembers a request that is in the log, and tells those who wait for it.
    pub(crate) fn stored(&self, hash: RequestHash, received_unix_ms: i64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Known::UnderWay(waiting)) = inner.by_hash.insert(hash, Known::Stored(received_unix_ms)) {
            waiting.send_replace(Some(Ok(())));
        }
        inner.stored.push_back((received_unix_ms, hash));
        while inner.stored.len() > REMEMBERED_REQUESTS {
            inner.forget_oldest();
        }
    }

    /// Forgets a request that the log refused, and tells those who wait for it.
    pub(crate) fn refused(&self, hash: RequestHash, refusal: &Refusal) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Known::UnderWay(waiting)) = inner.by_hash.remove(&hash) {
            waiting.send_replace(Some(Err(refusal.clone())));
        }
    }
}

impl Inner {
    fn standing(&self, hash: RequestHash) -> Standing {
        match self.by_hash.get(&hash) {
            None => Standing::New,
            Some(Known::Stored(_)) => Standing::Stored,
            Some(Known::UnderWay(waiting)) => Standing::UnderWay(waiting.subscribe()),
        }
    }

    fn forget(&mut self, before_unix_ms: i64) {
        while self.stored.front().is_some_and(|(received, _)| *received < before_unix_ms) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((received, hash)) = self.stored.pop_front() else { return };
        // The same request may have been stored again after the window.
        if matches!(self.by_hash.get(&hash), Some(Known::Stored(last)) if *last == received) {
            self.by_hash.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const A: RequestHash = RequestHash(1);
    const B: RequestHash = RequestHash(2);

    #[test]
    fn a_request_is_new_then_under_way_then_stored_until_the_window_ends() {
        let retries = Retries::new(Duration::from_secs(600));
        assert!(matches!(retries.look(A, 0), Standing::New));
        assert!(matches!(retries.begin(A), Standing::New));
        let Standing::UnderWay(waiting) = retries.begin(A) else { panic!("not under way") };
        assert_eq!(*waiting.borrow(), None);
        retries.stored(A, 1_000);
        assert_eq!(*waiting.borrow(), Some(Ok(())));
        assert!(matches!(retries.look(A, 601_000), Standing::Stored));
        assert!(matches!(retries.look(A, 601_001), Standing::New));
    }

    #[test]
    fn forgetting_a_request_leaves_its_later_copy_known() {
        let retries = Retries::new(Duration::from_secs(600));
        retries.stored(A, 0);
        retries.stored(A, 700_000);
        assert!(matches!(retries.look(A, 730_000), Standing::Stored));
        assert!(matches!(retries.look(A, 1_300_001), Standing::New));
    }

    #[test]
    fn a_refused_request_may_come_again_and_the_count_is_bounded() {
        let retries = Retries::new(Duration::from_secs(600));
        assert!(matches!(retries.begin(B), Standing::New));
        let Standing::UnderWay(waiting) = retries.look(B, 0) else { panic!("not under way") };
        let refusal = Refusal { kind: Kind::Closed, message: "closed".into() };
        retries.refused(B, &refusal);
        assert_eq!(*waiting.borrow(), Some(Err(refusal)));
        assert!(matches!(retries.begin(B), Standing::New));
        retries.stored(B, 0);
        for n in 0..REMEMBERED_REQUESTS as u128 {
            retries.stored(RequestHash(n + 10), 0);
        }
        assert!(matches!(retries.look(B, 0), Standing::New));
        assert_eq!(retries.inner.lock().expect("lock").by_hash.len(), REMEMBERED_REQUESTS);
    }
}
