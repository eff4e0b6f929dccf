//! Reports: a question in a file, asked on a schedule, its answer drawn, judged and delivered.
//!
//! A report is a `.sql` file with a header ([`definition`]). What is due and when is decided by pure functions over definitions,
//! journals and a clock. Knows the engine's sessions and nothing of command lines and servers.

mod clock;
mod definition;
mod due;
mod history;
mod home;
mod journal;
mod schedule;
mod window;

pub use clock::{Clock, SystemClock, TurnedClock};
pub use definition::{
    AlertRule, Chart, ChartKind, Deliver, Delivery, FROM, Missed, Output, OutputFormat, Parameter, Record, RecordMode,
    Report, Schedule, Secret, Span, TO, Target, Test, Tls, When, Window,
};
pub use history::{Cause, Delivered, DeliveryStatus, History, Run, RunKey, Status};
pub use home::ReportsHome;
