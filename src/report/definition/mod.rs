//! What a report is: plain values that the parser fills and everything else reads.
//!
//! Nothing here runs, reads a file or knows a clock. A value of these types has been checked: names are names, zones exist, cron
//! expressions can be read, limits are ordered.

mod alert;
mod delivery;
mod shown;
mod times;

use std::path::PathBuf;
use std::time::Duration;

pub use alert::{AlertRule, Test};
pub use delivery::{Deliver, Delivery, Secret, Target, Tls};
pub use shown::{Chart, ChartKind, Output, OutputFormat};
pub use times::{Missed, Schedule, Span, When, Window};

use crate::engine::ParameterKind;

/// The parameter that begins the window of a run.
pub const FROM: &str = "from";
/// The parameter that ends the window of a run; what lies at it is not in the window.
pub const TO: &str = "to";
/// What stands for the name of the report's zone, where no parameter is called so.
pub const ZONE: &str = "zone";

/// A report: a statement with what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The file's name without its ending: `[a-z0-9_-]`.
    pub name: String,
    /// The `.sql` file.
    pub path: PathBuf,
    /// What people read in its place; the name when none is given.
    pub title: String,
    pub description: String,
    pub owners: Vec<String>,
    /// Whether the scheduler runs it; a person may always.
    pub enabled: bool,
    /// What the file declares. `:from` and `:to` come by themselves when there is a window and are not in here.
    pub parameters: Vec<Parameter>,
    pub schedule: Option<Schedule>,
    pub window: Option<Window>,
    pub timeout: Duration,
    /// What one run may hold in memory; `None` leaves what any statement may.
    pub memory_bytes: Option<usize>,
    /// How long results and history are kept.
    pub keep: Duration,
    pub outputs: Vec<Output>,
    pub charts: Vec<Chart>,
    pub alerts: Vec<AlertRule>,
    pub deliveries: Vec<Delivery>,
    pub record: Option<Record>,
    /// The statement; the header's lines are empty, so that lines are those of the file.
    pub sql: String,
    /// A hash of the whole text: another text is another version.
    pub version: String,
}

impl Report {
    /// How long a run may take when the header does not say.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5 * 60);
    /// How long results and history are kept when the header does not say.
    pub const DEFAULT_KEEP: Duration = Duration::from_secs(90 * 24 * 60 * 60);
}

/// A value that whoever runs a report may give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub kind: ParameterKind,
    /// What holds when no value is given; without one a value must be given.
    pub default: Option<String>,
    pub description: String,
}

/// Keeps a result as the table `reports.TABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `[a-z0-9_]`, beginning with a letter.
    pub table: String,
    pub mode: RecordMode,
    /// `None` keeps rows until somebody removes the table.
    pub keep: Option<RowsKept>,
}

/// How long rows are kept: those go whose `column` lies longer before the end of a run's window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsKept {
    pub column: String,
    pub length: Duration,
}

/// What happens to the rows that a recorded table has already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordMode {
    /// They stay.
    Append,
    /// Those whose `column` lies in the window of the run go.
    ReplaceWindow { column: String },
}
