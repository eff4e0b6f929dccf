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
    /// A budget that several have together.
    shared: Option<Arc<Admission>>,
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
        Arc::new(Self::empty(max_in_flight_bytes))
    }

    /// One's part of a budget that several have together: as much as is left when it has taken it. So there is always room for one more, however
    /// many take what they get.
    pub fn within(shared: &Arc<Self>) -> Arc<Self> {
        let max_in_flight_bytes = shared.max_in_flight_bytes;
        Arc::new(Self { shared: Some(shared.clone()), ..Self::empty(max_in_flight_bytes) })
    }

    fn empty(max_in_flight_bytes: usize) -> Self {
        Self {
            in_flight_bytes: AtomicUsize::new(0),
            max_in_flight_bytes,
            shared: None,
            refusals: RefusalWatch::new("the memory for requests in flight"),
        }
    }

    /// Opens an empty reservation.
    pub fn open(self: &Arc<Self>) -> Reservation {
        Reservation { admission: self.clone(), bytes: 0 }
    }

    /// Takes bytes of the budget, if it has them.
    fn take(&self, bytes: usize) -> bool {
        let others = self.shared.as_ref().map_or(0, |shared| shared.in_flight_bytes());
        let most = match &self.shared {
            Some(shared) => shared.max_in_flight_bytes.saturating_sub(others),
            None => self.max_in_flight_bytes,
        };
        let grown = self.in_flight_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |in_flight| {
            in_flight.checked_add(bytes).filter(|grown| *grown <= most)
        });
        let is_taken = grown.is_ok() && self.shared.as_ref().is_none_or(|shared| shared.take(bytes));
        if grown.is_ok() && !is_taken {
            self.in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_taken
    }

    fn give_back(&self, bytes: usize) {
        self.in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(shared) = &self.shared {
            shared.give_back(bytes);
        }
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
        let grown = self.admission.take(bytes);
        if !grown {
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
        self.admission.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_takes_all_it_gets_leaves_room_for_one_more() {
        let all = Admission::new(120);
        let taking = |admission: &Arc<Admission>| {
            let mut reservation = admission.open();
            while reservation.grow(1).is_ok() {}
            reservation
        };
        let [first, second, third] = [(); 3].map(|()| Admission::within(&all));
        let of_first = taking(&first);
        assert_eq!(first.in_flight_bytes(), 60, "half");
        let of_second = taking(&second);
        assert_eq!(second.in_flight_bytes(), 30, "half of the rest");
        assert_eq!(all.in_flight_bytes(), 90);
        drop(of_first);
        assert_eq!((first.in_flight_bytes(), all.in_flight_bytes()), (0, 30));
        let of_third = taking(&third);
        assert_eq!(third.in_flight_bytes(), 45);
        drop((of_second, of_third));
        assert_eq!(all.in_flight_bytes(), 0);
    }

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
