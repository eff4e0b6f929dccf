//! Alerts: what a result says by the rules of its report, and what is told of it.
//!
//! [`AlertBook::judge`] is pure: from the rules, the result, what earlier runs left and the time it makes notices and the lines by which
//! the book is rebuilt. Knows nothing of files, clocks and receivers.
//!
//! A rule is judged for each group of rows ([`group`]): its rows become one value, the value a verdict ([`verdict`]), the verdict a state
//! ([`state`]), and the state a [`Notice`] unless all is well.

mod book;
#[cfg(test)]
mod book_tests;
mod exemplars;
mod group;
mod line;
mod notice;
mod silence;
mod state;
#[cfg(test)]
pub(in crate::report) mod testing;
mod verdict;
mod wording;

pub use book::AlertBook;
pub use line::AlertLine;
pub use notice::{AlertState, Notice};
pub use silence::{SILENCES_FILE, Silence, parse_silences};
pub(in crate::report) use wording::shown;
