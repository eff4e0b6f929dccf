//! Notes: what a command finds out of a server and its surroundings, a line a subject, and what to do where it is not well.

use serde_json::json;

/// How a subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Ok,
    Warn,
    Bad,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Bad => "BAD",
        }
    }
}

/// A line: what is seen, and where it is not well, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) subject: &'static str,
    pub(super) level: Level,
    pub(super) text: String,
    /// One line or several.
    pub(super) advice: Option<String>,
}

impl Note {
    pub(super) fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self { subject, level: Level::Ok, text: text.into(), advice: None }
    }

    pub(super) fn warn(subject: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { subject, level: Level::Warn, text: text.into(), advice: Some(advice.into()) }
    }

    pub(super) fn bad(subject: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { subject, level: Level::Bad, text: text.into(), advice: Some(advice.into()) }
    }

    /// For programs.
    pub(super) fn as_json(&self) -> serde_json::Value {
        json!({
            "subject": self.subject,
            "level": self.level.word().to_lowercase(),
            "text": self.text,
            "advice": self.advice,
        })
    }
}

/// Whether one of the notes is about something wrong.
pub(super) fn any_is_bad(notes: &[Note]) -> bool {
    notes.iter().any(|note| note.level == Level::Bad)
}

/// A number of bytes, to be read at a glance.
pub(super) fn size(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 100.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A length of time, to be read at a glance.
pub(super) fn duration(seconds: f64) -> String {
    match seconds as u64 {
        0..=119 => format!("{seconds:.0} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = (1u64 << 30) as f64;

    #[test]
    fn sizes_and_times_are_read_at_a_glance() {
        assert_eq!(
            [0.0, 1023.0, 1536.0, 4.0 * GIB, 250.0 * GIB].map(size),
            ["0 bytes", "1023 bytes", "1.5 KiB", "4.0 GiB", "250 GiB"]
        );
        assert_eq!([0.4, 119.0, 120.0, 7_200.0, 172_800.0].map(duration), ["0 s", "119 s", "2 min", "2 h", "2 days"]);
    }
}
