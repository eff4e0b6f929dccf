//! Times as people write and read them: on the clock of a report's zone.

use chrono::{DateTime, SecondsFormat};
use chrono_tz::Tz;

use super::definition::Report;
use super::history::time_text;
use crate::engine::instant_of_text;
use crate::error::{Error, Result};

impl Report {
    /// Where people read the report's times.
    pub fn zone(&self) -> Tz {
        self.schedule.as_ref().map_or(Tz::UTC, |schedule| schedule.zone)
    }

    /// A time as a person writes it, such as `2026-03-29 05:00` or `yesterday`, in milliseconds since 1970. Without an offset it is one of the report's
    /// zone.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`] for a text that is no time.
    pub fn time_ms(&self, text: &str) -> Result<i64> {
        let ns = instant_of_text(text, self.zone().name()).ok_or_else(|| {
            let wrong = Error::bad_input(format!("\"{text}\" is not a time"));
            wrong.with_hint("write 2026-03-29T05:00:00Z, '2026-03-29 05:00', 2026-03-29 or yesterday")
        })?;
        Ok(ns.div_euclid(1_000_000))
    }

    /// The same as an instant with its offset and all digits; `None` when it is no time.
    pub(super) fn instant_text(&self, text: &str) -> Option<String> {
        let ns = instant_of_text(text, self.zone().name())?;
        Some(DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// A time as people and programs read it: `2026-03-29T05:00:00Z`.
pub fn moment_text(ms: i64) -> String {
    time_text(ms, SecondsFormat::AutoSi)
}
