//! When a report runs and which time it asks about.

use std::time::Duration;

use chrono_tz::Tz;

/// When a report is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub when: When,
    /// The zone of a cron expression, and of windows that follow the calendar.
    pub zone: Tz,
    pub missed: Missed,
    /// The most by which runs are put off, each report by the same part of it every time.
    pub jitter: Duration,
}

/// The rule of due times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Minute, hour, day of the month, month, day of the week; it can be read.
    Cron(String),
    /// At each whole multiple since 1970-01-01T00:00:00 on the clock of the zone; at least [`Schedule::LEAST_EVERY`].
    Every(Duration),
}

/// What happens to due times that passed while nothing ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// The last of them is run.
    #[default]
    Once,
    /// None of them is run.
    Skip,
}

impl Schedule {
    /// Runs closer together are a slip of the keyboard.
    pub const LEAST_EVERY: Duration = Duration::from_secs(10);
}

/// A length of time as a person means it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Hours and shorter: the same everywhere.
    Fixed(Duration),
    /// Days and longer: a day may have 23 or 25 hours in a zone.
    Calendar { months: u32, days: u32 },
}

/// The time that a run asks about: `length` long, ending `delay` before the run is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub length: Span,
    pub delay: Duration,
}
