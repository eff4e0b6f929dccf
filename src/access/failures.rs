//! Those who try in vain: each further failure of an address is answered later, in bounded memory.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

/// Addresses that are remembered; past it the one that was quiet longest is forgotten.
const MOST_ADDRESSES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// After this long without a failure an address begins anew.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// The answer to a first failure waits this long, as a slip of the keyboard should not hurt; each further one twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// Failures of an address whose answers may wait at a time. Whoever does not wait for an answer, and tries again over another connection, would
/// otherwise try as often as the network carries it.
const MOST_WAITING: usize = 16;

/// Failures by address.
#[derive(Debug)]
pub(super) struct Failures {
    recent: Mutex<LruCache<IpAddr, Recent>>,
    total: AtomicU64,
}

#[derive(Debug)]
struct Recent {
    count: u32,
    last: Instant,
    /// When the answers that wait are given, whether or not somebody is there to hear them.
    due: Vec<Instant>,
}

impl Default for Failures {
    fn default() -> Self {
        Self { recent: Mutex::new(LruCache::new(MOST_ADDRESSES)), total: AtomicU64::new(0) }
    }
}

impl Failures {
    /// Counts a failure; gives how long its answer waits, and the count of the address.
    pub(super) fn note(&self, address: IpAddr, now: Instant) -> (Duration, u32) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let known = recent.get_or_insert_mut(network(address), || Recent { count: 0, last: now, due: Vec::new() });
        if now.saturating_duration_since(known.last) > FORGET_AFTER {
            known.count = 0;
        }
        (known.count, known.last) = (known.count.saturating_add(1), now);
        let delay = delay(known.count);
        known.due.retain(|due| *due > now);
        known.due.push(now + delay);
        (delay, known.count)
    }

    /// Whether an address may have something judged that can be guessed.
    ///
    /// # Errors
    /// How long it has to wait, while the answers to as many failures wait as may.
    pub(super) fn may_try(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = recent.get_mut(&network(address)) else { return Ok(()) };
        known.due.retain(|due| *due > now);
        match known.due.iter().min() {
            Some(first) if known.due.len() >= MOST_WAITING => Err(*first - now),
            _ => Ok(()),
        }
    }

    /// Failures since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

fn delay(count: u32) -> Duration {
    let doubled = 1_u32.checked_shl(count.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_DELAY.saturating_mul(doubled).min(LONGEST_DELAY)
}

/// Whom an address stands for: one of IPv6 has as many others as it likes in its /64.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_later_each_time_and_as_before_after_a_silence() {
        let (failures, start) = (Failures::default(), Instant::now());
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let note = |text, at| failures.note(address(text), at).0.as_millis();
        let delays: Vec<u128> = (0..8).map(|_| note("192.0.2.1", start)).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(note("::ffff:192.0.2.1", start), 5000, "the same address");
        assert_eq!(note("192.0.2.2", start), 100, "another");
        assert_eq!(
            [note("2001:db8::1", start), note("2001:db8::ffff:2", start), note("2001:db8:0:1::1", start)],
            [100, 200, 100]
        );
        let later = start + FORGET_AFTER + Duration::from_secs(1);
        assert_eq!(note("192.0.2.1", later), 100);
        assert_eq!(failures.total(), 14);
    }

    #[test]
    fn row_41_nobody_tries_while_many_answers_to_its_address_wait() {
        let (failures, start) = (Failures::default(), Instant::now());
        let address = "192.0.2.1".parse().expect("an address");
        let mut tried = 0;
        while failures.may_try(address, start).is_ok() {
            failures.note(address, start);
            tried += 1;
        }
        assert_eq!(tried, MOST_WAITING);
        assert_eq!(failures.may_try(address, start), Err(FIRST_DELAY), "until the first answer is given");
        assert!(failures.may_try(address, start + FIRST_DELAY).is_ok());
        assert!(failures.may_try("192.0.2.2".parse().expect("an address"), start).is_ok(), "another");
        // As an address that waits for no answer has it in the long run: so many tries in the longest delay.
        let mut now = start;
        for _ in 0..1000 {
            match failures.may_try(address, now) {
                Ok(()) => drop(failures.note(address, now)),
                Err(wait) => now += wait,
            }
        }
        let (total, took) = (failures.total() as f64, (now - start).as_secs_f64());
        assert!(total / took < MOST_WAITING as f64 / 4.0, "{total} in {took} s");
    }

    #[test]
    fn memory_is_bounded_and_the_count_does_not_overflow() {
        let (failures, start) = (Failures::default(), Instant::now());
        for number in 0..100_000_u32 {
            failures.note(IpAddr::V4(number.into()), start);
        }
        assert_eq!(failures.recent.lock().expect("not poisoned").len(), MOST_ADDRESSES.get());
        assert_eq!(
            [delay(0), delay(32), delay(33), delay(u32::MAX)].map(|delay| delay.as_millis()),
            [100, 5000, 5000, 5000]
        );
    }
}
