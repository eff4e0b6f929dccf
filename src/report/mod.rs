//! Reports: a question in a file, asked on a schedule, its answer drawn, judged and delivered.
//!
//! A report is a `.sql` file with a header (`definition`): `header` reads it, `check` plans it, `folder` watches it. The life of a run:
//!
//! 1. `scheduler` asks `due`, a pure decision over definitions, history and a clock, what is to begin; or a person begins it.
//! 2. `runner` takes the report's `turn`, notes the run in the `journal`, and has it worked out (`work`): rows, alerts, outputs.
//! 3. What it made is kept: files in `results`, rows in the table that they are `record`ed in, the end in the journal.
//! 4. `letters` go out by `delivery`, those of the scheduler through the `post`. `teller` tells SQL and people of all that, `retention` and `redact` end it.
//!
//! Knows the engine's sessions and nothing of command lines and servers.

mod alert;
mod bind;
mod check;
mod clock;
mod deadline;
mod definition;
mod delivery;
mod due;
mod folder;
mod frame;
mod header;
mod history;
mod home;
mod journal;
mod letters;
pub mod library;
mod mistake;
mod outlook;
mod output;
mod post;
#[cfg(test)]
mod post_tests;
pub mod record;
mod redact;
mod results;
mod retention;
mod runner;
mod schedule;
mod scheduler;
#[cfg(test)]
mod scheduler_tests;
mod silences;
mod teller;
mod turn;
mod window;
mod work;
mod zone;

pub use alert::{AlertBook, AlertLine, AlertState, Notice, SILENCES_FILE, Silence, parse_silences};
pub use bind::{bind, effective};
pub use check::{check, doubts};
pub use clock::{Clock, SystemClock, TurnedClock};
pub use definition::{
    AlertRule, Chart, ChartKind, Deliver, Delivery, FROM, Missed, Output, OutputFormat, Parameter, Record, RecordMode,
    Report, RowsKept, Schedule, Secret, Span, TO, Target, Test, Tls, When, Window,
};
pub use delivery::{Courier, Environment, Message, RetryPolicy, deliver, summarise};
pub use folder::{Defined, Folder, News, Standing};
pub use frame::Frame;
pub use header::Definition;
pub use history::{Cause, Delivered, DeliveryStatus, History, Run, RunKey, Status};
pub use home::ReportsHome;
pub use mistake::Mistake;
pub use output::Artifact;
pub use redact::{RedactedReports, redact_reports, redactable_reports};
pub use runner::{Made, RunOrder, Runner};
pub use scheduler::{Definitions, Scheduler};
pub use teller::{history, show_in};
pub use turn::Standstill;
pub use zone::moment_text;
