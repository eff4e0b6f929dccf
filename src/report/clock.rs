//! The seam for time: what reports know of it, they ask here, so that tests can turn it.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;

/// The longest that the system's clock is not looked at: it may be set, and a laptop may sleep, while nobody looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells the time of day and waits for it.
#[async_trait]
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since 1970 in UTC; may jump either way.
    fn now_ms(&self) -> i64;

    /// Returns once it is `until_ms` or later.
    async fn sleep_until(&self, until_ms: i64);
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    }

    async fn sleep_until(&self, until_ms: i64) {
        loop {
            let left_ms = until_ms.saturating_sub(self.now_ms());
            let Ok(left_ms @ 1..) = u64::try_from(left_ms) else { return };
            tokio::time::sleep(Duration::from_millis(left_ms).min(LOOK_EVERY)).await;
        }
    }
}

/// A clock that stands until it is turned, for tests.
#[derive(Debug)]
pub struct TurnedClock(watch::Sender<i64>);

impl TurnedClock {
    /// A clock that stands at `now_ms`.
    pub fn at(now_ms: i64) -> Self {
        Self(watch::Sender::new(now_ms))
    }

    /// Sets the clock, either way.
    pub fn turn_to(&self, now_ms: i64) {
        self.0.send_replace(now_ms);
    }

    /// Sets the clock forward.
    pub fn turn_by(&self, by: Duration) {
        self.0.send_modify(|now_ms| *now_ms += by.as_millis() as i64);
    }
}

#[async_trait]
impl Clock for TurnedClock {
    fn now_ms(&self) -> i64 {
        *self.0.borrow()
    }

    async fn sleep_until(&self, until_ms: i64) {
        // The sender is here, so the wait ends in no other way.
        let _ = self.0.subscribe().wait_for(|now_ms| *now_ms >= until_ms).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_turned_clock_wakes_whoever_waits_for_its_time_and_nobody_else() {
        let clock = Arc::new(TurnedClock::at(1_000));
        clock.sleep_until(1_000).await;
        let waiting = [1_500, 2_000, 9_000].map(|until_ms| {
            let clock = clock.clone();
            tokio::spawn(async move { clock.sleep_until(until_ms).await })
        });
        clock.turn_by(Duration::from_millis(1_000));
        let [first, second, third] = waiting;
        first.await.expect("woken");
        second.await.expect("woken");
        assert!(!third.is_finished(), "it is 2000, and the third waits for 9000");
        clock.turn_to(500);
        assert_eq!(clock.now_ms(), 500, "it goes backward too");
        third.abort();
    }

    #[tokio::test]
    async fn the_systems_clock_does_not_wait_for_what_is_past() {
        SystemClock.sleep_until(SystemClock.now_ms() - 1).await;
        let until_ms = SystemClock.now_ms() + 20;
        SystemClock.sleep_until(until_ms).await;
        assert!(SystemClock.now_ms() >= until_ms);
    }
}
