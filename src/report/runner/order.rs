//! What is to be run, and why.

use crate::report::history::{Cause, Run, RunKey};

/// What is to be run, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOrder {
    pub cause: Cause,
    /// When it was due; when it is started, for a run by hand.
    pub due_ms: i64,
    /// Values for some of the report's parameters; the window is not among them.
    pub parameters: Vec<(String, String)>,
    /// Another window than that of the report at `due_ms`: its beginning and its end, in milliseconds since 1970.
    pub window: Option<(i64, i64)>,
    /// Whether nothing is kept, noted or delivered.
    pub dry_run: bool,
}

impl RunOrder {
    /// A run that a person asks for now.
    pub fn by_hand(now_ms: i64) -> Self {
        Self { cause: Cause::Manual, due_ms: now_ms, parameters: Vec::new(), window: None, dry_run: false }
    }

    /// A run that is due.
    pub(in crate::report) fn due(due_ms: i64, cause: Cause) -> Self {
        Self { cause, due_ms, ..Self::by_hand(due_ms) }
    }

    /// A run in the place of one that died, over the same window.
    pub(in crate::report) fn repeat(lost: &Run) -> Self {
        let window = lost.window_from_ms.zip(lost.window_to_ms);
        Self { window, ..Self::due(lost.due_ms, Cause::Repeat) }
    }

    /// The id that the run has.
    pub(in crate::report) fn run_id(&self, report: &str) -> String {
        let key = RunKey { report: report.to_owned(), due_ms: self.due_ms };
        match self.cause {
            Cause::Manual => key.manual_id(),
            Cause::Repeat => key.repeat_id(),
            Cause::Schedule | Cause::Missed => key.id(),
        }
    }

    /// Whether it asks what the report asks by itself: only such a run says how alerts stand.
    pub(super) fn is_as_the_report_says(&self) -> bool {
        self.cause == Cause::Repeat || (self.parameters.is_empty() && self.window.is_none())
    }
}
