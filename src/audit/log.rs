//! The handle by which others tell what happened.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use chrono::Utc;

use super::journal::Journal;
use super::line::{Event, Kind, Who};
use super::repeats::Repeats;
use crate::error::{Error, Result};

/// How much is noted; each level has all that those before it have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    Off,
    /// Acts and refusals.
    #[default]
    Acts,
    /// Who came in and left.
    Connections,
    /// What was asked.
    Statements,
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "acts" => Ok(Self::Acts),
            "connections" => Ok(Self::Connections),
            "statements" => Ok(Self::Statements),
            _ => Err(format!("\"{text}\" is not what can be noted: write off, acts, connections or statements")),
        }
    }
}

/// What a user may set about the audit log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditSettings {
    pub level: Level,
    /// How long files are kept after their last line; for ever without it.
    pub keep: Option<Duration>,
}

/// What became of a statement.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    pub text: &'a str,
    pub rows: u64,
    /// Of rows, as they were sent.
    pub bytes: u64,
    pub took: Duration,
    pub error: Option<&'a Error>,
}

/// The audit log of one process. Writing a line does not wait for the disk but after an act.
#[derive(Debug)]
pub struct Audit {
    settings: AuditSettings,
    journal: Option<Mutex<Journal>>,
    repeats: Mutex<Repeats>,
    /// Lines that could not be written.
    lost: AtomicU64,
}

impl Audit {
    /// A log that notes nothing.
    pub fn off() -> Arc<Self> {
        let settings = AuditSettings { level: Level::Off, keep: None };
        Arc::new(Self::with(settings, None))
    }

    /// Opens the log of a data directory, and removes what is older than it is to keep. Others may write into it, too.
    pub fn open(data_dir: &Path, settings: AuditSettings) -> Result<Arc<Self>> {
        if settings.level == Level::Off {
            return Ok(Self::off());
        }
        let journal = Journal::open(&super::folder(data_dir))?;
        let audit = Self::with(settings, Some(journal));
        audit.forget();
        Ok(Arc::new(audit))
    }

    fn with(settings: AuditSettings, journal: Option<Journal>) -> Self {
        Self { settings, journal: journal.map(Mutex::new), repeats: Mutex::default(), lost: AtomicU64::new(0) }
    }

    /// Whether lines of such a level are written.
    pub fn notes(&self, level: Level) -> bool {
        self.settings.level >= level
    }

    /// Lines that could not be written since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Notes that somebody was refused `what`.
    pub fn refused(&self, who: &Who, what: &str, error: &Error) {
        self.note(Level::Acts, || Event::new(Kind::Refusal, who, what).with_error(error));
    }

    /// Notes that somebody was not let in, to `what`. Who comes again within a minute is counted.
    pub fn turned_away(&self, who: &Who, what: &'static str, error: &Error) {
        if !self.notes(Level::Acts) {
            return;
        }
        let now = Instant::now();
        self.write_counted(|repeats| repeats.over(now));
        let is_first = self.repeats().is_first(who, what, error.sqlstate(), now);
        if is_first {
            self.refused(who, what, error);
        }
    }

    /// Notes something that was done to the server or its data, and waits until the line is on disk.
    pub fn act(&self, who: &Who, what: &str, detail: &str) {
        self.note(Level::Acts, || Event::new(Kind::Act, who, what).with_detail(detail));
        if let Some(Err(error)) = self.journal().map(|journal| journal.sync()) {
            self.failed(&error);
        }
        self.forget();
    }

    /// Notes that a client came in, over `wire`.
    pub fn connected(&self, who: &Who, wire: &str) {
        self.note(Level::Connections, || Event::new(Kind::Connection, who, "connect").with_detail(wire));
    }

    /// Notes that a client left.
    pub fn disconnected(&self, who: &Who, after: Duration) {
        let duration_ms = Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        self.note(Level::Connections, || Event { duration_ms, ..Event::new(Kind::Connection, who, "disconnect") });
    }

