//! The seam for time, so that tests can move it.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time of day.
pub(crate) trait Clock: Send + Sync + Debug {
    /// Milliseconds since 1970 in UTC; may jump either way.
    fn unix_ms(&self) -> i64;
}

/// The operating system's clock.
#[derive(Debug)]
pub(crate) struct OsClock;

impl Clock for OsClock {
    fn unix_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    }
}
