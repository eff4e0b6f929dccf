//! What a notice says in one line.

use super::group::Group;
use super::notice::AlertState;
use super::state::GroupState;
use super::verdict::{self, Verdict};
use crate::report::definition::{AlertRule, Test};

/// Characters of a summary.
const MOST_SUMMARY: usize = 500;

/// What was found of a group.
pub(super) struct Said<'a> {
    pub rule: &'a AlertRule,
    pub group: &'a Group,
    pub is_there: bool,
    pub is_expired: bool,
    pub verdict: Verdict,
    pub before: &'a GroupState,
    pub state: AlertState,
}

impl Said<'_> {
    /// One line in plain words.
    pub(super) fn summary(&self) -> String {
        let own =
            self.rule.summary.as_deref().filter(|_| self.state == AlertState::Firing && self.verdict == Verdict::Bad);
        let text = match own {
            Some(template) => filled(template, self.group),
            None => self.plain(),
        };
        one_line(&text)
    }

    fn plain(&self) -> String {
        let earlier = &self.before.memory.values;
        match (&self.rule.test, self.group.value) {
            _ if self.is_expired => {
                "it has not been in a result for as long as results are kept, and is forgotten".to_owned()
            }
            (Test::Absent, _) => self.absence().to_owned(),
            (_, None) if !self.is_there => "no row of the result has it any more".to_owned(),
            (test, None) => format!("{} has no value in this run", test.column().unwrap_or_default()),
            (Test::Above { column, limit, clear }, Some(value)) => {
                self.threshold(column, value, "above", *limit, *clear)
            }
            (Test::Below { column, limit, clear }, Some(value)) => {
                self.threshold(column, value, "below", *limit, *clear)
            }
            (test @ Test::Change { column, baseline_runs, .. }, Some(value)) => {
                match verdict::baseline(test, earlier) {
                    None => format!(
                        "{column} is {}; {} of {baseline_runs} earlier runs are known",
                        shown(value),
                        earlier.len()
                    ),
                    Some(mean) => format!(
                        "{column} is {}, {} {}, the mean of {baseline_runs} earlier runs",
                        shown(value),
                        change(value, mean),
                        shown(mean)
                    ),
                }
            }
        }
    }

    fn threshold(&self, column: &str, value: f64, beyond: &str, limit: f64, clear: f64) -> String {
        let value = shown(value);
        match self.verdict {
            Verdict::Bad => format!("{column} is {value}, {beyond} {}", shown(limit)),
            Verdict::Between if self.state == AlertState::Firing => {
                format!("{column} is {value}, still {beyond} {}", shown(clear))
            }
            _ => format!("{column} is {value}, no more {beyond} {}", shown(limit)),
        }
    }

    fn absence(&self) -> &'static str {
        match (self.verdict, self.group.labels.is_empty()) {
            (Verdict::Bad, true) => "the result has no row",
            (Verdict::Bad, false) => "it was in earlier results and is missing in this one",
            (Verdict::Unknown, _) => "the result has no row, and so none of it",
            (_, true) => "the result has rows again",
            (_, false) => "it is in the result again",
        }
    }
}

/// How far a value is from a mean, in words.
fn change(value: f64, mean: f64) -> String {
    let percent = (value - mean) / mean.abs() * 100.;
    let from = if value < mean { "below" } else { "above" };
    match percent.is_finite() && mean != 0. {
        true => format!("{} % {from}", shown(percent.abs())),
        false => from.to_owned(),
    }
}

/// Puts the value and the labels where a text of the report has `{value}` and `{column}`.
fn filled(template: &str, group: &Group) -> String {
    let value = group.value.map(shown).unwrap_or_default();
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    // In one pass, so that what data holds is never a place to fill.
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let name = after.split_once('}').map(|(name, _)| name);
        let found = name.and_then(|name| match name {
            "value" => Some(value.as_str()),
            _ => group.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str()),
        });
        match (name, found) {
            (Some(name), Some(found)) => {
                filled.push_str(found);
                rest = &after[name.len() + 1..];
            }
            _ => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// A number with as many digits as a person reads.
pub(in crate::report) fn shown(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() || value == 0. {
        return match value == 0. {
            true => "0".to_owned(),
            false => value.to_string(),
        };
    }
    if !(1e-4..1e15).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    // Six digits in all, and all of those before the point.
    let digits = (5 - magnitude.log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_SUMMARY).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (5.0, "5"),
            (0.05, "0.05"),
            (0.123_456_789, "0.123457"),
            (-12.5, "-12.5"),
            (1_234_567.8, "1234568"),
            (99.999_999, "100"),
            (1e-9, "1.000e-9"),
            (2.5e20, "2.500e20"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(shown(value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_text_of_the_report_is_filled_once() {
        let labels = vec![("service".to_owned(), "{value}".to_owned())];
        let group = Group { labels, rows: vec![], value: Some(0.5) };
        for (template, expected) in [
            ("{service} fails: {value}", "{value} fails: 0.5"),
            ("{other} {", "{other} {"),
            ("{{value}}", "{0.5}"),
            ("plain", "plain"),
            ("{}", "{}"),
        ] {
            assert_eq!(filled(template, &group), expected, "{template}");
        }
    }

    #[test]
    fn a_change_is_told_in_parts_of_the_mean() {
        for (value, mean, expected) in [
            (15.0, 10.0, "50 % above"),
            (5.0, 10.0, "50 % below"),
            (1.0, 0.0, "above"),
            (-20.0, -10.0, "100 % below"),
            (f64::INFINITY, 1.0, "above"),
        ] {
            assert_eq!(change(value, mean), expected, "{value} {mean}");
        }
    }

    #[test]
    fn a_summary_is_one_short_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m\r\n"), "a b [31m");
        assert_eq!(one_line(&"é".repeat(900)).chars().count(), MOST_SUMMARY);
    }
}
