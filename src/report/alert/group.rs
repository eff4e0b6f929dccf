//! The rows of a result as a rule sees them: groups by the values of columns, each with its value.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::verdict;
use crate::error::{Error, Kind, Result};
use crate::report::definition::{AlertRule, Report, Test};
use crate::report::frame::Frame;

/// Column names and values that name a group.
pub(super) type Labels = Vec<(String, String)>;

/// Groups of one rule. Nobody reads a thousand alerts, and each costs memory, a line in the journal and a place in each message.
pub(super) const MOST_GROUPS: usize = 1000;

/// Bytes of a label's value. A longer one is cut; a hash keeps it distinct from others that begin alike.
const MOST_LABEL_BYTES: usize = 256;

/// A group of rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub labels: Labels,
    /// Places in the result, ascending.
    pub rows: Vec<usize>,
    /// `None` when no row has a number.
    pub value: Option<f64>,
}

/// The groups of a result, in the order of their first rows.
///
/// # Errors
/// When the result has not the columns that the rule names, or they hold other things, or there are too many groups.
pub(super) fn gather(report: &Report, rule: &AlertRule, frame: &Frame) -> Result<Vec<Group>> {
    let rows = usize::try_from(frame.rows).unwrap_or(usize::MAX);
    if rows == 0 {
        // A result without rows may be one without columns.
        return Ok(Vec::new());
    }
    let wrong = |error: Error| about(report, rule, &error.message).with_kind(error.kind);
    let names = rule.group_by.iter().map(|column| frame.texts(column).map_err(wrong));
    let names = names.collect::<Result<Vec<_>>>()?;
    let numbers = rule.test.column().map(|column| frame.numbers(column).map_err(wrong)).transpose()?;
    let mut places: HashMap<Vec<&str>, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for row in 0..rows {
        let key: Vec<&str> = names.iter().map(|column| column[row].as_deref().unwrap_or_default()).collect();
        let place = *places.entry(key).or_insert_with_key(|key| {
            let labels = rule.group_by.iter().zip(key).map(|(name, value)| (name.clone(), shortened(value)));
            groups.push(Group { labels: labels.collect(), rows: Vec::new(), value: None });
            groups.len() - 1
        });
        if groups.len() > MOST_GROUPS {
            return Err(too_many(report, rule));
        }
        groups[place].rows.push(row);
    }
    if let Some(numbers) = &numbers {
        for group in &mut groups {
            let values: Vec<f64> = group.rows.iter().filter_map(|row| numbers[*row]).collect();
            group.value = verdict::of_rows(&rule.test, &values);
            prefer_the_bad(&rule.test, numbers, &mut group.rows);
        }
    }
    Ok(groups)
}

/// Keeps the rows that are beyond a limit by themselves, if there are any: they show what is wrong.
fn prefer_the_bad(test: &Test, numbers: &[Option<f64>], rows: &mut Vec<usize>) {
    let is_bad = |row: &usize| match (numbers[*row], test) {
        (Some(value), Test::Above { limit, .. }) => value > *limit,
        (Some(value), Test::Below { limit, .. }) => value < *limit,
        _ => false,
    };
    if rows.iter().any(is_bad) {
        rows.retain(is_bad);
    }
}

/// An error about a rule of a report.
pub(super) fn about(report: &Report, rule: &AlertRule, why: &str) -> Error {
    Error::bad_input(format!("the alert {} of the report {} cannot be judged: {why}", rule.name, report.name))
}

pub(super) fn too_many(report: &Report, rule: &AlertRule) -> Error {
    let by = rule.group_by.join(", ");
    about(report, rule, &format!("its rows have more than {MOST_GROUPS} groups by {by}"))
        .with_kind(Kind::TooLarge)
        .with_hint("group by columns with fewer values, or leave most rows out of the result")
}

fn shortened(value: &str) -> String {
    if value.len() <= MOST_LABEL_BYTES {
        return value.to_owned();
    }
    let cut = (0..=MOST_LABEL_BYTES).rev().find(|at| value.is_char_boundary(*at)).unwrap_or_default();
    format!("{}… ({:016x})", &value[..cut], xxh3_64(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::alert::testing::{frame, report, rule};

    #[test]
    fn rows_are_gathered_by_their_labels() {
        let rows = [("cart", Some(1.0)), ("shop", Some(9.0)), ("cart", Some(7.0)), ("cart", None)];
        let groups = gather(&report(vec![]), &rule("service", 5.0), &frame(&rows)).expect("groups");
        let told: Vec<_> =
            groups.iter().map(|group| (group.labels[0].1.as_str(), group.value, group.rows.clone())).collect();
        assert_eq!(told, [("cart", Some(7.0), vec![2]), ("shop", Some(9.0), vec![1])]);
        let whole = AlertRule { group_by: Vec::new(), ..rule("service", 50.0) };
        let groups = gather(&report(vec![]), &whole, &frame(&rows)).expect("groups");
        assert_eq!(groups, [Group { labels: vec![], rows: vec![0, 1, 2, 3], value: Some(9.0) }]);
        assert_eq!(gather(&report(vec![]), &whole, &frame(&[])).expect("no rows"), []);
    }

    #[test]
    fn a_group_without_a_number_has_no_value() {
        let groups =
            gather(&report(vec![]), &rule("service", 5.0), &frame(&[("cart", None), ("shop", Some(f64::NAN))]));
        assert_eq!(groups.expect("groups").iter().map(|group| group.value).collect::<Vec<_>>(), [None, None]);
    }

    #[test]
    fn what_cannot_be_judged_is_said() {
        let rows: Vec<(String, Option<f64>)> = (0..=MOST_GROUPS).map(|at| (format!("s{at}"), Some(1.0))).collect();
        let rows: Vec<(&str, Option<f64>)> = rows.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(
            gather(&report(vec![]), &rule("service", 5.0), &frame(&rows[1..])).expect("enough").len(),
            MOST_GROUPS
        );
        let error = gather(&report(vec![]), &rule("service", 5.0), &frame(&rows)).expect_err("too many");
        assert_eq!(error.kind, Kind::TooLarge);
        assert!(error.message.contains("the alert r of the report health"), "{error}");
        assert!(error.message.contains("more than 1000 groups by service"), "{error}");
        let error = gather(&report(vec![]), &rule("zone", 5.0), &frame(&rows[..1])).expect_err("no such column");
        assert!(error.message.contains("zone"), "{error}");
        let test = Test::Above { column: "service".to_owned(), limit: 1.0, clear: 1.0 };
        let error = gather(&report(vec![]), &AlertRule { test, ..rule("service", 1.0) }, &frame(&rows[..1]));
        assert!(error.expect_err("text is no number").message.contains("service"));
    }

    #[test]
    fn long_labels_are_cut_and_stay_distinct() {
        let long = "é".repeat(1000);
        let (a, b) = (shortened(&format!("{long}a")), shortened(&format!("{long}b")));
        assert!(a.len() < 300 && a != b && a.starts_with("éé"), "{a}");
        assert_eq!(shortened("short"), "short");
    }
}
