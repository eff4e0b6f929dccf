//! What the folder says of reports by name: what they are, and of which nobody can say.
//!
//! A volume that is not mounted, a mistake in a header and a statement that is slow to plan take no report away: what runs left of it waits until it
//! is known again.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::report::definition::Report;

/// The reports of a folder as it was last seen.
#[derive(Debug, Clone, Default)]
pub struct Defined {
    /// The last good version of each, in order of name.
    pub reports: Arc<Vec<Arc<Report>>>,
    /// Whether the folder is there and could be listed whole: what is not in it then is not there.
    pub is_listed: bool,
    /// Those that have files of which no version was right yet, or was planned.
    pub wrong: BTreeSet<String>,
}

/// How a report stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    There(Arc<Report>),
    /// Its files cannot be read now: it may be there again at the next look.
    Unknown,
    Gone,
}

impl Defined {
    /// What is known of a report.
    pub fn standing(&self, name: &str) -> Standing {
        match self.reports.iter().find(|report| report.name == name) {
            Some(report) => Standing::There(report.clone()),
            None if self.is_listed && !self.wrong.contains(name) => Standing::Gone,
            None => Standing::Unknown,
        }
    }
}

impl From<Vec<Arc<Report>>> for Defined {
    /// These and no others.
    fn from(reports: Vec<Arc<Report>>) -> Self {
        Self { reports: Arc::new(reports), is_listed: true, wrong: BTreeSet::new() }
    }
}
