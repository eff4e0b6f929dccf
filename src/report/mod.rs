//! Reports: a question in a file, asked on a schedule, its answer drawn, judged and delivered.
//!
//! A report is a `.sql` file with a header ([`definition`]). What is due and when is decided by pure functions over definitions,
//! journals and a clock. Knows the engine's sessions and nothing of command lines and servers.

mod alert;
mod bind;
mod check;
mod clock;
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
pub mod record;
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

pub use alert::{AlertBook, AlertLine, AlertState, Notice, SILENCES_FILE, Silence, parse_silences};
pub use bind::{bind, effective};
pub use check::{check, doubts};
pub use clock::{Clock, SystemClock, TurnedClock};
pub use definition::{
    AlertRule, Chart, ChartKind, Deliver, Delivery, FROM, Missed, Output, OutputFormat, Parameter, Record, RecordMode,
    Report, Schedule, Secret, Span, TO, Target, Test, Tls, When, Window,
};
pub use delivery::{Courier, Environment, Message, RetryPolicy, deliver, summarise};
pub use folder::{Definition, Folder, News};
pub use frame::Frame;
pub use history::{Cause, Delivered, DeliveryStatus, History, Run, RunKey, Status};
pub use home::ReportsHome;
pub use mistake::Mistake;
pub use outlook::moment_text;
pub use output::Artifact;
pub use runner::{Made, RunOrder, Runner};
pub use scheduler::{Definitions, Scheduler};
pub use teller::{history, show_in};
