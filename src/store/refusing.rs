//! Telling the process's log that requests are refused and that they are taken again, once each and not request by request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two warnings of one cause, which may come and go with every request.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Watches one cause of refusals.
#[derive(Debug)]
pub(crate) struct RefusalWatch {
    /// What takes requests again, for the line about the recovery.
    what: &'static str,
    /// Whether a warning stands that no recovery has answered; read without the lock by every request that is taken.
    warned: AtomicBool,
    spell: Mutex<Spell>,
}

#[derive(Debug, Default)]
struct Spell {
    warned_at: Option<Instant>,
    refused_requests: u64,
}

impl RefusalWatch {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, warned: AtomicBool::new(false), spell: Mutex::default() }
    }

    /// Notes that requests were refused, and warns when that begins.
    pub(crate) fn refused(&self, requests: usize, message: &str) {
        if self.begins(requests, Instant::now()) {
            tracing::warn!(reason = message, "requests are refused until there is room");
        }
    }

    /// Notes that a request was taken, and tells when that ends what was warned of.
    pub(crate) fn taken(&self) {
        if let Some((refused_requests, lasted)) = self.ends(Instant::now()) {
            tracing::info!(
                refused_requests,
                lasted_ms = lasted.as_millis() as u64,
                "{} takes requests again",
                self.what
            );
        }
    }

    fn begins(&self, requests: usize, now: Instant) -> bool {
        let mut spell = self.spell.lock().unwrap_or_else(PoisonError::into_inner);
        spell.refused_requests += requests as u64;
        let is_due = spell.warned_at.is_none_or(|at| now.saturating_duration_since(at) >= WARN_EVERY);
        if self.warned.load(Ordering::Relaxed) || !is_due {
            return false;
        }
        spell.warned_at = Some(now);
        self.warned.store(true, Ordering::Relaxed);
        true
    }

    /// The requests refused since the last recovery, and the time since the warning.
    fn ends(&self, now: Instant) -> Option<(u64, Duration)> {
        if !self.warned.load(Ordering::Relaxed) {
            return None;
        }
        let mut spell = self.spell.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.warned.swap(false, Ordering::Relaxed) {
            return None;
        }
        let lasted = spell.warned_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        Some((std::mem::take(&mut spell.refused_requests), lasted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_when_refusals_begin_and_one_when_they_end() {
        let (watch, start) = (RefusalWatch::new("the disk"), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(watch.ends(at(0)), None, "nothing was refused");
        assert!(watch.begins(2, at(0)));
        assert!(!watch.begins(1, at(60_000)), "it was said");
        assert_eq!(watch.ends(at(70_000)), Some((3, Duration::from_secs(70))));
        assert_eq!(watch.ends(at(70_001)), None, "it was said");
        assert!(watch.begins(1, at(70_002)), "a long time after the last warning");
        assert!(watch.ends(at(70_003)).is_some());
        assert!(!watch.begins(1, at(70_004)) && !watch.begins(1, at(80_001)), "too soon after the last warning");
        assert_eq!(watch.ends(at(80_001)), None, "what was not said does not end");
        assert!(watch.begins(1, at(80_002)));
        assert_eq!(watch.ends(at(80_003)), Some((3, Duration::from_millis(1))));
    }
}
