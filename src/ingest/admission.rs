//! How much may be in flight at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::store::RefusalWatch;

/// When senders shall come again. A group commit takes milliseconds, a sealing about a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The budget for bytes of requests in flight.
#[derive(Debug)]
pub(super) struct Admission {
    in_flight_bytes: AtomicUsize,
    max_in_flight_bytes: usize,
    refusals: RefusalWatch,
}

/// A request's share of the budget, given back on drop.
#[derive(Debug)]
pub(super) struct Reservation {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Admission {
    pub fn new(max_in_flight_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            in_flight_bytes: AtomicUsize::new(0),
            max_in_flight_bytes,
            refusals: RefusalWatch::new("the memory for requests in flight"),
        })
    }

    /// Opens an empty reservation.
    pub fn open(self: &Arc<Self>) -> Reservation {
        Reservation { admission: self.clone(), bytes: 0 }
    }

    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// Adds `bytes` to the request's share.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when the budget has no room for them now.
    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        let budget = self.admission.max_in_flight_bytes;
        let grown = self.admission.in_flight_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |in_flight| {
            in_flight.checked_add(bytes).filter(|grown| *grown <= budget)
        });
        if grown.is_err() {
            let message = format!("the {} MiB for requests in flight are in use; send again later", budget >> 20);
            self.admission.refusals.refused(1, &message);
            return Err(Error::new(Kind::Overloaded { retry_after: RETRY_AFTER }, message));
        }
        self.admission.refusals.taken();
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.admission.in_flight_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_shared_and_comes_back() {
        let admission = Admission::new(10);
        let mut first = admission.open();
        let mut second = admission.open();
        first.grow(6).expect("room");
        second.grow(4).expect("room");
        let error = second.grow(1).expect_err("no room");
        assert!(matches!(error.kind, Kind::Overloaded { .. }) && error.retryable());
        drop(first);
        second.grow(6).expect("room again");
        drop(second);
        assert_eq!(admission.in_flight_bytes(), 0);
    }
}
