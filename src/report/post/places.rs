//! Where attempts are made, so that receivers that hang hold up nobody but each other.
//!
//! An attempt holds the files of a run in memory, so that not many are made at once. It begins in a quick place. One that has not ended after some
//! seconds goes on in a place for slow ones, or is cut off where none is free, and its receiver is known to be slow: attempts at it are made one at
//! a time and in slow places, for which nobody waits but others like it, until one ends quickly. So who waits for a quick place waits some seconds at
//! most for each of those before, however many receivers hang.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How many attempts are made at once, and what is slow.
#[derive(Debug, Clone, Copy)]
pub(in crate::report) struct Bounds {
    /// Places for attempts that have not taken long.
    pub quick: usize,
    /// Places for those that have.
    pub slow: usize,
    /// So many attempts are made at one receiver.
    pub at_one: usize,
    /// How long an attempt may take before it is slow.
    pub patience: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { quick: 16, slow: 16, at_one: 4, patience: Duration::from_secs(5) }
    }
}

/// Of so many receivers at most it is remembered that they are slow.
const MOST_REMEMBERED: usize = 1_000;

/// The places; clones are the same ones.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    quick: Semaphore,
    slow: Semaphore,
    bounds: Bounds,
    receivers: Mutex<HashMap<String, Arc<Receiver>>>,
}

/// What is known of a receiver.
#[derive(Debug)]
struct Receiver {
    places: Semaphore,
    is_slow: AtomicBool,
    /// Whose attempt is made while it is slow.
    turn: tokio::sync::Mutex<()>,
}

