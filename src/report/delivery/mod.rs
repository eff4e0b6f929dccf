//! Deliveries: results and alerts to where people are.
//!
//! [`deliver`] tries one delivery until it is made, refused for good, or was tried often enough, at least once with a key that stays the
//! same. Each attempt reads its secrets anew and forgets them; no error, log line or journal holds one ([`secrets`]). What data holds is
//! text in each form that leaves.
//!
//! Knows receivers and their forms. Knows nothing of schedules, journals and the engine.

mod attempt;
mod courier;
mod digest;
mod directory;
mod files;
mod http;
mod mail;
mod markup;
mod names;
mod object_store;
mod prometheus;
mod secrets;
mod signature;
mod slack;
mod smtp;
mod summary;
#[cfg(test)]
pub(in crate::report) mod testing;
mod webhook;

pub use attempt::RetryPolicy;
pub use courier::{Courier, Progress, Step, attempt, deliver, is_wanted};
pub use secrets::Environment;
pub use summary::summarise;

use super::alert::Notice;
use super::definition::Report;
use super::history::Run;
use super::output::Artifact;

/// What is delivered.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// By which a receiver knows what came twice: `REPORT@DUE/DELIVERY`.
    pub key: String,
    pub report: &'a Report,
    pub run: &'a Run,
    pub artifacts: &'a [Artifact],
    pub notices: &'a [Notice],
    /// What [`summarise`] made.
    pub summary: String,
}
