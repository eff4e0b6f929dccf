//! How many spans a token, or all senders of a tenant, may send a second.
//!
//! A balance that time fills and exports take from. An export is let in while the balance is positive and may take it below: the rate
//! holds in the long run for requests of any size, none is too large for ever, and a sender that is over its rate is told before its
//! request is read. How many spans a request has is only known after that, which is why limiters that are asked for a number of
//! cells beforehand do not fit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::tenant::TenantName;
use crate::error::{Error, Kind, Result};

/// Most spans that may come at once after a silence, in seconds of the rate.
const SAVED_SECONDS: f64 = 1.0;
/// What a sender waits at least: less is not worth a retry.
const LEAST_WAIT: Duration = Duration::from_millis(10);

/// The allowance of a token or a tenant.
#[derive(Debug)]
pub(super) struct Allowance {
    spans_per_second: u64,
    balance: Mutex<Balance>,
}

#[derive(Debug)]
struct Balance {
    spans: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new(spans_per_second: u64, now: Instant) -> Self {
        let balance = Balance { spans: spans_per_second as f64 * SAVED_SECONDS, at: now };
        Self { spans_per_second, balance: Mutex::new(balance) }
    }

    pub(super) fn spans_per_second(&self) -> u64 {
        self.spans_per_second
    }

    /// How long to wait before the next export; nothing when it may come now.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let spans = self.at(now, 0.0);
        (spans <= 0.0).then(|| {
            let seconds = (-spans / self.spans_per_second as f64).min(f64::from(u32::MAX));
            Duration::from_secs_f64(seconds).max(LEAST_WAIT)
        })
    }

    /// Takes what was sent from the balance; gives what is left.
    fn at(&self, now: Instant, taken: f64) -> f64 {
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = self.spans_per_second as f64;
        let earned = now.saturating_duration_since(balance.at).as_secs_f64() * rate;
        balance.spans = (balance.spans + earned).min(rate * SAVED_SECONDS) - taken;
        balance.at = balance.at.max(now);
        balance.spans
    }
}

/// The leave to send one export to a tenant.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    tenant: Option<TenantName>,
    allowances: Vec<Arc<Allowance>>,
}

impl Pass {
    /// A pass without a limit; to the default tenant without a name.
    pub(super) fn to(tenant: Option<TenantName>) -> Self {
        Self { tenant, allowances: Vec::new() }
    }

    /// The same within an allowance of `who`, such as a token.
    ///
    /// # Errors
    /// [`Kind::OverRate`] while more was sent than that.
    pub(super) fn within(mut self, who: &str, allowance: Option<&Arc<Allowance>>) -> Result<Self> {
        let Some(allowance) = allowance else { return Ok(self) };
        if let Some(retry_after) = allowance.wait(Instant::now()) {
            let rate = allowance.spans_per_second;
            let message = format!("{who} may send {rate} spans a second, and has sent more; send again later");
            return Err(Error::new(Kind::OverRate { retry_after }, message));
        }
        self.allowances.push(allowance.clone());
        Ok(self)
    }

    /// Whose spans they are; the default tenant's without a name.
    pub fn tenant(&self) -> Option<&TenantName> {
        self.tenant.as_ref()
    }

    /// Says how many spans the export had.
    pub fn had(&self, spans: u64) {
        for allowance in &self.allowances {
            allowance.at(Instant::now(), spans as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_for_requests_of_any_size() {
        let start = Instant::now();
        let at_ms = |ms| start + Duration::from_millis(ms);
        for (per_request, rate) in [(1_u32, 100), (7, 100), (512, 100), (5_000, 100), (10, 100_000)] {
            let allowance = Allowance::new(rate, start);
            let mut sent = 0;
            for ms in 0..100_000 {
                if allowance.wait(at_ms(ms)).is_none() {
                    allowance.at(at_ms(ms), f64::from(per_request));
                    sent += u64::from(per_request);
                }
            }
            let offered = 100_000 * u64::from(per_request);
            let (least, most) = (offered.min(100 * rate), 101 * rate + u64::from(per_request));
            assert!((least..=most).contains(&sent), "{per_request} at {rate}: {sent} in {least}..={most}");
        }
    }

    #[test]
    fn who_is_over_is_told_how_long() {
        let start = Instant::now();
        let allowance = Allowance::new(10, start);
        allowance.at(start, 40.0);
        assert_eq!(allowance.wait(start), Some(Duration::from_secs(3)), "10 were saved and 30 are owed");
        assert_eq!(allowance.wait(start + Duration::from_secs(2)), Some(Duration::from_secs(1)));
        assert_eq!(allowance.wait(start + Duration::from_millis(3_100)), None);
        // A clock that goes back neither gives nor takes.
        allowance.at(start, 0.0);
        assert_eq!(allowance.wait(start + Duration::from_millis(3_100)), None);
        allowance.at(start + Duration::from_secs(3_600), 10.0);
        assert_eq!(
            allowance.wait(start + Duration::from_secs(3_600)),
            Some(LEAST_WAIT),
            "a silence saves one second's worth"
        );
    }
}
