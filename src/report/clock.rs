//! The seam for time: what reports know of it, they ask here, so that tests can turn it.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;

/// The longest that the system's clock is not looked at: it may be set, and a laptop may sleep, while nobody looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells the time of day and waits for it.
#[async_trait]
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since 1970 in UTC; may jump either way.
    fn now_ms(&self) -> i64;

    /// Returns once it is `until_ms` or later, and where the clock is set back meanwhile, after as long as it would have taken without that: whoever
    /// waits by a clock that was years ahead does not wait for years.
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
        let started = Instant::now();
        let mut longest = None;
        loop {
            let left_ms = until_ms.saturating_sub(self.now_ms());
            let Ok(left_ms @ 1..) = u64::try_from(left_ms) else { return };
            let left = Duration::from_millis(left_ms);
            // This one is never set. It may stand while a machine sleeps, so that it is not the only one that is asked.
            let longest = *longest.get_or_insert(left);
            let Some(rest) = longest.checked_sub(started.elapsed()).filter(|rest| !rest.is_zero()) else { return };
            tokio::time::sleep(left.min(rest).min(LOOK_EVERY)).await;
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
        let mut turns = self.0.subscribe();
        let mut before_ms = *turns.borrow_and_update();
        let mut left_ms = until_ms.saturating_sub(before_ms);
        // The sender is here, so that a wait ends in no other way.
        while left_ms > 0 && turns.changed().await.is_ok() {
            let now_ms = *turns.borrow_and_update();
            // Of a turn backward nobody knows how long it took.
            left_ms = until_ms.saturating_sub(now_ms).min(left_ms - now_ms.saturating_sub(before_ms).max(0));
            before_ms = now_ms;
        }
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
    async fn whoever_waits_by_a_clock_that_is_set_back_waits_no_longer_than_before() {
        let clock = Arc::new(TurnedClock::at(1_000_000));
        let until = |until_ms| {
            let clock = clock.clone();
            tokio::spawn(async move { clock.sleep_until(until_ms).await })
        };
        let [second, minute] = [until(1_001_000), until(1_060_000)];
        tokio::task::yield_now().await;
        for now_ms in [7, 507, 1_007] {
            assert!(!second.is_finished(), "at {now_ms}");
            clock.turn_to(now_ms);
            tokio::task::yield_now().await;
        }
        second.await.expect("woken after a second");
        assert!(!minute.is_finished());
        clock.turn_to(60_007);
        minute.await.expect("woken after a minute");
    }

    #[tokio::test]
    async fn the_systems_clock_does_not_wait_for_what_is_past() {
        SystemClock.sleep_until(SystemClock.now_ms() - 1).await;
        let until_ms = SystemClock.now_ms() + 20;
        SystemClock.sleep_until(until_ms).await;
        assert!(SystemClock.now_ms() >= until_ms);
    }
}
