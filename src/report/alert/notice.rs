//! What is told of an alert: to people in messages, to the journal, and to outputs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a group of rows under a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    #[default]
    Ok,
    /// Bad, but not in as many runs as the rule asks for.
    Pending,
    Firing,
    /// It fired in the run before and is good now.
    Resolved,
}

impl AlertState {
    /// The name that people and `system.alerts` see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one run says about one group under one rule; those that were and stay good are not told of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    pub report: String,
    pub rule: String,
    pub severity: String,
    pub state: AlertState,
    /// The columns that name the group and its values in them, in the rule's order; empty when all rows are one group.
    pub labels: Vec<(String, String)>,
    /// What was compared with the limit; `None` where there was nothing to compare.
    #[serde(default, with = "super::line::numbers")]
    pub value: Option<f64>,
    /// When it came into its state.
    pub since_ms: i64,
    /// When the firing began that lasts, or that this run ended.
    pub fired_ms: Option<i64>,
    /// One line in plain words. It holds what the data holds: whoever shows it escapes it.
    pub summary: String,
    /// Trace ids in hex that show what is wrong, at most [`Notice::MOST_EXEMPLARS`].
    pub exemplars: Vec<String>,
    /// The silence that keeps it from being told.
    pub silenced_by: Option<String>,
    /// It began or ceased to fire, or is to be told again. While it is silenced only the end of what was told is.
    pub is_news: bool,
}

impl Notice {
    /// As many traces as a person looks at.
    pub const MOST_EXEMPLARS: usize = 5;

    /// Whether it is a thing that a person should know of now or again.
    pub fn is_firing(&self) -> bool {
        self.state == AlertState::Firing && self.silenced_by.is_none()
    }

    /// The labels in one line, `column=value, …`; empty without labels.
    pub fn label_text(&self) -> String {
        let pairs: Vec<_> = self.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(", ")
    }
}
