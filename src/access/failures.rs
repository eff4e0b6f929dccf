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
        let known = recent.get_or_insert_mut(network(address), || Recent { count: 0, last: now });
        if now.saturating_duration_since(known.last) > FORGET_AFTER {
            known.count = 0;
        }
        (known.count, known.last) = (known.count.saturating_add(1), now);
        (delay(known.count), known.count)
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
fn network(address: IpAddr) -> IpAddr {
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