    /// Notes a statement that has ended.
    pub fn statement(&self, who: &Who, statement: &Statement<'_>) {
        let Statement { text, rows, bytes, took, error } = *statement;
        self.note(Level::Statements, || {
            let event = Event {
                rows: Some(rows),
                bytes: Some(bytes),
                duration_ms: Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
                ..Event::new(Kind::Statement, who, text)
            };
            match error {
                Some(error) => event.with_error(error),
                None => event,
            }
        });
    }

    fn note(&self, level: Level, event: impl FnOnce() -> Event) {
        if !self.notes(level) {
            return;
        }
        self.write_counted(|repeats| repeats.over(Instant::now()));
        self.write(&event());
    }

    fn write_counted(&self, counted: impl FnOnce(&mut Repeats) -> Vec<Event>) {
        let events = counted(&mut self.repeats());
        events.iter().for_each(|event| self.write(event));
    }

    fn write(&self, event: &Event) {
        let Some(mut journal) = self.journal() else { return };
        let written = journal.append(Utc::now(), event);
        let has_begun_file = journal.has_begun_file();
        drop(journal);
        if let Err(error) = written {
            self.failed(&error);
        }
        if has_begun_file {
            self.forget();
        }
    }

    fn forget(&self) {
        let forgotten = self.journal().map(|journal| journal.forget(self.settings.keep, SystemTime::now()));
        match forgotten {
            Some(Ok(files)) if files > 0 => tracing::info!(files, "removed old files of the audit log"),
            Some(Err(error)) => tracing::warn!(%error, "old files of the audit log cannot be removed"),
            _ => {}
        }
    }

    /// What cannot be noted goes on all the same, and is told: a full disk must not keep people from asking why it is full.
    fn failed(&self, error: &Error) {
        if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(%error, "the audit log cannot be written; lines are lost until it can");
        }
    }

    fn journal(&self) -> Option<MutexGuard<'_, Journal>> {
        // A line is appended whole or taken back.
        self.journal.as_ref().map(|journal| journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.write_counted(Repeats::take);
        if let Some(Err(error)) = self.journal().map(|journal| journal.sync()) {
            self.failed(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::{FILE_BYTES, MOST_FILES, files, first_number};
    use super::super::verify::newest;
    use super::*;

    const SETTINGS: AuditSettings = AuditSettings { level: Level::Acts, keep: None };

    #[test]
    fn no_more_files_are_kept_however_much_is_refused() {
        let data_dir = tempfile::tempdir().unwrap();
        let folder = super::super::folder(data_dir.path());
        std::fs::create_dir(&folder).unwrap();
        for number in 0..MOST_FILES {
            std::fs::write(folder.join(format!("audit-{number:020}.jsonl")), "").unwrap();
        }
        let audit = Audit::open(data_dir.path(), SETTINGS).unwrap();
        let (text, error) = ("x".repeat(4000), Error::bad_input("no"));
        for _ in 0..FILE_BYTES as usize / 4000 + 10 {
            audit.refused(&Who::default(), &text, &error);
        }
        let left = files(&folder).unwrap();
        assert_eq!(left.len(), MOST_FILES);
        assert_eq!(first_number(&left[0]), Some(1), "the oldest is gone");
        assert!(first_number(&left[MOST_FILES - 1]) > Some(MOST_FILES as u64), "another was begun");
    }

    #[test]
    fn those_who_come_again_are_counted() {
        let data_dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(data_dir.path(), SETTINGS).unwrap();
        let address = Some("192.0.2.1:5".parse().unwrap());
        let who = Who { user: Some("eve".into()), address, tenant: None };
        for _ in 0..3 {
            audit.turned_away(&who, "export", &Error::bad_input("no"));
        }
        drop(audit);
        let lines = newest(&super::super::folder(data_dir.path()), 9).unwrap();
        let details: Vec<_> = lines.iter().map(|line| line.event.detail.as_deref().unwrap_or_default()).collect();
        assert_eq!(details, ["no", "2 more within a minute"]);
    }
}
