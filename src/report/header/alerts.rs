//! Alert rules of a header.

use super::section::Section;
use super::source::is_name;
use crate::report::definition::{AlertRule, Test};

const KEYS: &[&str] = &[
    "name",
    "column",
    "above",
    "clear_below",
    "below",
    "clear_above",
    "absent",
    "change",
    "baseline_runs",
    "least",
    "group_by",
    "bad_runs",
    "of_runs",
    "clear_runs",
    "repeat_every",
    "severity",
    "exemplars",
    "summary",
];

/// The keys that say what is bad; one of them is there.
const TESTS: [&str; 4] = ["above", "below", "absent", "change"];
/// Keys that go with one test only.
const BELONGS: [(&str, &str); 4] =
    [("clear_below", "above"), ("clear_above", "below"), ("baseline_runs", "change"), ("least", "change")];
/// Runs that a change is measured against when the header does not say.
const DEFAULT_BASELINE_RUNS: u32 = 7;

pub(super) fn alerts(header: &Section<'_>) -> Vec<AlertRule> {
    let mut rules: Vec<AlertRule> = Vec::new();
    for section in header.sections("alerts", KEYS) {
        let Some(rule) = alert(&section) else { continue };
        match rules.iter().any(|other| other.name == rule.name) {
            true => section.mistake("name", format!("another rule is named \"{}\" already", rule.name)),
            false => rules.push(rule),
        }
    }
    rules
}

fn alert(section: &Section<'_>) -> Option<AlertRule> {
    let name = section.needed_text("name").and_then(|name| {
        let is_known = is_name(&name);
        if !is_known {
            section.mistake("name", format!("\"{name}\" is no name for a rule: use a-z, 0-9, _ and -"));
        }
        is_known.then_some(name)
    });
    let test = test(section);
    let most = AlertRule::MOST_RUNS;
    let bad_runs = section.count("bad_runs", 1, most).unwrap_or(1);
    let of_runs = section.count("of_runs", 1, most).unwrap_or(bad_runs);
    if of_runs < bad_runs {
        section.mistake("bad_runs", format!("{bad_runs} of {of_runs} runs can never be bad"));
    }
    let clear_runs = section.count("clear_runs", 1, most).unwrap_or(1);
    let repeat_every = section.duration("repeat_every").filter(|every| !every.is_zero());
    let group_by = section.texts("group_by").unwrap_or_default();
    let severity = section.text("severity").unwrap_or_else(|| AlertRule::DEFAULT_SEVERITY.to_owned());
    let (exemplars, summary) = (section.text("exemplars"), section.text("summary"));
    Some(AlertRule {
        name: name?,
        test: test?,
        group_by,
        bad_runs,
        of_runs,
        clear_runs,
        repeat_every,
        severity,
        exemplars,
        summary,
    })
}

fn test(section: &Section<'_>) -> Option<Test> {
    let given: Vec<&str> = TESTS.into_iter().filter(|key| section.has(key)).collect();
    let [kind] = given.as_slice() else {
        section.mistake_here("write one of above, below, absent and change: what is bad?".to_owned());
        return None;
    };
    for (key, with) in BELONGS.into_iter().filter(|(key, with)| section.has(key) && with != kind) {
        section.mistake(key, format!("it goes with {with}"));
    }
    if *kind == "absent" {
        if section.truth("absent") == Some(false) {
            section.mistake("absent", "it can only be true".to_owned());
        }
        if section.has("column") {
            section.mistake("column", "it does not go with absent: rows are missing, or they are not".to_owned());
        }
        return Some(Test::Absent);
    }
    let column = section.needed_text("column");
    let limit = section.number(kind);
    match *kind {
        "above" => {
            let clear = clear(section, "clear_below", limit, |clear, limit| clear <= limit)?;
            Some(Test::Above { column: column?, limit: limit?, clear })
        }
        "below" => {
            let clear = clear(section, "clear_above", limit, |clear, limit| clear >= limit)?;
            Some(Test::Below { column: column?, limit: limit?, clear })
        }
        _ => {
            let baseline_runs = section.count("baseline_runs", 1, AlertRule::MOST_RUNS);
            let least = section.number("least").unwrap_or(0.0);
            if limit.is_some_and(|ratio| ratio <= 0.0) {
                section.mistake("change", "it must be more than 0: 0.5 is by half".to_owned());
            }
            let baseline_runs = baseline_runs.unwrap_or(DEFAULT_BASELINE_RUNS);
            Some(Test::Change { column: column?, ratio: limit?, baseline_runs, least })
        }
    }
}

/// Where a row is good again: the limit itself unless said otherwise.
fn clear(section: &Section<'_>, key: &str, limit: Option<f64>, is_right: fn(f64, f64) -> bool) -> Option<f64> {
    let limit = limit?;
    let clear = section.number(key).unwrap_or(limit);
    if !is_right(clear, limit) {
        section.mistake(key, format!("{clear} is on the bad side of {limit}"));
    }
    Some(clear)
}
