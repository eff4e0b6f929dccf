//! When a result is bad.

use std::time::Duration;

/// A rule over a result, judged for each group of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRule {
    /// No other rule of the report has it.
    pub name: String,
    pub test: Test,
    /// Columns whose values name a group; all rows are one group when there are none.
    pub group_by: Vec<String>,
    /// A group fires once it is bad in `bad_runs` of the last `of_runs` runs; 1 to `of_runs`.
    pub bad_runs: u32,
    pub of_runs: u32,
    /// A firing group is resolved once it is good in so many runs in a row.
    pub clear_runs: u32,
    /// When to tell again of what still fires; never when `None`.
    pub repeat_every: Option<Duration>,
    /// `warning` when the header does not say.
    pub severity: String,
    /// The column of trace ids that show what is wrong; else `trace_id` or `exemplar_trace_ids`, if the result has it.
    pub exemplars: Option<String>,
    /// What to say of a firing group.
    pub summary: Option<String>,
}

impl AlertRule {
    /// The severity when the header does not say.
    pub const DEFAULT_SEVERITY: &str = "warning";
    /// More runs than anybody counts.
    pub const MOST_RUNS: u32 = 1000;
}

/// What makes a row bad. A bad group stays bad until its value is beyond `clear`.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Bad above `limit`, good again at or below `clear`, which is not above `limit`.
    Above { column: String, limit: f64, clear: f64 },
    /// Bad below `limit`, good again at or above `clear`, which is not below `limit`.
    Below { column: String, limit: f64, clear: f64 },
    /// There is no row, or a group that was there is missing.
    Absent,
    /// The value differs by more than `ratio` of the mean of the last `baseline_runs` runs, and by at least `least`.
    Change { column: String, ratio: f64, baseline_runs: u32, least: f64 },
}

impl Test {
    /// The column that is looked at.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Above { column, .. } | Self::Below { column, .. } | Self::Change { column, .. } => Some(column),
            Self::Absent => None,
        }
    }
}