impl Receiver {
    fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }

    fn set_slow(&self, is_slow: bool) {
        self.is_slow.store(is_slow, Ordering::Relaxed);
    }
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        let (quick, slow) = (Semaphore::new(bounds.quick), Semaphore::new(bounds.slow));
        Self(Arc::new(Shared { quick, slow, bounds, receivers: Mutex::default() }))
    }

    /// Waits for a place and makes an attempt at a receiver, which begins to hold something only then. `None` when it was cut off: it is to be made
    /// again, and waits with those that are slow.
    pub(super) async fn make<T>(&self, receiver: &str, attempt: impl Future<Output = T>) -> Option<T> {
        let Shared { quick, slow, bounds, .. } = &*self.0;
        let receiver = self.receiver(receiver);
        let mut attempt = pin!(attempt);
        // No semaphore is ever closed.
        let _at_receiver = receiver.places.acquire().await.ok();
        loop {
            if receiver.is_slow() {
                let _turn = receiver.turn.lock().await;
                if !receiver.is_slow() {
                    continue;
                }
                let _place = slow.acquire().await.ok();
                let begun = Instant::now();
                let made = attempt.await;
                receiver.set_slow(begun.elapsed() > bounds.patience);
                return Some(made);
            }
            let place = quick.acquire().await.ok();
            if receiver.is_slow() {
                continue;
            }
            tokio::select! {
                made = attempt.as_mut() => return Some(made),
                () = tokio::time::sleep(bounds.patience) => receiver.set_slow(true),
            }
            let (Ok(_turn), Ok(_place)) = (receiver.turn.try_lock(), slow.try_acquire()) else { return None };
            drop(place);
            return Some(attempt.await);
        }
    }

    fn receiver(&self, name: &str) -> Arc<Receiver> {
        let mut known = self.0.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        let may_forget = known.len() >= MOST_REMEMBERED;
        // Nobody is there, and nobody waits.
        known.retain(|other, receiver| {
            other == name || Arc::strong_count(receiver) > 1 || (receiver.is_slow() && !may_forget)
        });
        let new = || Receiver {
            places: Semaphore::new(self.0.bounds.at_one),
            is_slow: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
        };
        known.entry(name.to_owned()).or_insert_with(|| Arc::new(new())).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures::FutureExt;
    use tokio::sync::watch;
    use tokio::task::JoinHandle;

    use super::*;

    const BOUNDS: Bounds = Bounds { quick: 4, slow: 2, at_one: 2, patience: Duration::from_secs(3600) };

    /// Attempts that last until they are let go.
    struct Attempts {
        places: Places,
        gate: watch::Sender<bool>,
        made: Vec<JoinHandle<Option<()>>>,
    }

    impl Attempts {
        fn at(places: &Places) -> Self {
            Self { places: places.clone(), gate: watch::Sender::new(false), made: Vec::new() }
        }

        /// Begins so many.
        async fn begin(&mut self, receiver: &str, count: usize) {
            for _ in 0..count {
                let (places, receiver, mut gate) = (self.places.clone(), receiver.to_owned(), self.gate.subscribe());
                self.made.push(tokio::spawn(async move {
                    places.make(&receiver, async { gate.wait_for(|open| *open).await.map(|_| ()) }).await.map(|_| ())
                }));
            }
            // There is one thread, and each gets as far as it can.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }

        /// Lets all end, and gives how many were not cut off.
        async fn end(self) -> usize {
            self.gate.send_replace(true);
            let mut whole = 0;
            for made in self.made {
                whole += usize::from(made.await.expect("it ended").is_some());
            }
            whole
        }
    }

    fn is_free(places: &Places, receiver: &str) -> bool {
        places.make(receiver, ready(())).now_or_never().is_some()
    }

    async fn until_slow(places: &Places, receiver: &str) {
        while !places.receiver(receiver).is_slow() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_receiver_has_a_part_of_the_places() {
        let places = Places::new(BOUNDS);
        let (mut one, mut two) = (Attempts::at(&places), Attempts::at(&places));
        one.begin("one", 3).await;
        assert!(!is_free(&places, "one") && is_free(&places, "another"));
        two.begin("two", 2).await;
        assert!(!is_free(&places, "another"), "all places are taken");
        assert_eq!((one.end().await, two.end().await), (3, 2));
        assert!(is_free(&places, "one"));
        assert_eq!(places.0.receivers.lock().expect("known").len(), 1, "what is over is forgotten");
    }

    #[tokio::test]
    async fn however_many_hang_nobody_else_waits_for_them() {
        let places = Places::new(Bounds { patience: Duration::from_millis(20), ..BOUNDS });
        let mut hanging = Attempts::at(&places);
        for at in 0..20 {
            hanging.begin(&format!("hanging {at}"), 2).await;
        }
        // Were it otherwise this would never end.
        assert_eq!(places.make("good", ready(7)).await, Some(7));
        for at in 0..20 {
            until_slow(&places, &format!("hanging {at}")).await;
        }
        assert_eq!(places.0.slow.available_permits(), 0);
        // What is cut off is made again, and waits with those that are slow.
        hanging.begin("hanging 3", 2).await;
        assert!(is_free(&places, "good"));
        assert_eq!(hanging.end().await, 4, "one each of the first two receivers, and those that waited");
    }

    #[tokio::test]
    async fn a_receiver_that_answers_again_is_quick_again() {
        let places = Places::new(Bounds { patience: Duration::from_millis(500), ..BOUNDS });
        let mut slow = Attempts::at(&places);
        slow.begin("one", 1).await;
        until_slow(&places, "one").await;
        assert_eq!(slow.end().await, 1);
        // One at a time now, and in the places of slow ones.
        let mut again = Attempts::at(&places);
        again.begin("one", 1).await;
        assert_eq!((is_free(&places, "one"), places.0.quick.available_permits()), (false, 4));
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(again.end().await, 1);
        assert!(places.receiver("one").is_slow());
        assert!(is_free(&places, "one") && !places.receiver("one").is_slow(), "it answered");
        let mut quick = Attempts::at(&places);
        quick.begin("one", 1).await;
        assert!(is_free(&places, "one"), "two at a time again");
        assert_eq!(quick.end().await, 1);
    }
}
