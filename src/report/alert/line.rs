//! What the journal keeps of a group: a line whenever it changed, the last of which says all that later runs need.

use serde::{Deserialize, Serialize};

use super::notice::{AlertState, Notice};

/// A line of `alerts.ndjson`: a group under a rule after a run that changed something about it.
///
/// The columns of `system.alerts` come from here; `memory` is for the [`AlertBook`](super::AlertBook) alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertLine {
    pub report: String,
    pub rule: String,
    pub severity: String,
    /// As in [`Notice`](super::Notice).
    pub labels: Vec<(String, String)>,
    pub state: AlertState,
    /// The state before the run.
    pub was: AlertState,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "numbers")]
    pub value: Option<f64>,
    pub since_ms: i64,
    /// When it was judged.
    pub at_ms: i64,
    /// The run that it was judged in.
    pub run: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exemplars: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced_by: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_news: bool,
    /// The group is of no more interest: nothing is remembered of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
    #[serde(default)]
    pub memory: Memory,
}

impl AlertLine {
    /// A line of the journal.
    pub fn parse(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str(line)
    }

    /// Whether the group came into another state in this run, or was told of: what a history of alerts is about.
    pub fn is_event(&self) -> bool {
        self.state != self.was || self.is_news
    }
}

impl From<AlertLine> for Notice {
    /// What the line says, to be told.
    fn from(line: AlertLine) -> Self {
        Self {
            report: line.report,
            rule: line.rule,
            severity: line.severity,
            state: line.state,
            labels: line.labels,
            value: line.value,
            since_ms: line.since_ms,
            fired_ms: line.memory.fired_ms,
            summary: line.summary,
            exemplars: line.exemplars,
            silenced_by: line.silenced_by,
            is_news: line.is_news,
        }
    }
}

/// What later runs need of earlier ones.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// The last verdicts, the newest last: `b` bad, `g` good. Those before a resolution do not count any more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub verdicts: String,
    /// Good runs in a row while it fires.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub good_runs: u32,
    /// The last values, the newest last, for rules that compare with earlier runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<f64>,
    /// When the group was last in a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_ms: Option<i64>,
    /// When the firing began that lasts, or that the last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_ms: Option<i64>,
    /// When its firing was last told; `None` when this firing was not told yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_ms: Option<i64>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Values that JSON has no number for, as text.
pub(super) mod numbers {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(f64),
        Text(String),
    }

    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            None => serializer.serialize_none(),
            Some(number) if number.is_finite() => serializer.serialize_f64(*number),
            Some(number) => serializer.collect_str(number),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(match Option::<Form>::deserialize(deserializer)? {
            None => None,
            Some(Form::Number(number)) => Some(number),
            Some(Form::Text(text)) => Some(text.parse().map_err(D::Error::custom)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> AlertLine {
        AlertLine {
            report: "health".to_owned(),
            rule: "errors".to_owned(),
            severity: "page".to_owned(),
            labels: vec![("service_name".to_owned(), "cart \"x\"\n".to_owned())],
            state: AlertState::Firing,
            was: AlertState::Pending,
            value: Some(0.25),
            since_ms: 1,
            at_ms: 2,
            run: "health@1970-01-01T00:00:00Z".to_owned(),
            summary: "errors".to_owned(),
            exemplars: vec!["00".repeat(16)],
            silenced_by: None,
            is_news: true,
            forgotten: false,
            memory: Memory { verdicts: "gb".to_owned(), values: vec![0.1, 0.25], ..Memory::default() },
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let odd = [None, Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(0.1), Some(-3.0), Some(1e300)];
        for value in odd {
            let line = AlertLine { value, ..line() };
            let text = serde_json::to_string(&line).expect("JSON");
            assert!(!text.contains('\n'), "{text}");
            assert_eq!(serde_json::from_str::<AlertLine>(&text).expect(&text), line);
        }
    }

    #[test]
    fn what_is_not_there_is_not_written() {
        let line =
            AlertLine { value: None, is_news: false, exemplars: Vec::new(), memory: Memory::default(), ..line() };
        let text = serde_json::to_string(&line).expect("JSON");
        for absent in ["value", "is_news", "exemplars", "forgotten", "silenced_by", "verdicts", "good_runs"] {
            assert!(!text.contains(absent), "{absent}: {text}");
        }
    }
}
