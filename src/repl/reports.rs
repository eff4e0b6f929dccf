//! Reports as the shell sees them: questions that somebody else reads from somewhere.

use std::fmt::Debug;

use crate::error::Result;

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportQuestion {
    pub name: String,
    pub title: String,
    pub purpose: String,
    pub parameters: Vec<ReportParameter>,
}

/// What a report takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportParameter {
    pub name: String,
    /// What holds when no value is given; without one a value must be.
    pub default: Option<String>,
    pub purpose: String,
}

/// Where reports come from.
pub trait Reports: Debug + Send + Sync {
    /// Those that there are now, in order of name.
    fn list(&self) -> Vec<ReportQuestion>;

    /// The statement of a report with the given values, and defaults for the rest.
    ///
    /// # Errors
    /// When there is no such report, and when a value is missing, wrong or unknown.
    fn statement(&self, name: &str, values: &[(String, String)]) -> Result<String>;
}
