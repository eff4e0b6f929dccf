//! One attempt at a delivery, and what follows when it fails.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// For people; it holds no secret.
    pub why: String,
    pub retry: Retry,
}

/// Whether an attempt may succeed when it is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// The same would be refused again.
    Never,
    Later,
    /// The receiver said when.
    After(Duration),
}

impl Failure {
    pub(super) fn never(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry: Retry::Never }
    }

    pub(super) fn later(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry: Retry::Later }
    }
}

/// How deliveries are tried again, and how long one attempt may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pause after the first attempt; each further one is `factor` times as long, up to `longest_pause`.
    pub first_pause: Duration,
    pub factor: u32,
    pub longest_pause: Duration,
    /// The longest that a receiver may ask to wait. Who asks for more gets no further attempt from this run.
    pub longest_wait: Duration,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long an attempt may take in all.
    pub attempt_timeout: Duration,
}

impl Default for RetryPolicy {
    /// Five attempts within some three minutes: what a restart of a receiver takes.
    fn default() -> Self {
        Self {
            first_pause: Duration::from_secs(2),
            factor: 4,
            longest_pause: Duration::from_secs(5 * 60),
            longest_wait: Duration::from_secs(15 * 60),
            connect_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// The pause after the attempt number `attempt`, from 1; `None` when there is no use in another.
    ///
    /// The jitter comes from the key: deliveries that failed together do not come back together, and a test knows when.
    pub(super) fn pause(&self, failure: &Failure, key: &str, attempt: u32) -> Option<Duration> {
        let asked = match failure.retry {
            Retry::Never => return None,
            Retry::Later => Duration::ZERO,
            Retry::After(asked) if asked > self.longest_wait => return None,
            Retry::After(asked) => asked,
        };
        let factor = self.factor.saturating_pow(attempt.saturating_sub(1));
        let pause = self.first_pause.saturating_mul(factor).min(self.longest_pause);
        let spread = xxh3_64(format!("{key}#{attempt}").as_bytes()) as f64 / u64::MAX as f64;
        // From half of the pause to all of it, after what the receiver asked for.
        Some(asked + pause.mul_f64(0.5 + spread / 2.))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_to_a_limit_and_differ_by_key() {
        let policy = RetryPolicy::default();
        let failure = Failure::later("x");
        for (attempt, whole) in [(1, 2), (2, 8), (3, 32), (4, 128), (5, 300), (20, 300), (u32::MAX, 300)] {
            for key in ["a", "b", "health@2026-03-29T05:00:00Z/slack"] {
                let pause = policy.pause(&failure, key, attempt).expect("another attempt");
                assert!(pause >= SECOND * whole / 2 && pause <= SECOND * whole, "{attempt} {key}: {pause:?}");
                assert_eq!(policy.pause(&failure, key, attempt), Some(pause), "the same each time");
            }
            assert_ne!(policy.pause(&failure, "a", attempt), policy.pause(&failure, "b", attempt));
        }
    }

    #[test]
    fn a_receiver_is_waited_for_as_long_as_it_asks_and_no_longer_than_sense() {
        let policy = RetryPolicy::default();
        let asked = |asked| policy.pause(&Failure { why: String::new(), retry: Retry::After(asked) }, "a", 1);
        assert!(asked(SECOND * 60).is_some_and(|pause| pause > SECOND * 60 && pause <= SECOND * 62));
        assert!(asked(policy.longest_wait).is_some());
        assert_eq!(asked(policy.longest_wait + SECOND), None);
        assert_eq!(policy.pause(&Failure::never("x"), "a", 1), None);
    }
}
